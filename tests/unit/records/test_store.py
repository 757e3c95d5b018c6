"""A result folder is whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pandas as pd
import pytest

from pimsim.errors import ResultError
from pimsim.records.check import Check
from pimsim.records.manifest import Provenance
from pimsim.records.store import (
    SavedResult,
    check_writable,
    find_results,
    load_result,
    redraw,
    result_folder,
    retrace,
    write_result,
)
from pimsim.records.tables import tables, to_json_object
from pimsim.simulation.results import SimulationResult


@pytest.fixture
def provenance(tmp_path: Path) -> Provenance:
    checkpoint = tmp_path / "net.safetensors"
    checkpoint.write_bytes(b"weights")
    return Provenance({"mapping": "sdk"}, {"inputs": 7}, {"checkpoint": checkpoint}, ("pimsim", "run"), 1.5)


@pytest.fixture
def saved(tmp_path: Path, result: SimulationResult, check: Check, provenance: Provenance) -> SavedResult:
    return load_result(write_result(tmp_path / "run", result, check, provenance, figures=False))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_result_reads_back_as_it_was(saved: SavedResult, result: SimulationResult, check: Check) -> None:
    assert saved.summary == json.loads(json.dumps(to_json_object(result, check)))
    for name, table in vars(tables(result)).items():
        pd.testing.assert_frame_equal(getattr(saved.tables, name), table)


def test_the_folder_holds_what_the_documentation_says(saved: SavedResult, tmp_path: Path) -> None:
    parquet = {
        f"{name}.parquet" for name in ("totals", "layers", "components", "energy", "stalls", "resources", "spans")
    }
    assert names(saved.folder) == parquet | {"manifest.json", "summary.json", "trace.perfetto", "trace.json.gz"}
    assert names(tmp_path) == {"run", "net.safetensors"}


def test_the_manifest_makes_the_run_repeatable(saved: SavedResult) -> None:
    found = saved.manifest
    assert found["seeds"] == {"inputs": 7}
    assert found["config"] == {"mapping": "sdk"}
    assert found["command"] == ["pimsim", "run"]
    assert found["inputs"]["checkpoint"]["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert {"python", "pimsim", "numpy", "pandas", "simpy"} <= set(found["versions"])
    assert found["host"]["seconds"] == 1.5
    assert found["date"].endswith("+00:00")


def test_a_run_without_spans_has_no_trace(tmp_path: Path, results: object, provenance: Provenance) -> None:
    found = load_result(write_result(tmp_path / "run", results(2), None, provenance, figures=False))  # type: ignore[operator]
    assert not {"spans.parquet", "trace.perfetto", "trace.json.gz"} & names(found.folder)
    assert len(found.tables.spans) == 0
    with pytest.raises(ResultError, match=r"this result holds no spans\. Run again with a trace"):
        retrace(found, tmp_path / "traces")


def test_figures_are_part_of_the_result(
    tmp_path: Path, result: SimulationResult, check: Check, provenance: Provenance
) -> None:
    found = load_result(write_result(tmp_path / "run", result, check, provenance))
    expected = {f"{name}.{kind}" for name in ("energy", "latency", "utilisation") for kind in ("pdf", "svg", "png")}
    assert names(found.folder / "figures") == expected
    assert "figures/energy.pdf" in found.manifest["files"]


def test_a_finished_result_is_drawn_and_traced_again_alike(saved: SavedResult, tmp_path: Path) -> None:
    again = retrace(saved, tmp_path / "again")
    assert [p.read_bytes() for p in again] == [(saved.folder / p.name).read_bytes() for p in again]
    assert len(redraw(saved, tmp_path / "again")) == 9


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_nothing_is_left_when_a_run_is_interrupted(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), result_folder(tmp_path / "run") as partial:
        (partial / "layers.parquet").write_text("half")
        assert find_results(tmp_path) == []
        raise error
    assert names(tmp_path) == set()


def test_an_older_result_survives_an_interrupted_run(saved: SavedResult) -> None:
    with pytest.raises(KeyboardInterrupt), result_folder(saved.folder):
        raise KeyboardInterrupt
    assert load_result(saved.folder).manifest == saved.manifest


def test_a_finished_result_is_replaced(
    saved: SavedResult, tmp_path: Path, results: object, provenance: Provenance
) -> None:
    write_result(saved.folder, results(2), None, provenance, figures=False)  # type: ignore[operator]
    assert len(load_result(saved.folder).summary["layers"]) == 2
    assert not (saved.folder / "trace.perfetto").exists()
    assert names(tmp_path) == {"run", "net.safetensors"}


def test_somebody_elses_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.tex").write_text("precious")
    expected = (
        f"{folder}: it exists and is not a finished result of pimsim, so it is not replaced. "
        "Choose another --results folder, or remove this one."
    )
    for attempt in (lambda: check_writable(folder), lambda: result_folder(folder).__enter__()):
        with pytest.raises(ResultError) as caught:
            attempt()
        assert str(caught.value) == expected
    assert names(folder) == {"chapter1.tex"}


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    check_writable(tmp_path / "run")
    with result_folder(tmp_path / "run") as partial:
        (partial / "x").write_text("y")
    assert names(tmp_path / "run") == {"x"}


def test_missing_parents_are_made_only_when_writing(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b" / "run")
    assert names(tmp_path) == set()
    with result_folder(tmp_path / "a" / "b" / "run"):
        pass
    assert (tmp_path / "a" / "b" / "run").is_dir()


def test_a_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError) as caught:
        check_writable(tmp_path / "file" / "run")
    assert str(caught.value) == (
        f"{tmp_path}/file/run: the result folder cannot be written (Not a directory). "
        "Choose a --results folder that you can write."
    )


def test_a_folder_on_a_disk_that_refuses_is_refused() -> None:
    with pytest.raises(ResultError, match="the result folder cannot be written"):
        check_writable(Path("/proc/pimsim-run"))
    with pytest.raises(ResultError, match="the result folder cannot be written"), result_folder(Path("/proc/pimsim")):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_parent_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ResultError, match=r"cannot be written \(Permission denied\)"):
            check_writable(tmp_path / "run")
    finally:
        tmp_path.chmod(0o700)


def test_only_a_result_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": "something else"}')
    with pytest.raises(ResultError) as caught:
        load_result(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: this is not a finished result of pimsim. Give a folder that holds manifest.json."
    )


def test_a_damaged_result_is_named(saved: SavedResult) -> None:
    (saved.folder / "energy.parquet").unlink()
    (saved.folder / "summary.json").write_text("{}")
    with pytest.raises(ResultError) as caught:
        load_result(saved.folder)
    assert str(caught.value) == (
        f"{saved.folder}: files are missing or changed: energy.parquet, summary.json. "
        "Run again to make the result whole."
    )


def test_a_result_of_another_version_is_refused(saved: SavedResult) -> None:
    path = saved.folder / "manifest.json"
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 1'))
    with pytest.raises(ResultError) as caught:
        load_result(saved.folder)
    assert str(caught.value) == (
        f"{saved.folder}: it has tables of schema 1, and this pimsim reads 2. "
        "Run again, or use the pimsim that wrote it."
    )


def test_results_are_found_in_their_folder(saved: SavedResult, tmp_path: Path) -> None:
    assert find_results(tmp_path) == [saved.folder]
    assert find_results(saved.folder) == [saved.folder]
    assert find_results(tmp_path / "nothing") == []
