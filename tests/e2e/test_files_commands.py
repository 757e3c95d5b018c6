"""``pimsim validate``, ``presets`` and the outermost options."""

from __future__ import annotations

import json

import pytest

import pimsim as package
from pimsim.hardware.loading import load_chip


def test_validate_says_what_each_file_is(pimsim, repository):
    shapes, workload = repository / "workloads/shapes/vgg8.yaml", repository / "workloads/digits.yaml"
    preset = repository / "pimsim/hardware/presets/isaac-like.yaml"
    done = pimsim("validate", shapes, workload, preset, "--json")
    assert done.code == 0, done.err
    assert [entry["kind"] for entry in json.loads(done.out)["files"]] == ["shapes", "workload", "hardware"]


def test_every_file_that_comes_with_pimsim_is_valid(pimsim, repository):
    files = [*repository.glob("workloads/shapes/*.yaml"), *repository.glob("pimsim/hardware/presets/*.yaml")]
    done = pimsim("validate", *files)
    assert done.code == 0, done.err


def test_validate_reports_every_file_and_ends_with_2(pimsim, tmp_path):
    wrong, missing = tmp_path / "chip.yaml", tmp_path / "nowhere.yaml"
    wrong.write_text("extends: isaac-like\ncolor: red\n")
    done = pimsim("validate", wrong, missing)
    assert done.code == 2
    assert f"{wrong}:2" in done.err
    assert f"'{missing}': there is no such file" in done.err


def test_validate_looks_into_the_hardware_of_a_workload(pimsim, tmp_path):
    (tmp_path / "w.yaml").write_text("shapes: s.yaml\nhardware: isac\n")
    (tmp_path / "s.yaml").write_text("layers: [{k: 1, ic: 1, oc: 1, in: 1}]\n")
    done = pimsim("validate", tmp_path / "w.yaml")
    assert done.code == 2
    assert "'isac': there is no such preset or file" in done.err


def test_presets_are_listed_with_a_description(pimsim):
    listed = json.loads(pimsim("presets", "--json").out)["presets"]
    assert {"isaac-like", "isaac-like-8b"} <= set(listed)
    assert all(description for description in listed.values())
    assert list(package.presets()) == list(listed)


def test_a_printed_preset_is_a_hardware_file_of_its_own(pimsim, tmp_path):
    (tmp_path / "mine.yaml").write_text(pimsim("presets", "isaac-like").out)
    assert load_chip(tmp_path / "mine.yaml") == load_chip("isaac-like")


def test_unknown_preset(pimsim):
    done = pimsim("presets", "isaac-lik")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("pimsim: preset 'isaac-lik': unknown preset. Did you mean 'isaac-like'?")


def test_version(pimsim):
    assert pimsim("--version").out == f"pimsim {package.__version__}\n"


@pytest.mark.parametrize("command", ["run", "map", "plot", "trace", "validate", "presets", "prune"])
def test_help_has_examples_that_name_the_command(pimsim, command):
    done = pimsim(command, "--help")
    assert done.code == 0
    assert f"pimsim {command} " in done.out.partition("Examples:")[2]


def test_the_workload_page_lists_every_key(repository):
    from pimsim.workload import Workload

    page = (repository / "docs/workloads.md").read_text()
    assert [key for key in Workload.model_fields if f"`{key}`" not in page] == []


def test_the_readme_names_every_command_and_only_real_flags(repository, pimsim):
    import re

    readme = (repository / "README.md").read_text()
    listed = pimsim("--help").out.partition("Commands:")[2].partition("Examples:")[0]
    commands = re.findall(r"^  (\w+)  ", listed, re.MULTILINE)
    assert len(commands) >= 7
    assert [name for name in commands if f"pimsim {name}" not in readme] == []
    help_text = "".join(pimsim(name, "--help").out for name in commands)
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", readme))
    assert [flag for flag in sorted(flags) if flag not in help_text] == []


def test_the_files_that_the_readme_links_to_are_there(repository):
    import re

    readme = (repository / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)]+)\)", readme) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (repository / link).exists()] == []
