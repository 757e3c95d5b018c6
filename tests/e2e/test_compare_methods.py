"""``pimsim compare`` of checkpoints, masks and files: every number beside another way to it, and what is refused."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil

import pyarrow.parquet
import pytest
from safetensors.torch import load_file

import pimsim as package
from pimsim.api.comparing_methods import compare_methods
from pimsim.network.checkpoints import load_checkpoint
from pimsim.pruning.patterns import rows_skipped

WORDS = ("--hardware", "isaac-like-8b", "--mapping", "sdk", "--skip", "row")


@pytest.fixture(scope="module")
def models(repository_path):
    return repository_path / "models"


@pytest.fixture(scope="module")
def common(models):
    return {
        "network": f"{models / 'digits_cnn.py'}:digits_cnn", "data": "digits", "normalize": "0.305/0.376", "images": 60,
        "hardware": "isaac-like-8b", "mapping": "sdk", "skip": "row", "crossbar_images": 2,
    }  # fmt: skip


@pytest.fixture(scope="module")
def dense(models):
    return str(models / "digits_cnn-w4a4.safetensors")


@pytest.fixture(scope="module")
def pruned(models):
    return str(models / "digits_cnn-w4a4-pattern6.safetensors")


@pytest.fixture(scope="module")
def compared(common, dense, pruned):
    return compare_methods(checkpoints=[dense, pruned], **common)


@pytest.fixture(scope="module")
def network(models):
    return ("--network", f"{models / 'digits_cnn.py'}:digits_cnn", "--input-shape", "1,8,8", *WORDS)


def refused(pimsim, *words):
    done = pimsim("compare", *words)
    assert (done.code, done.out) == (2, "")
    return done.err.splitlines()[-1]


def test_labels_are_what_the_names_do_not_share(compared):
    assert [outcome.label for outcome in compared.outcomes] == ["dense", "pattern6"]
    assert compared.baseline == "dense"
    methods = [(outcome.method, outcome.entries, outcome.training) for outcome in compared.outcomes]
    assert methods == [("none", None, "trained"), ("pattern", 6, "trained")]


def test_every_number_is_that_of_a_run_of_the_same_checkpoint(compared, common, dense, pruned):
    for outcome, checkpoint in zip(compared.outcomes, (dense, pruned), strict=True):
        found = package.simulate(**common, checkpoint=checkpoint).to_json()
        totals = found["totals"]
        for key in ("energy_pj", "dynamic_energy_pj", "static_energy_pj", "latency_ns", "arrays", "cycles",
                    "rows_mapped", "rows_skipped", "skip_ratio", "conversions", "tiles", "area_mm2"):  # fmt: skip
            assert getattr(outcome, key) == totals[key], key  # to the last bit
        assert outcome.energy_by_component_pj == totals["energy_by_component_pj"]
        assert outcome.top1 == found["check"]["top1_integer"]
        assert (outcome.top1_images, outcome.top1_source) == (60, "measured")
        for ours, layer in zip(outcome.layers, found["layers"], strict=True):
            assert (ours.layer, ours.rows_mapped, ours.rows_skipped, ours.skip_ratio) == (
                layer["name"], layer["rows_mapped"], layer["rows_skipped"], layer["skip_ratio"])  # fmt: skip
            assert ours.energy_by_component_pj == layer["energy_by_component_pj"]


def test_totals_are_the_sums_of_the_layers(compared):
    for entry in compared.to_json()["entries"]:
        for key in ("weights", "weights_pruned", "rows_mapped", "rows_skipped", "arrays", "cycles", "index_bits"):
            assert entry[key] == sum(layer[key] for layer in entry["layers"]), key
        assert entry["skip_ratio"] == entry["rows_skipped"] / entry["rows_mapped"]
        assert entry["compression"] == entry["arrays_dense"] / entry["arrays"]
        layers = math.fsum(energy for la in entry["layers"] for energy in la["energy_by_component_pj"].values())
        assert entry["dynamic_energy_pj"] == pytest.approx(layers, rel=1e-12)


def test_sparsity_is_a_plain_count_of_the_checkpoint(compared, pruned):
    state = load_file(pruned)
    masks = [value for key, value in state.items() if key.endswith("_mask")]
    zeros = sum(int((mask == 0).sum()) for mask in masks)
    weights = sum(v.numel() for k, v in state.items() if v.dim() > 1 and k.endswith(("weight", "weight_orig")))
    outcome = compared.outcomes[1]
    assert zeros > 0
    assert (outcome.weights_pruned, outcome.weights) == (zeros, weights)
    assert outcome.weight_sparsity == zeros / weights < outcome.integer_sparsity


def test_rows_skipped_are_those_of_the_closed_form(compared, pruned):
    keep = json.loads(load_checkpoint(pruned).metadata["pimsim"])["keep"]
    channels = {"conv2": 16, "conv4": 32}
    assert set(keep) == set(channels)
    for layer in compared.outcomes[1].layers:
        window = tuple(int(side) for side in layer.window.split("x"))
        gain = rows_skipped(keep[layer.layer], window) if layer.layer in keep else 0
        assert layer.rows_skipped == channels.get(layer.layer, 0) * gain


def test_the_parts_of_a_gain_add_up_to_the_energy_saved(compared):
    (gain,) = compared.to_json()["gains"]
    dense, pruned = compared.outcomes
    parts = [v for k, v in gain.items() if k.endswith("_saved_pj") and k not in ("dynamic_saved_pj", "static_saved_pj")]
    assert math.fsum(parts) == pytest.approx(dense.dynamic_energy_pj - pruned.dynamic_energy_pj, rel=1e-9)
    assert gain["index_saved_pj"] < 0 < gain["drivers_saved_pj"]
    assert gain["resolution_saved_pj"] == 0
    by = {o.label: o.energy_by_component_pj for o in (dense, pruned)}
    drivers = [by[label]["row_driver"] + by[label]["crossbar"] for label in ("dense", "pattern6")]
    assert gain["drivers_saved_pj"] == pytest.approx(drivers[0] - drivers[1], rel=1e-9)


def test_a_resident_array_saves_no_time_and_the_words_say_so(compared):
    dense, pruned = compared.outcomes
    assert pruned.rows_skipped > 0 and pruned.serial_steps == dense.serial_steps
    assert compared.words[0].startswith(
        f"Skipping rows saves no read step: pattern6 {100 * pruned.skip_ratio:.1f} % of the rows skipped, and still "
        f"{dense.serial_steps:,} steps follow one another as in dense, for all arrays are resident"
    )


def test_fewer_rounds_save_time_and_the_words_say_why(common, dense, pruned):
    small = {"set": {"tile.macro.crossbar.rows": 32}, "pack": "layer", "arrays": 1}
    found = compare_methods(checkpoints=[dense, pruned], check=False, **{**common, "mapping": "im2col", **small})
    whole, kept = found.outcomes
    assert kept.serial_steps < whole.serial_steps and kept.latency_ns < whole.latency_ns
    assert found.words[0].startswith("pattern6 saves steps with ")
    assert "because fewer arrays need fewer rounds in 2 layers" in found.words[0]
    share = 100 * (kept.latency_ns / whole.latency_ns - 1)
    assert found.words[0].endswith(f"Latency: {share:+.1f} %")


def test_operation_units_save_time_and_the_words_say_why(common, dense, pruned):
    unit = {
        "tile.macro.crossbar.active_rows": 16,
        "tile.macro.crossbar.active_columns": 16,
        "tile.macro.adc.columns": 16,
    }
    found = compare_methods(checkpoints=[dense, pruned], **{**common, "set": unit, "skip": "ou"})
    whole, kept = found.outcomes
    assert kept.latency_ns < whole.latency_ns and (kept.mismatches, kept.outputs > 0) == (0, True)
    assert "because an array reads fewer groups of 16 rows in 2 layers" in found.words[0]


def test_a_dynamic_adc_saves_bits_and_the_parts_still_add_up(common, dense, pruned):
    adc = {"set": {"tile.macro.adc.resolution": "dynamic"}}
    found = compare_methods(checkpoints=[dense, pruned], check=False, **{**common, **adc})
    (gain,) = found.to_json()["gains"]
    before, after = (outcome.energy_by_component_pj["adc"] for outcome in found.outcomes)
    assert found.outcomes[0].conversions == found.outcomes[1].conversions
    assert gain["resolution_saved_pj"] == pytest.approx(before - after) and before > after
    assert any(sentence.startswith("Lower ADC resolution saves") for sentence in found.words)


def test_without_a_dense_entry_compression_stays_and_the_words_say_what_is_missing(common, pruned):
    found = compare_methods(checkpoints=[pruned], check=False, **{**common, "pack": "layer"})
    assert found.baseline is None and found.to_json()["gains"] == []
    assert found.outcomes[0].compression >= 1
    (words,) = found.words
    assert words.startswith("There is no dense entry, so that nothing says what pruning saves in energy and time;")
    assert words.endswith("Add the dense checkpoint, or name an entry with --baseline")


def test_masks_made_here_are_those_of_a_training_run_before_its_first_step(common, dense):
    options = {**common, "checkpoint": dense}
    found = compare_methods(methods=["pairs", "n-m:n_of_m=2:4", "pconv"], entries=[8, 4], check=False, **options)
    labels = [outcome.label for outcome in found.outcomes]
    assert labels == ["dense", "pairs8", "pairs4", "n-m:n_of_m=2:4", "pconv"]
    by = {outcome.label: outcome for outcome in found.outcomes}
    # Two pruned layers of 16x16 and 32x32 kernels of nine positions.
    kernels = 16 * 16 + 32 * 32
    assert [by[label].weights_pruned for label in labels[1:]] == [kernels, 5 * kernels, 9 * kernels // 2, 5 * kernels]
    assert (by["pconv"].entries, by["pairs8"].entries, by["n-m:n_of_m=2:4"].entries) == (4, 8, None)
    assert by["n-m:n_of_m=2:4"].rate == "n of m 2:4"
    assert all(outcome.training == "mask only" for outcome in found.outcomes[1:])
    for outcome in (by["pairs8"], by["pairs4"]):
        for layer in outcome.layers:
            side = int(layer.window.split("x")[0])
            gain = {8: 1, 4: 2 * side - 1}[outcome.entries]
            channels = {"conv2": 16, "conv4": 32}.get(layer.layer, 0)
            assert layer.rows_skipped == channels * gain
    assert any(note.startswith("no training: pairs8, pairs4") for note in found.notes)


def test_copies_fill_the_same_arrays_and_are_what_saves_time(common, dense):
    once = compare_methods(checkpoints=[dense], **common).outcomes[0]
    filled = compare_methods(checkpoints=[dense], **common, replication="auto", array_budget=4 * once.arrays).outcomes[
        0
    ]
    assert filled.arrays == sum(layer.replication * (layer.arrays // layer.replication) for layer in filled.layers)
    assert once.arrays < filled.arrays <= 4 * once.arrays
    assert filled.cell_budget == 4 * once.arrays * 128 * 128 < once.cell_budget
    assert {layer.replication for layer in once.layers} == {1} != {layer.replication for layer in filled.layers}
    assert filled.cycles == once.cycles and filled.serial_steps < once.serial_steps


def test_rows_that_a_rewritten_network_leaves_out_count_in_the_same_layout(common, dense, tmp_path):
    out = tmp_path / "kerntrol.safetensors"
    package.prune(common["network"], "digits", out, checkpoint=dense, method="kerntrol-m", threshold=0.25, epochs=0,
                  array="128x128", normalize=((0.305,), (0.376,)), limit=40, show_progress=False)  # fmt: skip
    found = compare_methods(checkpoints=[f"dense={dense}", f"kerntrol={out}"], **common)
    whole, left = found.outcomes
    assert (left.method, left.entries, left.structure) == ("kerntrol-m", None, ("phases",))
    assert "threshold 0.25" in left.rate
    assert (whole.training, left.training) == ("trained", "mask only")
    assert left.rows_mapped == whole.rows_mapped and left.rows_skipped > 0 == left.mismatches
    assert found.words[0].startswith("Skipping rows saves no read step: kerntrol ")


def test_recorded_accuracy_is_that_of_the_card(models, pimsim, network):
    done = pimsim("compare", *network, "--no-check", "--checkpoints", models / "digits_cnn-w4a4.safetensors",
                  models / "digits_cnn-w4a4-pattern6.safetensors", "--json")  # fmt: skip
    assert done.code == 0, done.err
    for entry, name in zip(json.loads(done.out)["entries"], ("", "-pattern6"), strict=True):
        card = (models / f"digits_cnn-w4a4{name}.md").read_text()
        assert f"| top-1, quantized | {100 * entry['top1']:.2f} % of the test images" in card
        assert f" {entry['top1_images']} test images" in card
        assert (entry["top1_source"], entry["outputs"]) == ("recorded", 0)


def test_everything_is_written(compared, tmp_path):
    written = compared.save(tmp_path)
    assert {path.name for path in written} == {
        *(f"comparison{end}" for end in (".txt", ".csv", ".parquet", ".tex", ".json", "-layers.csv")),
        *("comparison-gains.csv", "comparison-gains.tex"),
        *(f"comparison-{n}.{k}" for n in ("skip-ratio", "accuracy", "waterfall") for k in ("pdf", "svg", "png")),
    }
    assert all(path.stat().st_size > 0 for path in written)
    rows = list(csv.DictReader((tmp_path / "comparison.csv").open()))
    table = pyarrow.parquet.read_table(tmp_path / "comparison.parquet").to_pylist()
    for row, stored, outcome in zip(rows, table, compared.outcomes, strict=True):
        assert float(row["energy_pj"]) == stored["energy_pj"] == outcome.energy_pj
        assert int(row["rows_skipped"]) == stored["rows_skipped"] == outcome.rows_skipped
        assert float(row["adc_static_pj"]) == stored["adc_static_pj"] == outcome.energy_by_component_pj["adc_static"]
    assert rows[0]["entries"] == "" and table[0]["entries"] is None
    layers = list(csv.DictReader((tmp_path / "comparison-layers.csv").open()))
    assert sum(int(row["rows_skipped"]) for row in layers) == compared.outcomes[1].rows_skipped
    latex = (tmp_path / "comparison.tex").read_text()
    alignment, heading = re.match(r"\\begin{tabular}{([lr]+)}\n\\toprule\n(.*)", latex).groups()
    assert len(alignment) == heading.count("&") + 1 and "\\midrule" in latex
    assert f"{100 * compared.outcomes[1].skip_ratio:.1f} \\%" in latex


FILE = """\
network: {network}
data: digits
normalize: 0.305/0.376
images: 8
hardware: isaac-like-8b
set: {{tile.macro.crossbar.rows: 64, tile.macro.adc.bits: 7}}
mapping: sdk
skip: row
compare:
  - {{label: whole, checkpoint: {dense}}}
  - {{label: by kernel, checkpoint: {pruned}, mapping: im2col, set: {{tile.macro.crossbar.rows: 32}}}}
  - label: masked
    checkpoint: {dense}
    method: pairs
    entries: 4
"""


@pytest.fixture
def file(tmp_path, models, dense, pruned):
    path = tmp_path / "families.yaml"
    path.write_text(FILE.format(network=f"{models / 'digits_cnn.py'}:digits_cnn", dense=dense, pruned=pruned))
    return path


def test_entries_of_a_file_change_the_common_keys(pimsim, file):
    done = pimsim("compare", file, "--json", "--no-check")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    entries = {entry["label"]: entry for entry in found["entries"]}
    assert (found["name"], found["baseline"]) == ("families", "whole")
    assert [(e["mapping"], e["array"]) for e in entries.values()] == [
        ("sdk", "64x128"), ("im2col", "32x128"), ("sdk", "64x128")]  # fmt: skip
    assert entries["masked"]["weights_pruned"] == 5 * (16 * 16 + 32 * 32)
    # Half the rows: half the cells, on the same number of arrays; the ADC stays that of the common keys.
    assert {entry["adc_bits"] for entry in entries.values()} == {7}
    assert entries["by kernel"]["cell_budget"] * 2 == entries["whole"]["cell_budget"]
    assert any(note.startswith("the entries do not have the same number of cells") for note in found["notes"])
    assert pimsim("compare", file, "--json", "--no-check", "--mapping", "im2col").out.count('"mapping": "im2col"') == 3


def test_a_file_is_known_to_validate(pimsim, file):
    done = pimsim("validate", file)
    assert done.code == 0 and "comparison" in done.out


WRONG_FILES = [
    ("    entries: 4", "    entrys: 4", "families.yaml:15: key 'entrys': unknown key. Did you mean 'entries'?"),
    ("skip: row", "skipp: row", "families.yaml:8: key 'skipp': unknown key. Did you mean 'skip'?"),
    ("images: 8", "images: none", "families.yaml:4: images='none': input should be a valid integer"),
    ("    method: pairs", "    method: pears", "method 'pears': must be a known method. Did you mean 'pairs'?"),
    ("    entries: 4", "    entries: 10", "10 kept entries: a 3x3 kernel keeps 1 to 9."),
    ("    method: pairs\n", "", "families.yaml:14: entries without a method: it belongs to a pruning method."),
    ("label: masked", "label: whole", "families.yaml:12: two entries with the label 'whole'"),
    (
        "    method: pairs",
        "    method: low-rank",
        "families.yaml:14: method 'low-rank' without training: it changes the",
    ),
]


@pytest.mark.parametrize(("line", "instead", "message"), WRONG_FILES)
def test_a_wrong_file_is_refused_with_its_line(pimsim, file, line, instead, message):
    text = file.read_text()
    assert line in text
    file.write_text(text.replace(line, instead, 1))
    assert message in refused(pimsim, file, "--no-check")


WRONG_WORDS = [
    (
        "",
        "nothing to compare: a comparison file, --checkpoints or --methods is needed, one of them. Give --checkpoints "
        "A.safetensors B.safetensors, or --shapes FILE to compare mappers.",
    ),
    ("--checkpoints no.pt", "--checkpoints: checkpoint 'no.pt': there is no such file. Check the path."),
    (
        "--methods pairs",
        "--checkpoint: --methods without a checkpoint: masks are made on the weights of a trained dense network. Give "
        "its file with --checkpoint.",
    ),
    ("--methods pears --checkpoint DENSE", "pruning method 'pears': must be a known method. Did you mean 'pairs'?"),
    ("--methods pairs --entries 8,12 --checkpoint DENSE", "12 kept entries: a 3x3 kernel keeps 1 to 9."),
    (
        "--methods magnitude:0.5 --checkpoint DENSE",
        "--methods: 'magnitude:0.5': an option of a method is KEY=VALUE. Write NAME:KEY=VALUE, as in "
        "magnitude:sparsity=0.5.",
    ),
    (
        "--methods pairs:rows=3 --checkpoint DENSE",
        "option 'rows' with the method 'pairs': the method has no such option.",
    ),
    (
        "--methods pairs --entries many --checkpoint DENSE",
        "--entries: 'many': entries are whole numbers with commas. Write it like 8,6,4.",
    ),
    (
        "--checkpoints DENSE --entries 6",
        "--entries: --entries without --methods: it says what those keep. Leave it out.",
    ),
    (
        "--checkpoints DENSE --checkpoint DENSE",
        "--checkpoint: both --checkpoint and --checkpoints: --checkpoint goes with --methods. Name all files after "
        "--checkpoints.",
    ),
    ("--checkpoints DENSE --baseline dens", "baseline 'dens': no entry has this label."),
    (
        "--checkpoints DENSE --mappings sdk",
        "--mappings without --shapes: it belongs to --shapes. Give --mapping, one for all entries.",
    ),
    (
        "--checkpoints DENSE --shapes x.yaml",
        "--checkpoints with --shapes: it compares networks, and --shapes mappers. Leave --checkpoints out.",
    ),
]


@pytest.mark.parametrize(("words", "message"), WRONG_WORDS)
def test_what_cannot_be_compared_is_refused(pimsim, network, dense, words, message):
    found = refused(pimsim, *network, *(dense if word == "DENSE" else word for word in words.split()))
    assert found.startswith(f"pimsim: {message}")


def test_a_checkpoint_of_another_network_is_refused(pimsim, network, dense, models):
    other = models / "resnet20-cifar10jpeg-w4a4.safetensors"
    found = refused(pimsim, *network, "--no-check", "--checkpoints", dense, other)
    assert f"pimsim: {other}: " in found and "conv2" in found


def test_two_files_of_one_name_need_labels(pimsim, network, dense, tmp_path):
    shutil.copy(dense, tmp_path)
    twice = str(tmp_path / "digits_cnn-w4a4.safetensors")
    assert "--checkpoints: two entries with the label" in refused(pimsim, *network, "--checkpoints", dense, twice)
    done = pimsim("compare", *network, "--no-check", "--checkpoints", f"one={dense}", f"two={twice}", "--json")
    assert [entry["label"] for entry in json.loads(done.out)["entries"]] == ["one", "two"]


def test_commas_repetition_and_globs_name_the_same_checkpoints(pimsim, network, dense, pruned):
    ways = [("--checkpoints", dense, pruned), ("--checkpoints", f"{dense},{pruned}"),
            ("--checkpoints", dense, "--checkpoints", pruned)]  # fmt: skip
    found = [json.loads(pimsim("compare", *network, "--no-check", *way, "--json").out)["entries"] for way in ways]
    assert found[0] == found[1] == found[2]
    assert [entry["label"] for entry in found[0]] == ["dense", "pattern6"]
