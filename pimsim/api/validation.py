"""Checking hardware, workload and shape files before a run."""

from __future__ import annotations

from pathlib import Path

from pimsim.errors import ConfigError


def validate_file(path: Path) -> str:
    """What a file without faults is: ``hardware``, ``workload``, ``shapes``, ``published``, ``comparison``, ``study``.

    A file with ``layers`` is a shape table, one with ``tables`` a paper's published tables, one with ``compare`` a
    comparison, one with ``networks`` an array study, one with ``network`` or ``shapes`` a workload, every other one
    hardware. A workload is checked together with the hardware and the shape table that it names.

    Raises:
        ConfigError: what is wrong, with file and line.
    """
    kind = kind_of(path)
    if kind == "shapes":
        from pimsim.network.shapes import load_shapes

        load_shapes(path)
    elif kind == "published":
        from pimsim.network.published import load_published

        load_published(path)
    elif kind == "study":
        from pimsim.api.array_study_file import read_study
        from pimsim.hardware.loading import load_chip

        load_chip(read_study(path).hardware)
    elif kind == "comparison":
        from pimsim.api.comparison_entries import read_comparison

        read_comparison(path, {})
    elif kind == "workload":
        _check_workload(path)
    else:
        from pimsim.hardware.loading import load_chip

        load_chip(path)
    return kind


def kind_of(path: Path) -> str:
    """What the top-level keys of a YAML file say that it is. Raises `ConfigError` when it cannot be read."""
    from pimsim.hardware.files import parse_file
    from pimsim.workload import is_workload

    if not path.is_file():
        raise ConfigError(f"'{path}'", "there is no such file", None, "Check the path")
    keys = parse_file(path, []).children
    if isinstance(getattr(keys.get("layers"), "value", None), list):
        return "shapes"
    if isinstance(getattr(keys.get("tables"), "value", None), list):
        return "published"
    if isinstance(getattr(keys.get("networks"), "value", None), list):
        return "study"
    if isinstance(getattr(keys.get("compare"), "value", None), list):
        return "comparison"
    return "workload" if is_workload(keys) else "hardware"


def _check_workload(path: Path) -> None:
    from pimsim.hardware.loading import load_chip
    from pimsim.workload import read_workload

    workload = read_workload(path)
    load_chip(workload.hardware, workload.set)
    workload.check_names()
    for key in ("network", "checkpoint", "shapes"):
        value = getattr(workload, key)
        file = Path(value.rpartition(":")[0] if key == "network" else value) if value else None
        if file is not None and not file.is_file():
            raise ConfigError(f"{key} '{file}'", "there is no such file", str(path), "Check the path")
    if workload.shapes is not None:
        from pimsim.network.shapes import load_shapes

        load_shapes(workload.shapes)
