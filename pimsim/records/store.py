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
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pimsim.errors import ResultError
from pimsim.records.check import Check
from pimsim.records.manifest import FORMAT, SCHEMA, Provenance, manifest
from pimsim.records.parquet import read_table, write_table
from pimsim.records.schema import TABLES
from pimsim.records.tables import Columns, PlainTables, Tables, columns, frames, plain_tables, spans_of, to_json_object
from pimsim.records.traces import write_chrome, write_perfetto
from pimsim.simulation.results import SimulationResult

MANIFEST, SUMMARY = "manifest.json", "summary.json"
#: Tables that a result may lack: spans are kept only where they were asked for.
OPTIONAL = ("spans",)


@dataclass(frozen=True, eq=False)
class SavedResult:
    """A finished result folder, read back.

    ``summary`` is the object of ``pimsim run --json``; the tables are read when they are first used.
    """

    folder: Path
    manifest: dict[str, Any]
    summary: dict[str, Any]

    @cached_property
    def tables(self) -> Tables:
        """The tables as DataFrames."""
        return frames(self.plain)

    @cached_property
    def plain(self) -> PlainTables:
        """The tables as lists by column."""
        return {name: _read_table(self.folder, name) for name in TABLES}


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
) -> Path:
    """Write everything a run leaves behind; gives the folder.

    Args:
        path: the result folder.
        result: the simulation; its ``spans`` become the trace and ``spans.parquet`` (neither when there are none).
        check: the comparison with the reference, or None for networks without weights.
        provenance: what the run was made from.
        figures: draw them (the longest part).
        trace: write the two trace files.

    Raises:
        ResultError: as `result_folder`.
    """
    summary, plain = to_json_object(result, check), plain_tables(result)
    with result_folder(path) as partial:
        write_json(partial / SUMMARY, summary)
        for name in TABLES:
            if name not in OPTIONAL or result.spans:
                write_table(name, plain[name], partial / f"{name}.parquet")
        if trace and result.spans:
            write_perfetto(result.spans, partial / "trace.perfetto", result.chip.name)
            write_chrome(result.spans, partial / "trace.json.gz", result.chip.name)
        if figures:
            from pimsim.records.figures import draw_all

            draw_all(plain, partial / "figures")
        write_json(partial / MANIFEST, manifest(provenance, _listing(partial)))
    return path


def redraw(saved: SavedResult, folder: Path) -> tuple[Path, ...]:
    """Draw the figures of a finished result into ``folder``; the files written."""
    from pimsim.records.figures import draw_all

    return draw_all(saved.plain, folder)


def retrace(saved: SavedResult, folder: Path) -> tuple[Path, Path]:
    """Write both traces of a finished result into ``folder``; the files written.

    Raises:
        ResultError: the run kept no spans.
    """
    spans = list(spans_of(saved.plain["spans"]))
    if not spans:
        raise ResultError(
            f"{saved.folder}", "this result holds no spans", None, "Run again with a trace, as in --trace layer=NAME"
        )
    paths = folder / "trace.perfetto", folder / "trace.json.gz"
    title = str(saved.summary["chip"])
    folder.mkdir(parents=True, exist_ok=True)
    write_perfetto(spans, paths[0], title)
    write_chrome(spans, paths[1], title)
    return paths


def load_result(folder: Path) -> SavedResult:
    """A finished result folder.

    Raises:
        ResultError: not a result of pimsim, one of another version, or one with missing or damaged files.
    """
    found = read_manifest(folder)
    if found is None:
        raise ResultError(
            f"{folder}", "this is not a finished result of pimsim", None, f"Give a folder that holds {MANIFEST}"
        )
    if found["schema"] != SCHEMA:
        rule = f"it has tables of schema {found['schema']}, and this pimsim reads {SCHEMA}"
        raise ResultError(f"{folder}", rule, None, "Run again, or use the pimsim that wrote it")
    missing = [name for name, size in found["files"].items() if _size(folder / name) != size]
    if missing:
        raise ResultError(
            f"{folder}",
            f"files are missing or changed: {', '.join(missing)}",
            None,
            "Run again to make the result whole",
        )
    summary = json.loads((folder / SUMMARY).read_text())
    return SavedResult(folder, found, summary)


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


def _read_table(folder: Path, name: str) -> Columns:
    path = folder / f"{name}.parquet"
    return columns(name, []) if name in OPTIONAL and not path.exists() else read_table(name, path)


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
