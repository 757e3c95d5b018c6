"""One placement for each layer of a network; the two layers of a low-rank factorisation are placed as one unit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from pimsim.api.mapping import array_of_chip
from pimsim.api.progress import Progress
from pimsim.errors import MappingError
from pimsim.functional.repeating import program_arrays
from pimsim.hardware.encodings import POLARISED
from pimsim.hardware.records import Chip
from pimsim.mapping.layout import Mapping
from pimsim.mapping.low_rank import LowRank
from pimsim.mapping.placement import Placement
from pimsim.mapping.registry import STAGED, map_layer, mapper
from pimsim.mapping.repeat_skipping import pattern_bits
from pimsim.mapping.skipping import place
from pimsim.mapping.slice_skipping import Slicing
from pimsim.network.layers import Geometry, Layer
from pimsim.workload import Workload

#: What `pimsim.network.rewrites` calls the two layers that stand for one (not imported: it needs torch).
_REDUCE, _EXPAND = ".reduce", ".expand"
#: The mapper of the layers that a factorisation left whole: the first one and the classifier.
WHOLE_LAYERS = "im2col"


def place_network(
    layers: Sequence[Layer], workload: Workload, chip: Chip, progress: Progress
) -> tuple[Placement, ...]:  # fmt: skip
    """The layers on the chip's arrays, in their order, zeros left out as the workload asks.

    With the mapping ``low-rank`` the two layers of a factorised one get windows that both share; layers that are
    whole are mapped with `WHOLE_LAYERS`.

    Raises:
        MappingError: a layer that cannot fit, or the mapping ``low-rank`` for a network without factors.
    """
    if workload.mapping not in STAGED or workload.shapes is not None:
        shown = progress(layers, "mapping", "layer")
        return tuple(place_layer(layer, workload, chip) for layer in shown)
    return _place_factors(layers, workload, chip)


def place_layer(layer: Layer, workload: Workload, chip: Chip) -> Placement:
    """The layer mapped on the chip's arrays, its zeros left out as the workload asks.

    Raises:
        MappingError: a layer that cannot fit, an unknown name, or skip ``repeat`` with the encoding ``polarised``.
    """
    if workload.skip == "repeat" and chip.crossbar.encoding == POLARISED:
        rule = "the bits of patterns that repeat are counted with their signs, which this encoding keeps elsewhere"
        fix = "Use skip ou with compact false, or --set tile.macro.crossbar.encoding=twos-complement"
        raise MappingError(f"skip 'repeat' with the encoding '{POLARISED}'", rule, layer.name, fix)
    bits = _stored_bits(layer, workload, chip)
    mapping = map_layer(layer.geometry, array_of_chip(chip, bits), workload.mapping, **workload.mapping_options)
    return _place(mapping, layer, workload, chip, bits)


def is_pair(first: Layer, second: Layer) -> bool:
    """Whether two layers that follow each other are the factors of one."""
    name = first.name.removesuffix(_REDUCE)
    return name != first.name and second.name == name + _EXPAND


def _place_factors(layers: Sequence[Layer], workload: Workload, chip: Chip) -> tuple[Placement, ...]:
    pairs = [(first, second) for first, second in pairwise(layers) if is_pair(first, second)]
    if not pairs:
        raise MappingError(
            f"mapping '{workload.mapping}' with a network that is not factorised",
            "it computes a layer by its two factors",
            None,
            "Factorise it first with 'pimsim prune --method low-rank'",
        )
    staged = _staged_mapper(workload)
    mapped: dict[str, Mapping] = {}
    for first, second in pairs:
        mapped |= zip((first.name, second.name), _map_pair(first, second, staged, chip), strict=True)
    whole = workload.model_copy(update={"mapping": WHOLE_LAYERS, "mapping_options": {}})
    return tuple(
        _place(mapped[layer.name], layer, workload, chip) if layer.name in mapped else place_layer(layer, whole, chip)
        for layer in layers
    )


def _staged_mapper(workload: Workload) -> LowRank:
    """The mapper, without the options that only shapes or the closed form have."""
    _refuse(workload, ("rank", "groups"), "the network's own factors have their rank and groups")
    if workload.mapping_options.get("stages") == "pipelined":
        _refuse(workload, ("stages",), "whether the two layers overlap is said for all layers, with layers: pipelined")
    staged = mapper(workload.mapping, **workload.mapping_options)
    assert isinstance(staged, LowRank)  # the one mapper in stages that works on given factors
    return staged


def _refuse(workload: Workload, names: Iterable[str], rule: str) -> None:
    for name in names:
        if name in workload.mapping_options:
            given = f"option {name}={workload.mapping_options[name]} of mapping '{workload.mapping}'"
            raise MappingError(given, rule, "mapping_options", f"Leave {name} out")


def _map_pair(first: Layer, second: Layer, staged: LowRank, chip: Chip) -> tuple[Mapping, ...]:
    """The mappings of both factors, with common windows."""
    bits = (first.precision.weight_bits, second.precision.weight_bits)
    if bits[0] != bits[1]:
        raise MappingError(f"factors of {bits[0]} and {bits[1]} bits", "both need the same arrays", first.name)
    whole = _whole(first.geometry, second.geometry)
    rank = first.geometry.out_channels // first.geometry.groups
    known = (("rank", rank), ("groups", first.geometry.groups))
    array = array_of_chip(chip, bits[0])
    return staged.map_pair(first.geometry, second.geometry, array, whole, known).stages


def _whole(reduce: Geometry, expand: Geometry) -> Geometry:
    """The layer that two factors stand for."""
    name = reduce.name.removesuffix(_REDUCE)
    return replace(reduce, name=name, out_channels=expand.out_channels, groups=expand.groups)


def _stored_bits(layer: Layer, workload: Workload, chip: Chip) -> int:
    """Bits of a weight in the cells: less than its own where operation units repeat others up to a shift."""
    bits = layer.precision.weight_bits
    if workload.skip != "repeat" or layer.weight is None:
        return bits
    return pattern_bits(layer.weight, bits, chip.crossbar.active_rows)


def _place(mapping: Mapping, layer: Layer, workload: Workload, chip: Chip, bits: int | None = None) -> Placement:
    stored = (bits or layer.precision.weight_bits) if workload.skip == "repeat" else None
    slicing = Slicing(chip.crossbar.encoding, layer.precision.weight_bits, chip.crossbar.cell_bits)
    placed = place(
        mapping, layer.weight, workload.skip, workload.pack, chip.index.format, workload.compact, stored, slicing
    )
    if chip.crossbar.encoding == POLARISED and layer.weight is not None:
        # Refuses weights that the arrays cannot hold also where no value is computed.
        program_arrays(mapping, placed.tiles, layer.weight, layer.precision.weight_bits, chip.crossbar)
    return placed
