"""A workload: which network, on which chip, mapped and skipped how; read from YAML, flags on top."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pimsim.errors import ConfigError, MappingError, nearest
from pimsim.workload_values import Copies, Count, Name, Normalization, Normalize, Pixels, Shape

#: Keys whose value names a file: looked for beside the workload file first, then from the working folder.
PATH_KEYS = ("network", "checkpoint", "shapes", "data", "hardware")
#: The labelled images that come with scikit-learn; every other ``data`` is a folder.
DIGITS = "digits"


#: Keys that only mean something where images run through weights.
_IMAGE_KEYS = ("checkpoint", "data", "normalize", "image_size", "input_shape", "quantizer", "crossbar_images",
               "skip_inputs")  # fmt: skip


class Workload(BaseModel):
    """One run, as the user asked for it. Bits and discipline left out are the checkpoint's and the chip's.

    Attributes:
        name: of the run; names the result folder.
        network: ``FILE.py:CALLABLE`` that returns an ``nn.Module``.
        checkpoint: weights, ``.pt``, ``.pth``, ``.th`` or ``.safetensors``.
        shapes: a YAML table of layer shapes, instead of ``network``: timing only.
        data: ``digits``, an ImageFolder root or a CIFAR folder; without it seeded inputs are used.
        normalize: (means, deviations), one of each a channel.
        image_size: resize and crop image files to this many pixels.
        input_shape: (C, H, W) of one image.
        weight_bits, activation_bits: integer precision; None: the checkpoint's own, or 8; with ``shapes`` the
            table's own, or the chip's.
        quantizer: ``symmetric`` or ``dorefa``; None: the checkpoint's own, or ``symmetric``.
        hardware: preset name or hardware file.
        set: dotted path to value, changes of the hardware such as ``tile.macro.adc.bits: 6``.
        mapping, mapping_options: a registered mapper and its options.
        convention: ``same`` (the layer's own padding and stride) or ``valid`` (as published; shapes only).
        skip, pack: granularity of skipping and packing (`pimsim.mapping.skipping`).
        skip_inputs: whether rows whose input bits are zero are not driven, measured on the first image; None: no.
        compact: for skip ``ou`` and ``slice``, whether kept rows close up to full operation units; None: they do.
        arrays: array tiles programmed at a time; None: all resident.
        layers: ``sequential`` (one after another) or ``pipelined`` (all at the same time).
        batch: images that go through one after another; all are there at the start.
        replication: copies of every layer, by layer name, or a rule: ``balance`` (in proportion to the windows) or
            ``auto`` (the slowest layer gets another copy while there is room).
        array_budget: arrays that the rules may use; None: the chip's.
        tile_placement: ``packed``, or ``tile``: every layer begins with a tile of its own.
        line_buffer: output rows that a buffer between pipelined layers holds; None: as many as are needed.
        engine: ``compiled``, or ``event``, the slow one that it is proven against.
        discipline: stage overlap; None: the chip's.
        images: test images that are checked; None: 8, or all of ``data``.
        crossbar_images: of those, how many also run on the crossbar model and are compared; None: at most 64.
        calibration_images: images that set the activation scales after training; None: 256, or as many as hold 2**22
            values (at least 16) where images are that large.
        seed: of the seeded inputs.
        results: result folder; None: ``results/NAME``.
        trace: spans that the trace keeps, ``layer=NAME,windows=FIRST:LAST,image=N``, or ``none``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = "run"
    network: str | None = None
    checkpoint: str | None = None
    shapes: str | None = None
    data: str | None = None
    normalize: Normalize | None = None
    image_size: Pixels | None = None
    input_shape: Shape | None = None
    weight_bits: Annotated[int, Field(ge=1, le=16)] | None = None
    activation_bits: Annotated[int, Field(ge=1, le=16)] | None = None
    quantizer: Literal["symmetric", "dorefa"] | None = None
    hardware: str = "isaac-like"
    set: dict[str, Any] = Field(default_factory=dict)
    mapping: str = "im2col"
    mapping_options: dict[str, Any] = Field(default_factory=dict)
    convention: Literal["same", "valid"] = "same"
    skip: str = "none"
    pack: Literal["tile", "layer"] = "tile"
    compact: bool | None = None
    skip_inputs: bool | None = None
    arrays: Count | None = None
    layers: Literal["sequential", "pipelined"] = "sequential"
    batch: Count = 1
    replication: Copies = 1
    array_budget: Count | None = None
    tile_placement: Literal["packed", "tile"] = "packed"
    line_buffer: Count | None = None
    engine: Literal["compiled", "event"] = "compiled"
    discipline: Literal["pipelined", "multiplexed", "serial", "serial-sum"] | None = None
    images: Count | None = None
    crossbar_images: Count | None = None
    calibration_images: Count | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    results: str | None = None
    trace: str | None = None

    def check_names(self) -> None:
        """Refuses an unknown mapper, mapper option or skip granularity. Raises `MappingError`."""
        from pimsim.mapping.registry import mapper
        from pimsim.mapping.skipping import SKIPS

        mapper(self.mapping, **self.mapping_options)
        if self.skip not in SKIPS:
            raise MappingError(f"skip '{self.skip}'", "unknown skip", None, nearest(self.skip, SKIPS))

    @property
    def result_folder(self) -> Path:
        """Where the run is stored."""
        return Path(self.results) if self.results is not None else Path("results") / self.name


def read_workload(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Workload:
    """The workload of a YAML file, with ``overrides`` (what the flags gave) on top.

    Raises:
        ConfigError: the file is missing or is not YAML; an unknown key, a key given twice, a value that is not
            allowed (all of them in one message, each with file and line); or keys that do not go together.
    """
    tree = _read_tree(Path(path))
    values = {key: beside(Path(path).parent, key, value) for key, value in tree.plain().items()}
    given = {"name": Path(path).stem, **values}
    changed = {key: value for key, value in (overrides or {}).items() if value is not None}

    def where(key: str) -> str:
        return flag(key) if key in changed else str(tree.place((key,)))

    return checked_workload({**given, **changed}, where, str(path))


def make_workload(values: Mapping[str, Any]) -> Workload:
    """The workload of flags or keyword arguments alone; None means not given. Raises `ConfigError`."""
    given = {key: value for key, value in values.items() if value is not None}
    source = given.get("network") or given.get("shapes")
    if "name" not in given and isinstance(source, str):
        given["name"] = source.rpartition(":")[2] if "network" in given else Path(source).stem
    return checked_workload(given, flag, "workload")


def parse_normalization(text: str) -> Normalization:
    """Means and deviations from ``M,M,M/S,S,S``. Raises `ConfigError` for anything else."""
    from pydantic import TypeAdapter

    try:
        return TypeAdapter[Normalization](Normalize).validate_python(text)
    except ValidationError:
        rule = "means and deviations are numbers with commas between them and one '/'"
        fix = "Write it like 0.5,0.5,0.5/0.2,0.2,0.2"
        raise ConfigError(f"'{text}'", rule, flag("normalize"), fix) from None


def flag(key: str) -> str:
    """The command line's spelling of a workload key."""
    return "--" + key.replace("_", "-")


def is_workload(keys: Mapping[str, Any]) -> bool:
    """Whether the top-level keys of a YAML file are those of a workload."""
    return "network" in keys or "shapes" in keys


def _read_tree(path: Path) -> Any:
    # The reader of hardware files serves every YAML file: it keeps lines and finds keys given twice.
    from pimsim.hardware.files import parse_file

    if not path.is_file():
        raise ConfigError(f"workload '{path}'", "there is no such file", None, "Check the path")
    problems: list[ConfigError] = []
    try:
        tree = parse_file(path, problems)
    except ConfigError as error:
        fix = "Start with 'network: FILE.py:CALLABLE'"
        raise ConfigError(error.given, error.rule.replace("hardware file", "workload"), error.where, fix) from None
    if problems:
        raise _together(problems)
    return tree


def beside(folder: Path, key: str, value: Any) -> Any:
    """A path key as seen from the workload file, or from the working folder when only there is such a file."""
    if key not in PATH_KEYS or not isinstance(value, str) or (key == "data" and value == DIGITS):
        return value
    file, colon, name = value.rpartition(":") if key == "network" else (value, "", "")
    candidate = folder / Path(file).expanduser()
    # What is found nowhere may be the name of a preset; every other file is missed beside the workload.
    stays = key == "hardware" if not Path(file).expanduser().exists() else True
    return value if stays and not candidate.exists() else f"{candidate}{colon}{name}"


def checked_workload(values: Mapping[str, Any], where: Callable[[str], str], whole: str) -> Workload:
    """The workload of all its keys; ``where`` tells the place of a key, ``whole`` that of all. Raises `ConfigError`."""
    try:
        workload = Workload(**values)
    except ValidationError as error:
        raise _together([_problem(dict(entry), where) for entry in error.errors()]) from None
    _check_together(workload, where, whole)
    return workload


def _problem(entry: dict[str, Any], where: Callable[[str], str]) -> ConfigError:
    """One of pydantic's findings in pimsim's words."""
    key = str(entry["loc"][0])
    if entry["type"] == "extra_forbidden":
        return ConfigError(f"key '{key}'", "unknown key", where(key), nearest(key, Workload.model_fields))
    rule = entry["msg"].removeprefix("Value error, ")
    return ConfigError(f"{key}={entry['input']!r}", rule[:1].lower() + rule[1:], where(key))


def _together(problems: list[ConfigError]) -> ConfigError:
    """One error for all problems of a file, a line each."""
    first, *others = problems
    if not others:
        return first
    rest = "".join(f"\n{problem}" for problem in others)
    return ConfigError(first.given, first.rule, first.where, (first.fix or "").rstrip(".") + rest.rstrip("."))


def _check_together(workload: Workload, where: Callable[[str], str], whole: str) -> None:
    """Keys that need or exclude each other."""
    if (workload.network is None) == (workload.shapes is None):
        given = "both network and shapes" if workload.network else "neither network nor shapes"
        raise ConfigError(
            given, "one of them is needed", whole, "Give network: FILE.py:CALLABLE, or shapes: TABLE.yaml"
        )
    if workload.network and workload.input_shape is None and workload.data is None:
        rule = "a network needs data, or the shape of its seeded inputs"
        raise ConfigError("neither data nor input_shape", rule, whole, "Give input_shape: C,H,W, for example 3,32,32")
    key = next((key for key in _IMAGE_KEYS if getattr(workload, key) is not None), None)
    if workload.shapes and key is not None:
        rule = "a shape table has no weights to run on images"
        raise ConfigError(f"{key} with shapes", rule, where(key), f"Leave {key} out, or give network instead of shapes")
    if workload.network and workload.convention == "valid":
        rule = "'valid' counts cycles as published and does not compute the network"
        raise ConfigError("convention 'valid' with network", rule, where("convention"), "Use it with shapes only")
    _check_schedule(workload, where)


def _check_schedule(workload: Workload, where: Callable[[str], str]) -> None:
    """Keys that mean nothing beside the order of the layers, or beside the replication, that was asked for."""
    together = workload.layers == "pipelined"
    if workload.line_buffer is not None and not together:
        given, rule = f"line_buffer={workload.line_buffer} with layers one after another", "no rows wait between them"
        raise ConfigError(given, rule, where("line_buffer"), "Give layers: pipelined, or leave line_buffer out")
    if workload.arrays is not None and together:
        given = f"arrays={workload.arrays} with pipelined layers"
        rule = "layers that work at the same time cannot take turns on a few arrays"
        raise ConfigError(given, rule, where("arrays"), "Leave arrays out, or give layers: sequential")
    if workload.array_budget is not None and not isinstance(workload.replication, str):
        given = f"array_budget={workload.array_budget} without a rule"
        rule = "it limits the copies that the rules 'balance' and 'auto' choose"
        raise ConfigError(given, rule, where("array_budget"), "Give replication: balance or auto, or leave it out")
