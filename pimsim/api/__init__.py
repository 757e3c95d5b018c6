"""The door for Python: `simulate`, `map`, `compare`, `compare_methods`, `validate`, `presets` and `prune`.

Nothing heavy is imported before it is needed: mapping, validation and presets run without PyTorch and pandas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimsim.api.mapping import MapResult

if TYPE_CHECKING:
    from pimsim.api.array_study import ArrayStudy
    from pimsim.api.comparing import Comparison
    from pimsim.api.result import Result
    from pimsim.pruning.prune import PruneResult
    from pimsim.records.method_comparison import MethodComparison
    from pimsim.workload import Workload

__all__ = [
    "MapResult", "Result", "compare", "compare_methods", "map", "plot", "preset_text", "presets", "prune", "run",
    "simulate", "study_arrays", "trace", "validate",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "Result":
        from pimsim.api.result import Result

        return Result
    raise AttributeError(f"module 'pimsim.api' has no attribute '{name}'")


def simulate(
    workload: Workload | str | Path | None = None,
    *,
    check: bool = True,
    verify_engine: bool = False,
    progress: bool = False,
    module: Callable[[], Any] | None = None,
    **options: Any,
) -> Result:
    """A network mapped, simulated on a chip and compared with its integer reference.

    Args:
        workload: a `Workload`, the path of a workload file, or None to give everything by keyword.
        check: also run the functional check; False leaves time, energy and area.
        verify_engine: play the network with both engines, and compare all that they report; a note says what agreed.
        progress: progress bars on standard error.
        module: an ``nn.Module`` or a callable that builds one, instead of ``network="file.py:callable"``.
        options: keys of `pimsim.workload.Workload`; they win over the file.

    Returns:
        Tables as DataFrames (``layers``, ``components``), the totals, the check; ``save(folder)`` stores it.

    Raises:
        PimsimError: anything wrong with what was given; nothing is written.

    Example:
        >>> result = pimsim.simulate("workloads/digits.yaml", mapping="vw-sdk")  # doctest: +SKIP
    """
    from pimsim.api.running import resolve, run

    if module is not None and workload is None:
        options.setdefault("network", getattr(module, "__name__", type(module).__name__))
    wanted = resolve(workload, options)
    return run(wanted, check=check, verify_engine=verify_engine, progress=progress, module=module)


def run(
    workload: str | Path | None = None,
    *,
    check: bool = True,
    verify_engine: bool = False,
    progress: bool = True,
    **options: Any,
) -> tuple[Result, Path]:
    """`simulate`, then store: the result and its folder, the command ``pimsim run``.

    The folder is checked before any work is done, and appears only when it is complete.

    Raises:
        PimsimError: as `simulate`; `ResultError` for a folder that cannot be written.
    """
    from pimsim.api.running import resolve
    from pimsim.api.running import run as run_one
    from pimsim.records.store import check_writable

    wanted = resolve(workload, options)
    check_writable(wanted.result_folder)
    result = run_one(wanted, check=check, verify_engine=verify_engine, progress=progress)
    return result, result.save(wanted.result_folder)


def map(  # the command's name; nothing below uses the builtin
    layer: str | None = None,
    *,
    shapes: str | Path | None = None,
    array: str | None = None,
    columns_per_weight: int = 1,
    unit: str | None = None,
    hardware: str | None = None,
    weight_bits: int = 8,
    mapping: str = "im2col",
    options: Mapping[str, Any] | None = None,
    keep: str | None = None,
    skip: str | None = None,
    pack: str = "tile",
    compact: bool | None = None,
    convention: str = "same",
) -> MapResult:
    """How layers lie on arrays, in computing cycles, tiles and skipped rows; no weights and no PyTorch needed.

    Args:
        layer: ``k=3x3,ic=64,oc=128,in=28x28,stride=1,pad=0,dilation=1,groups=1``; or ``shapes``.
        shapes: a YAML table of layers.
        array: ``ROWSxCOLUMNS``, with ``columns_per_weight``; 512x512 when neither it nor ``hardware`` is given.
        columns_per_weight: physical columns that one weight takes.
        unit: operation unit, ``ROWSxCOLUMNS`` that one read drives and converts; None: the whole array.
        hardware: preset or hardware file that gives the array and the encoding of ``weight_bits`` instead.
        weight_bits: bits of a weight, with ``hardware``.
        mapping, options: a registered mapper and its options.
        keep: kernel positions that every channel keeps, row-major ``0`` and ``1``.
        skip: ``none``, ``row``, ``ou`` or ``array``; None means ``row`` with ``keep`` and ``none`` without.
        pack: ``tile`` or ``layer``.
        compact: for ``ou``, whether kept rows close up to full operation units; None: they do.
        convention: ``same`` (the layer's own padding, stride, dilation) or ``valid`` (as published).

    Raises:
        PimsimError: a shape, array or name that cannot be used.
    """
    from pimsim.api.mapping import chosen_array, layers_of, map_layers

    target = chosen_array(array, columns_per_weight, hardware, weight_bits, unit)
    return map_layers(
        layers_of(layer, shapes), target, mapping, options,
        keep=keep, skip=skip, pack=pack, compact=compact, convention=convention,
    )  # fmt: skip


def study_arrays(path: str | Path, show_progress: bool = False) -> ArrayStudy:
    """Array sizes and aspect ratios for pruned networks; see `pimsim.api.array_study.study_arrays`."""
    from pimsim.api.array_study import study_arrays as study

    return study(path, show_progress)


def compare(
    shapes: str | Path,
    mappings: Sequence[str] = (),
    arrays: Sequence[str] = (),
    columns_per_weight: int | None = None,
    convention: str | None = None,
) -> Comparison:
    """Mappers side by side on the layers of a file; see `pimsim.api.comparing.compare_mappings`."""
    from pimsim.api.comparing import compare_mappings

    return compare_mappings(shapes, mappings, arrays, columns_per_weight, convention)


def compare_methods(file: str | Path | None = None, **options: Any) -> MethodComparison:
    """Pruning methods side by side on a chip; see `pimsim.api.comparing_methods.compare_methods`."""
    from pimsim.api.comparing_methods import compare_methods as compare_all

    return compare_all(file, **options)


def validate(path: str | Path) -> str:
    """The kind of a checked file: ``hardware``, ``workload`` or ``shapes``.

    Raises:
        PimsimError: what is wrong with it, with file and line.
    """
    from pimsim.api.validation import validate_file

    return validate_file(Path(path))


def presets() -> dict[str, str]:
    """The hardware presets: name to the line that describes it."""
    from pimsim.hardware.presets import presets as found

    return {preset.name: preset.description for preset in found()}


def preset_text(name: str) -> str:
    """The YAML of a preset, with its sources. Raises `ConfigError` for an unknown name."""
    from pimsim.errors import ConfigError, nearest
    from pimsim.hardware.presets import preset_names, preset_path

    path = preset_path(name)
    if path is None:
        raise ConfigError(f"preset '{name}'", "unknown preset", None, nearest(name, preset_names()))
    return path.read_text(encoding="utf-8")


def plot(run: str | Path, out: str | Path) -> tuple[Path, ...]:
    """The figures of a finished run, drawn again into ``out``; the files. Raises `ResultError`."""
    from pimsim.api.drawing import plot_stored

    return plot_stored(Path(run), Path(out))


def trace(run: str | Path, out: str | Path) -> tuple[Path, ...]:
    """The traces of a finished run, written again into ``out``; the files. Raises `ResultError`."""
    from pimsim.api.drawing import trace_stored

    return trace_stored(Path(run), Path(out))


def prune(network: str, data: str | Path, out: str | Path, **options: Any) -> PruneResult:
    """Train a network for the crossbar and write its checkpoint.

    Args:
        network: ``FILE.py:CALLABLE``.
        data: ``digits``, an ImageFolder root with ``train/`` and ``test/``, or a CIFAR folder.
        out: checkpoint to write, ``.safetensors``; its card (``.md``) goes beside it.
        options: ``method`` (``none``, ``pairs``, ``garos``, ``vwc-sdk``, ...), the options of the method
            (`pimsim.api.pruning.options_by_method` lists both), and those of `pimsim.pruning.prune.prune`, the
            training that all share.

    Raises:
        PimsimError: bad input, or an option that belongs to another method; nothing is written.
    """
    from pimsim.api.pruning import prune as prune_by_method

    return prune_by_method(network, data, out, **options)
