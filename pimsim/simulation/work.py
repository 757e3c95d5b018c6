"""What one layer asks of the chip: array groups, loaded bytes and outputs, read off its placement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pimsim.errors import SimulationError
from pimsim.hardware.encodings import input_steps
from pimsim.hardware.records import Chip
from pimsim.mapping.arrays import ArrayTile
from pimsim.mapping.driven import DrivenRows
from pimsim.mapping.placement import Placement
from pimsim.mapping.units import Heights, group_widths, weights_per_group
from pimsim.network.layers import DigitalOp, Layer
from pimsim.simulation.merging import Accumulators
from pimsim.simulation.routing import Link


@dataclass(frozen=True)
class ArrayWork:
    """One array tile of a window: its rows and columns, and where it is placed.

    Attributes:
        rows: physical rows that hold a weight.
        group_units: operation units of each column group (whole weights of a unit), as runs (number, rows of each).
        group_columns: physical columns that each of them converts; None: all that it has.
        own_rows: whether column groups drive rows of their own, each with an index of its own.
        weight_columns: weights side by side.
        columns: physical columns.
        tile, macro, array: hardware tile, macro of that tile, array of that macro.
        part: number of the array tile in the placement.
        copy: replica of the layer that it belongs to.
    """

    rows: int
    group_units: tuple[Heights, ...]
    own_rows: bool
    weight_columns: int
    columns: int
    tile: int
    macro: int
    array: int
    part: int = 0
    copy: int = 0
    group_columns: tuple[tuple[int, ...], ...] | None = None

    @property
    def most_rows(self) -> int:
        """The most rows that one of its operation units drives."""
        return max((rows for heights in self.group_units for _, rows in heights), default=0)


@dataclass(frozen=True)
class Load:
    """Input bytes that one hardware tile's buffer and bus deliver for a window slot.

    ``bytes`` cross the bus once (a broadcast to several macros counts once); ``register_bytes`` are written
    into the input registers of all its macros. Replicas load their own windows.
    """

    tile: int
    bytes: int
    register_bytes: int


@dataclass(frozen=True)
class Round:
    """The arrays that work on a window slot together, and what it loads, adds and writes.

    Attributes:
        arrays: the array tiles of this programming round, of one replica or of several.
        loads: by hardware tile in use.
        merges: partial-sum additions over array tiles, and results that pass the output register to be used again.
        tile_merges: those of them that join macros (or rounds), done by the tile's adders; the arrays of one macro
            add into its output register (ISAAC, stages 19 and 20). Results that are used again are shifted and added
            there too.
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

    @classmethod
    def together(cls, rounds: Sequence[Round]) -> Round:
        """The rounds of several replicas as one, each with a window of its own."""
        if len(rounds) == 1:
            return rounds[0]
        by_tile: dict[int, tuple[int, int]] = {}
        for load in (load for one in rounds for load in one.loads):
            crossed, written = by_tile.get(load.tile, (0, 0))
            by_tile[load.tile] = crossed + load.bytes, written + load.register_bytes
        return cls(
            tuple(array for one in rounds for array in one.arrays),
            tuple(Load(tile, *amounts) for tile, amounts in sorted(by_tile.items())),
            sum(one.merges for one in rounds),
            sum(one.tile_merges for one in rounds),
            sum(one.outputs for one in rounds),
            sum(one.partial_bytes_read for one in rounds),
            sum(one.partial_bytes_written for one in rounds),
        )


@dataclass(frozen=True)
class LayerWork:
    """One layer on the chip: rounds of arrays that each see every window.

    Attributes:
        replicas: the rounds of each replica, for one window of its own.
        input_steps: S.
        digital: the operations between this layer and the next.
        route: the links to the tiles of the layers that read its outputs.
        driven: measured inputs, whose zero bits are skipped; None: every row is driven in every step.
    """

    layer: Layer
    placement: Placement
    replicas: tuple[tuple[Round, ...], ...]
    input_steps: int
    digital: tuple[DigitalOp, ...] = ()
    route: tuple[Link, ...] = ()
    driven: DrivenRows | None = None

    @property
    def replication(self) -> int:
        """Copies of the layer, which share its windows."""
        return len(self.replicas)

    @property
    def windows(self) -> int:
        """Parallel-window positions of one image."""
        return self.placement.mapping.windows

    @property
    def output_bits(self) -> int:
        """Bits written for one output: the layer's own activation width."""
        return self.layer.precision.activation_bits

    @property
    def scattered(self) -> bool:
        """Whether the sums of every array are sent to the outputs that an index names."""
        return self.placement.scattered

    @property
    def gathered(self) -> bool:
        """Whether an index selects the inputs of every step."""
        return self.placement.index_bits > 0 and not self.scattered

    @cached_property
    def rounds(self) -> tuple[Round, ...]:
        """The rounds of a window slot in which every replica works."""
        return self.rounds_of(self.replication)

    @cached_property
    def tiles(self) -> tuple[int, ...]:
        """Hardware tiles in use, in order."""
        return tuple(sorted({load.tile for round_ in self.rounds for load in round_.loads}))

    @property
    def most_rows(self) -> int:
        """The most rows that an operation unit of the layer drives."""
        most = max((array.most_rows for round_ in self.replicas[0] for array in round_.arrays), default=0)
        return most if self.driven is None else min(most, max(1, self.driven.most))

    def rounds_of(self, copies: int) -> tuple[Round, ...]:
        """The rounds of a window slot in which only the first ``copies`` replicas have a window."""
        return tuple(Round.together(each) for each in zip(*self.replicas[:copies], strict=True))

    def windows_of(self, replica: int) -> int:
        """Windows of one image that a replica computes."""
        slots, rest = divmod(self.windows, self.replication)
        return slots + (replica < rest)


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
    route: tuple[Link, ...] = (),
    driven: DrivenRows | None = None,
) -> LayerWork:
    """Place a layer's array tiles on the chip, ``arrays`` at a time (None: all resident), replica after replica.

    Raises:
        SimulationError: operation units that repeat others, on arrays that take turns or with zero bits skipped.
    """
    tiles = placement.tiles
    size = max(1, len(tiles) if arrays is None else min(arrays, len(tiles)))
    chunks = [tiles[i : i + size] for i in range(0, len(tiles), size)]
    if len(chunks) > 1 and any(tile.repeats is not None for tile in tiles):
        raise SimulationError(
            f"arrays={size} for a layer of {len(tiles)} with skip 'repeat'",
            "a result that is used again would have to wait for arrays of a later round",
            layer.name,
            "Give all its arrays at once, or use skip 'ou'",
        )
    if driven is not None and placement.skip == "slice":
        raise SimulationError(
            "skipped inputs with skip 'slice'",
            "which slices are empty depends on the rows that a unit reads, and those change with every input",
            "skip_inputs",
            "Leave skip_inputs out, or use skip 'ou'",
        )
    if driven is not None and any(tile.kept is not None and tile.kept.row_block is not None for tile in tiles):
        raise SimulationError(
            "skipped inputs with skip 'repeat'",
            "a result can be used again only where a unit reads the same rows in every step",
            "skip_inputs",
            "Leave skip_inputs out, or use skip 'ou'",
        )
    inputs = _Inputs(layer.precision.activation_bits)
    replicas = tuple(
        _rounds(chunks, chip, first_array + copy * size, copy, placement, inputs) for copy in range(replication)
    )
    steps = input_steps(
        layer.precision.activation_bits, chip.macro.row_driver.bits, signed=layer.precision.activation_signed
    )
    return LayerWork(layer, placement, replicas, len(steps), digital, route, driven)


def _rounds(
    chunks: Sequence[tuple[ArrayTile, ...]], chip: Chip, first: int, copy: int, placement: Placement, inputs: _Inputs
) -> tuple[Round, ...]:
    sums = Accumulators(placement)
    per_weight = placement.mapping.array.columns_per_weight
    rounds, part = [], 0
    for chunk in chunks:
        works = _locate(chunk, chip, first, per_weight, part, copy)
        rounds.append(_round(chunk, works, sums, inputs))
        part += len(chunk)
    return tuple(rounds)


def _round(chunk: tuple[ArrayTile, ...], works: tuple[ArrayWork, ...], sums: Accumulators, inputs: _Inputs) -> Round:
    merged = sums.add(chunk, [(work.tile, work.macro) for work in works])
    read, written = merged.resumed * PARTIAL_SUM_BYTES, merged.parked * PARTIAL_SUM_BYTES
    copied, passed = _copies(chunk)
    merges, joins = merged.merges + copied + passed, merged.joins + copied
    return Round(works, inputs.loads(chunk, works), merges, joins, merged.outputs, read, written)


def _copies(chunk: tuple[ArrayTile, ...]) -> tuple[int, int]:
    """Results of a window that are shifted and added once more, and results in the output register for that."""
    copied = passed = 0
    for tile in chunk:
        if tile.repeats is not None and tile.kept is not None:
            widths = group_widths(len(tile.columns), tile.kept.weights)
            copied += tile.repeats.copied(widths)
            passed += tile.repeats.partial_sums(widths)
    return copied, passed


def _locate(
    chunk: tuple[ArrayTile, ...], chip: Chip, first: int, per_weight: int, part: int, copy: int
) -> tuple[ArrayWork, ...]:
    """Arrays fill macros and tiles in order."""
    works, weights = [], weights_per_group(chip.crossbar.active_columns, per_weight)
    for i, tile in enumerate(chunk):
        macro, array = divmod(first + i, chip.macro.arrays)
        columns = len(tile.columns)
        works.append(
            ArrayWork(
                tile.rows_used,
                tile.group_units(weights, chip.crossbar.active_rows),
                tile.kept is not None,
                columns,
                columns * per_weight,
                macro // chip.tile.macros,
                macro % chip.tile.macros,
                array,
                part + i,
                copy,
                tile.converted,
            )
        )
    return tuple(works)


class _Inputs:
    """Counts the distinct window inputs of arrays that stand together: shared inputs are broadcast, once."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.counted: dict[tuple[int, ...], int] = {}

    def loads(self, chunk: tuple[ArrayTile, ...], works: tuple[ArrayWork, ...]) -> tuple[Load, ...]:
        """What each hardware tile loads for a window."""
        per_tile = self._bytes(chunk, [(work.tile,) for work in works])
        per_macro = self._bytes(chunk, [(work.tile, work.macro) for work in works])
        register: Counter[int] = Counter()
        for (tile, _), amount in per_macro.items():
            register[tile] += amount
        return tuple(Load(tile, amount, register[tile]) for (tile,), amount in sorted(per_tile.items()))

    def _bytes(self, chunk: tuple[ArrayTile, ...], where: list[tuple[int, ...]]) -> dict[tuple[int, ...], int]:
        together: dict[tuple[int, ...], dict[int, ArrayTile]] = {}
        for place, tile in zip(where, chunk, strict=True):
            together.setdefault(place, {})[id(tile.rows)] = tile
        return {place: -(-self._distinct(tiles) * self.bits // 8) for place, tiles in together.items()}

    def _distinct(self, tiles: dict[int, ArrayTile]) -> int:
        key = tuple(sorted(tiles))
        if key not in self.counted:
            self.counted[key] = _union(tiles.values())
        return self.counted[key]


def _union(tiles: Iterable[ArrayTile]) -> int:
    listed = list(tiles)
    # The row tiles of one block cut its rows into parts.
    if len({(tile.block, tile.row_tile) for tile in listed}) == len(listed) and len({t.block for t in listed}) == 1:
        return sum(len(tile.rows) for tile in listed)
    side = 1 << 16
    codes = [(t.rows.channel.astype(np.int64) * side + t.rows.y) * side + t.rows.x for t in listed]
    return len(np.unique(np.concatenate(codes)))
