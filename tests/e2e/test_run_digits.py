"""The digits workload from end to end: contract, check, result folder, plot and trace again."""

from __future__ import annotations

import json

import pytest

import pimsim as package

IMAGES = 40
LAYER_KEYS = {
    "name", "kind", "cycles", "windows", "arrays", "rows_mapped", "rows_skipped", "conversions", "latency_ns",
    "energy_pj", "cell_utilisation",
}  # fmt: skip
TOTAL_KEYS = {
    "latency_ns", "first_output_ns", "interval_ns", "energy_pj", "energy_by_component_pj", "area_mm2", "arrays",
    "conversions", "rows_mapped", "rows_skipped", "skip_ratio",
}  # fmt: skip
CHECK_KEYS = {"images", "outputs", "mismatches", "top1_float", "top1_integer", "top1_crossbar"}
# conv1 and conv2 write 16 x 8 x 8, conv3 and conv4 32 x 4 x 4, linear 10 outputs.
OUTPUTS = 2 * 16 * 64 + 2 * 32 * 16 + 10


@pytest.fixture(scope="module")
def stored(tmp_path_factory, repository_path):
    """One run of the workload through the Python door, stored."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    workload = repository_path / "workloads/digits.yaml"
    return package.simulate(workload, images=IMAGES), folder


@pytest.fixture(scope="module")
def saved(stored):
    result, folder = stored
    return result.save(folder)


def test_json_has_every_key_of_the_contract(stored):
    found = stored[0].to_json()
    assert all(set(layer) >= LAYER_KEYS for layer in found["layers"])
    assert set(found["totals"]) >= TOTAL_KEYS
    assert set(found["check"]) >= CHECK_KEYS
    assert [layer["name"] for layer in found["layers"]] == ["conv1", "conv2", "conv3", "conv4", "linear"]
    json.dumps(found, allow_nan=False)


def test_totals_are_the_sums_of_the_layers(stored):
    found = stored[0].to_json()
    for key in ("arrays", "conversions", "rows_mapped", "rows_skipped"):
        assert found["totals"][key] == sum(layer[key] for layer in found["layers"])
    totals = found["totals"]
    assert totals["energy_pj"] == pytest.approx(sum(totals["energy_by_component_pj"].values()))
    assert totals["skip_ratio"] == totals["rows_skipped"] / totals["rows_mapped"] > 0
    assert totals["latency_ns"] == pytest.approx(sum(layer["latency_ns"] for layer in found["layers"]))


def test_no_output_differs_and_the_digits_are_recognised(stored):
    check = stored[0].check
    assert (check.images, check.outputs, check.mismatches) == (IMAGES, IMAGES * OUTPUTS, 0)
    assert check.top1_crossbar == check.top1_integer > 0.9
    assert check.top1_float is None  # trained quantized: there is no float network


def test_the_result_folder_is_complete(saved):
    names = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    figures = {
        f"figures/{name}.{kind}" for name in ("energy", "latency", "utilisation") for kind in ("pdf", "svg", "png")
    }
    assert (
        figures | {"manifest.json", "layers.parquet", "components.parquet", "trace.perfetto", "trace.json.gz"} <= names
    )
    manifest = json.loads((saved / "manifest.json").read_text())
    assert manifest["config"]["mapping"] == "vw-sdk"
    assert len(manifest["inputs"]["checkpoint"]["sha256"]) == 64


def test_plot_and_trace_draw_a_finished_run_again(pimsim, saved, tmp_path):
    drawn = pimsim("plot", saved, "--out", tmp_path / "figures", "--json")
    assert drawn.code == 0, drawn.err
    assert len(json.loads(drawn.out)["files"]) == 9
    traced = pimsim("trace", saved, "--out", tmp_path / "traces")
    assert traced.code == 0, traced.err
    assert (tmp_path / "traces/trace.perfetto").read_bytes() == (saved / "trace.perfetto").read_bytes()


def test_plot_refuses_what_is_no_result(pimsim, tmp_path):
    done = pimsim("plot", tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "this is not a finished result of pimsim" in done.err


def test_tables_and_html(stored):
    result = stored[0]
    assert list(result.layers["layer"]) == ["conv1", "conv2", "conv3", "conv4", "linear"]
    assert result.energy["energy_pj"].sum() == pytest.approx(result.layers["energy_pj"].sum())
    assert "0 of" in result._repr_html_()


@pytest.mark.parametrize("mapping", ["im2col", "sdk"])
def test_every_mapping_and_a_signed_encoding_compute_the_same(repository, mapping):
    result = package.simulate(
        repository / "workloads/digits.yaml", mapping=mapping, images=4, trace="none",
        set={"tile.macro.crossbar.encoding": "differential"},
    )  # fmt: skip
    assert result.check.exact
    assert result.simulation.spans == ()


def test_a_small_adc_is_reported_and_is_no_failure(pimsim, repository, tmp_path):
    done = pimsim(
        "run", repository / "workloads/digits.yaml", "--images", 8, "--set", "tile.macro.adc.bits=5", "--json",
        "--results", tmp_path / "run",
    )  # fmt: skip
    assert done.code == 0, done.err
    check = json.loads(done.out)["check"]
    assert check["mismatches"] > 0
    assert check["clipped_conversions"] > 0
    assert check["snr_db"] > 0


def test_a_wrong_crossbar_is_exit_code_3(pimsim, repository, tmp_path, monkeypatch):
    from pimsim.functional.crossbar import CrossbarMultiplier

    honest = CrossbarMultiplier.__call__

    def off_by_one(self, layer, inputs):
        return honest(self, layer, inputs) + (layer.name == "conv3")

    monkeypatch.setattr(CrossbarMultiplier, "__call__", off_by_one)
    words = ("run", repository / "workloads/digits.yaml", "--images", 2, "--results", tmp_path / "run")
    done = pimsim(*words)
    assert done.code == 3
    assert f"{2 * 32 * 16:,} of {2 * OUTPUTS:,} outputs differ from the reference" in done.out
    assert "outputs differ although the ADC is lossless" in done.err


def test_a_shape_table_is_timed_and_not_checked(pimsim, repository, tmp_path):
    done = pimsim(
        "run", "--shapes", repository / "workloads/shapes/vgg8.yaml", "--hardware", "isaac-like-8b", "--mapping",
        "vw-sdk", "--trace", "none", "--json", "--results", tmp_path / "run",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["check"] is None
    assert len(found["layers"]) == 8


def test_flags_win_over_the_file(repository, tmp_path):
    from pimsim.workload import read_workload

    workload = read_workload(
        repository / "workloads/digits.yaml", {"mapping": "sdk", "skip": None, "input_shape": "1,8,8"}
    )
    assert (workload.mapping, workload.skip, workload.input_shape) == ("sdk", "row", (1, 8, 8))
    assert workload.result_folder.as_posix() == "results/digits"


def test_the_demo_needs_no_data_and_every_output_is_right(repository, tmp_path):
    """`make demo`: the trained, pruned ResNet-20 on seeded inputs; two images keep the test short."""
    import pimsim

    result = pimsim.simulate(
        str(repository / "workloads/demo.yaml"), images=2, trace="none", results=str(tmp_path / "r")
    )
    totals = result.to_json()["totals"]
    assert result.check.mismatches == 0
    assert result.check.outputs == 2 * 188_426  # all outputs of the 20 crossbar layers of ResNet-20
    # A border line of the window in every channel: 4 of 16 rows in six layers, 3 of 9 in ten.
    assert totals["rows_skipped"] == 6 * 16 * 4 + 5 * 32 * 3 + 5 * 64 * 3
    assert totals["arrays"] < 59
