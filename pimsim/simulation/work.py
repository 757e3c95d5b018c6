"""What one layer asks of the chip: array groups, loaded bytes and outputs, read off its placement."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pimsim.hardware.encodings import input_steps
from pimsim.hardware.records import Chip
from pimsim.mapping.layout import ArrayTile
from pimsim.mapping.placement import Placement
from pimsim.network.layers import DigitalOp, Layer


@dataclass(frozen=True)
class ArrayWork:
    """One array tile of a window: driven rows, weight columns, physical columns, and where it is placed."""

    rows: int
    weight_columns: int
    columns: int
    tile: int
    macro: int
    array: int


@dataclass(frozen=True)
class Load:
    """Input bytes that one hardware tile's buffer and bus deliver for a window.

    ``bytes`` cross the bus once (a broadcast to several macros counts once); ``register_bytes`` are written
    into the input registers of all its macros.
    """

    tile: int
    bytes: int
    register_bytes: int


@dataclass(frozen=True)
class Round:
    """The arrays that work on a window together, and what it loads, adds and writes.

    Attributes:
        arrays: the array tiles of this programming round.
        loads: by hardware tile in use.
        merges: partial-sum additions over array tiles.
        tile_merges: those of them that join macros (or rounds), done by the tile's adders; the arrays of one macro
            add into its output register (ISAAC, stages 19 and 20).
        outputs: outputs finished in this round.
        partial_bytes_read, partial_bytes_written: sums kept in the buffer between rounds.
    """

    arrays: tuple[ArrayWork, ...]
    loads: tuple[Load, ...]
    merges: int
    tile_merges: int
    outputs: int
    partial_bytes_read: int
    partial_bytes_written: int


@dataclass(frozen=True)
class LayerWork:
    """One layer on the chip: rounds of arrays that each see every window.

    ``digital`` are the operations between this layer and the next; ``hops`` is the mesh distance to the next
    layer's tiles.
    """

    layer: Layer
    placement: Placement
    rounds: tuple[Round, ...]
    input_steps: int
    replication: int
    digital: tuple[DigitalOp, ...]
    hops: int

    @property
    def windows(self) -> int:
        """Parallel-window positions of one image."""
        return self.placement.mapping.windows

    @property
    def output_bits(self) -> int:
        """Bits written for one output: the layer's own activation width."""
        return self.layer.precision.activation_bits


PARTIAL_SUM_BYTES = 4  # a partial sum parked in the buffer between rounds is a 32-bit word


def layer_work(
    layer: Layer,
    placement: Placement,
    chip: Chip,
    *,
    first_array: int = 0,
    arrays: int | None = None,
    replication: int = 1,
    digital: tuple[DigitalOp, ...] = (),
    hops: int = 0,
) -> LayerWork:
    """Place a layer's array tiles on the chip, ``arrays`` at a time (None: all resident)."""
    tiles = placement.tiles
    size = max(1, len(tiles) if arrays is None else min(arrays, len(tiles)))
    chunks = [tiles[i : i + size] for i in range(0, len(tiles), size)]
    done: Counter[tuple[int, int]] = Counter()
    total = Counter((tile.block, tile.column_tile) for tile in tiles)
    rounds = tuple(_round(chunk, layer, chip, first_array, replication, done, total, placement) for chunk in chunks)
    steps = input_steps(
        layer.precision.activation_bits, chip.macro.row_driver.bits, signed=layer.precision.activation_signed
    )
    return LayerWork(layer, placement, rounds, len(steps), replication, digital, hops)


def _round(
    chunk: tuple[ArrayTile, ...],
    layer: Layer,
    chip: Chip,
    first: int,
    replication: int,
    done: Counter[tuple[int, int]],
    total: Counter[tuple[int, int]],
    placement: Placement,
) -> Round:
    works = _locate(chunk, chip, first, replication, placement.mapping.array.columns_per_weight)
    sums = Counter((tile.block, tile.column_tile) for tile in chunk)
    width = {(tile.block, tile.column_tile): len(tile.columns) for tile in chunk}
    macros: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for tile, work in zip(chunk, works, strict=True):
        macros.setdefault((tile.block, tile.column_tile), set()).add((work.tile, work.macro))
    merges = tile_merges = outputs = read = written = 0
    for key, count in sums.items():
        resumed = done[key] > 0
        merges += (count - 1 + resumed) * width[key]
        tile_merges += (len(macros[key]) - 1 + resumed) * width[key]
        read += resumed * width[key] * PARTIAL_SUM_BYTES
        done[key] += count
        finished = done[key] == total[key]
        outputs += finished * width[key]
        written += (not finished) * width[key] * PARTIAL_SUM_BYTES
    loads = _loads(chunk, works, layer.precision.activation_bits)
    return Round(works, loads, merges, tile_merges, outputs, read, written)


def _loads(chunk: tuple[ArrayTile, ...], works: tuple[ArrayWork, ...], bits: int) -> tuple[Load, ...]:
    per_tile = _distinct_inputs(chunk, [(work.tile,) for work in works])
    per_macro = _distinct_inputs(chunk, [(work.tile, work.macro) for work in works])
    register: Counter[int] = Counter()
    for (tile, _), count in per_macro.items():
        register[tile] += -(-count * bits // 8)
    return tuple(Load(tile, -(-count * bits // 8), register[tile]) for (tile,), count in sorted(per_tile.items()))


def _locate(
    chunk: tuple[ArrayTile, ...], chip: Chip, first: int, replication: int, per_weight: int
) -> tuple[ArrayWork, ...]:
    """Arrays fill macros and tiles in order; the replicas of an array stand side by side."""
    works = []
    for i, tile in enumerate(chunk):
        macro, array = divmod(first + i * replication, chip.macro.arrays)
        columns = len(tile.columns)
        works.append(
            ArrayWork(
                len(tile.rows),
                columns,
                columns * per_weight,
                macro // chip.tile.macros,
                macro % chip.tile.macros,
                array,
            )
        )
    return tuple(works)


def _distinct_inputs(chunk: tuple[ArrayTile, ...], where: list[tuple[int, ...]]) -> dict[tuple[int, ...], int]:
    """Distinct window inputs that the arrays at each place need: shared inputs are broadcast, once."""
    inputs: dict[tuple[int, ...], dict[int, ArrayTile]] = {}
    for place, tile in zip(where, chunk, strict=True):
        inputs.setdefault(place, {})[id(tile.rows)] = tile
    return {place: _union(list(tiles.values())) for place, tiles in inputs.items()}


def _union(tiles: list[ArrayTile]) -> int:
    if len(tiles) == 1:
        return len(tiles[0].rows)
    side = 1 << 16
    codes = [(t.rows.channel.astype(np.int64) * side + t.rows.y) * side + t.rows.x for t in tiles]
    return len(np.unique(np.concatenate(codes)))
