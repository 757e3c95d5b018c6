"""The result folder: written beside its final place and renamed when complete.

A killed run never looks finished.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimsim.errors import ResultError
from pimsim.records.check import Check
from pimsim.records.figures import draw_all
from pimsim.records.manifest import FORMAT, Provenance, manifest
from pimsim.records.schema import TABLES
from pimsim.records.tables import Tables, frame, spans_of, tables, to_json_object
from pimsim.records.traces import write_chrome, write_perfetto
from pimsim.simulation.results import SimulationResult

if TYPE_CHECKING:
    import pandas as pd

MANIFEST, SUMMARY = "manifest.json", "summary.json"
#: Tables that a result may lack: spans are kept only where they were asked for.
OPTIONAL = ("spans",)


@dataclass(frozen=True, eq=False)
class SavedResult:
    """A finished result folder, read back.

    ``summary`` is the object of ``pimsim run --json``; ``tables`` as `pimsim.records.tables.Tables`.
    """

    folder: Path
    manifest: dict[str, Any]
    summary: dict[str, Any]
    tables: Tables


def check_writable(path: Path) -> None:
    """Refuse, before any work is done, a result folder that could not be written.

    Raises:
        ResultError: something that is not a finished result stands there, or its parent cannot be written.
    """
    _check_replaceable(path)
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    probe = parent / f".{path.name}.{uuid.uuid4().hex[:8]}.probe"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise _unwritable(path, error) from None


@contextmanager
def result_folder(path: Path) -> Iterator[Path]:
    """A new folder beside ``path`` to write into; becomes ``path`` when the block ends, or vanishes when it fails.

    A finished result that stands at ``path`` is replaced; anything else is refused.

    Raises:
        ResultError: as `check_writable`, or the disk refused a file.
    """
    _check_replaceable(path)
    partial = path.absolute().parent / f".{path.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        partial.mkdir(parents=True)
        yield partial
        _put_in_place(partial, path)
    except BaseException as error:  # Ctrl-C as well: nothing half-written may stay
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from error
        raise


def write_result(
    path: Path,
    result: SimulationResult,
    check: Check | None,
    provenance: Provenance,
    *,
    figures: bool = True,
    trace: bool = True,
) -> SavedResult:
    """Write everything a run leaves behind, and read it back.

    Args:
        path: the result folder.
        result: the simulation; its ``spans`` become the trace and ``spans.parquet`` (neither when there are none).
        check: the comparison with the reference, or None for networks without weights.
        provenance: what the run was made from.
        figures: draw them (a few seconds).
        trace: write the two trace files.

    Raises:
        ResultError: as `result_folder`.
    """
    summary, table = to_json_object(result, check), tables(result)
    with result_folder(path) as partial:
        write_json(partial / SUMMARY, summary)
        for name in TABLES:
            if name not in OPTIONAL or len(getattr(table, name)):
                getattr(table, name).to_parquet(partial / f"{name}.parquet", index=False)
        if trace and result.spans:
            write_perfetto(result.spans, partial / "trace.perfetto", result.chip.name)
            write_chrome(result.spans, partial / "trace.json.gz", result.chip.name)
        if figures:
            draw_all(table, partial / "figures")
        write_json(partial / MANIFEST, manifest(provenance, _listing(partial)))
    return load_result(path)


def redraw(saved: SavedResult, folder: Path) -> tuple[Path, ...]:
    """Draw the figures of a finished result into ``folder``; the files written."""
    return draw_all(saved.tables, folder)


def retrace(saved: SavedResult, folder: Path) -> tuple[Path, Path]:
    """Write both traces of a finished result into ``folder``; the files written.

    Raises:
        ResultError: the run kept no spans.
    """
    if not len(saved.tables.spans):
        raise ResultError(
            f"{saved.folder}", "this result holds no spans", None, "Run again with a trace, as in --trace layer=NAME"
        )
    paths = folder / "trace.perfetto", folder / "trace.json.gz"
    title = str(saved.summary["chip"])
    folder.mkdir(parents=True, exist_ok=True)
    write_perfetto(spans_of(saved.tables.spans), paths[0], title)
    write_chrome(spans_of(saved.tables.spans), paths[1], title)
    return paths


def load_result(folder: Path) -> SavedResult:
    """A finished result folder.

    Raises:
        ResultError: not a result of pimsim, or one with missing or damaged files.
    """
    found = read_manifest(folder)
    if found is None:
        raise ResultError(
            f"{folder}", "this is not a finished result of pimsim", None, f"Give a folder that holds {MANIFEST}"
        )
    missing = [name for name, size in found["files"].items() if _size(folder / name) != size]
    if missing:
        raise ResultError(
            f"{folder}",
            f"files are missing or changed: {', '.join(missing)}",
            None,
            "Run again to make the result whole",
        )
    summary = json.loads((folder / SUMMARY).read_text())
    return SavedResult(folder, found, summary, _read_tables(folder))


def find_results(folder: Path) -> list[Path]:
    """The finished results in ``folder`` (itself, or its direct children), by name."""
    places = [folder, *sorted(folder.iterdir())] if folder.is_dir() else []
    return [place for place in places if read_manifest(place) is not None]


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished result; None when the folder is not one."""
    try:
        found = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("format") == FORMAT else None


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write plain JSON, indented; NaN and infinities are an error."""
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def _read_tables(folder: Path) -> Tables:
    return Tables(**{field.name: _read_table(folder, field.name) for field in fields(Tables)})


def _read_table(folder: Path, name: str) -> pd.DataFrame:
    import pandas as pd

    path = folder / f"{name}.parquet"
    if name in OPTIONAL and not path.exists():
        return frame(name, [])
    return pd.read_parquet(path).astype({column.name: column.dtype for column in TABLES[name]})


def _listing(folder: Path) -> dict[str, int]:
    """Size in bytes of every file below a folder, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _check_replaceable(path: Path) -> None:
    """Only an empty folder or a finished result may give way."""
    if not path.exists() or read_manifest(path) is not None:
        return
    if path.is_dir() and not any(path.iterdir()):
        return
    raise ResultError(
        f"{path}",
        "it exists and is not a finished result of pimsim, so it is not replaced",
        None,
        "Choose another --results folder, or remove this one",
    )


def _put_in_place(partial: Path, path: Path) -> None:
    """Rename into place; an older result steps aside first and comes back when that fails."""
    if not path.exists():
        partial.rename(path)
        return
    old = partial.with_suffix(".old")
    path.rename(old)
    try:
        partial.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _unwritable(path: Path, error: OSError) -> ResultError:
    reason = error.strerror or os.strerror(error.errno or 0)
    return ResultError(
        f"{path}",
        f"the result folder cannot be written ({reason})",
        None,
        "Choose a --results folder that you can write",
    )
