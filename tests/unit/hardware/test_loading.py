"""Hardware files: extending, overriding, scaling, and every error with its exact text and line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimsim.errors import ConfigError
from pimsim.hardware import presets
from pimsim.hardware.loading import HardwareError, load_chip, validate_file

PRESETS = "Known: isaac-like, isaac-like-8b, ou-9x8, pim-prune, prap, sre-16x16"
ADC_KEYS = (
    "area, static_power, full_duty, bits, latency, interval, energy, columns, arrays, scaling, overflow, "
    "reference_bits, resolution"
)
TOP_KEYS = (
    "extends, name, technology, weight_bits, activation_bits, tiles, tile, router, off_chip, index, timing, "
    "leakage_share, notes"
)
ADC = "extends: isaac-like\ntile:\n  macro:\n    adc:\n"
CROSSBAR = "extends: isaac-like\ntile:\n  macro:\n    crossbar:\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, so that messages name files plainly."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def message(text: str) -> str:
    """The message that a file of this text is refused with."""
    Path("c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_chip("c.yaml")
    return str(caught.value)


#: What a file says, and the whole message.
FILE_ERRORS = {
    "empty": ("", "'c.yaml': the file is empty. Start from a preset with 'extends: isaac-like'."),
    "comment only": ("# x\n", "'c.yaml': the file is empty. Start from a preset with 'extends: isaac-like'."),
    "list": ("- a\n", "c.yaml:1: 'c.yaml': a hardware file is a mapping of keys."),
    "not YAML": (
        "a: 1\nb: [1,\n",
        "c.yaml:3: this text: it is not plain YAML (while parsing a flow node, "
        "expected the node content, but found '<stream end>').",
    ),
    "code": (
        "extends: isaac-like\nname: !!python/object:os.system x\n",
        "c.yaml:2: this text: it is not plain YAML "
        "(could not determine a constructor for the tag 'tag:yaml.org,2002:python/object:os.system').",
    ),
    "key that is a list": (
        "extends: isaac-like\n? [a]\n: 3\n",
        "c.yaml:2: this key: a key is plain text.",
    ),
    "circular alias": (
        "extends: isaac-like\na: &x {b: *x}\n",
        "'c.yaml': its mappings or lists are nested too deeply.",
    ),
    "unknown parent": (
        "name: x\nextends: isac-like\n",
        f"c.yaml:2: 'isac-like': there is no such preset or file. Did you mean 'isaac-like'? {PRESETS}.",
    ),
    "missing parent": (
        "extends: base.yaml\n",
        f"c.yaml:1: 'base.yaml': there is no such file. Check the path, or use a preset. {PRESETS}.",
    ),
    "parent that is a number": (
        "extends: 3\n",
        "c.yaml:1: 'extends': the name of a preset or file is needed. "
        "Write 'extends: isaac-like' or 'extends: other.yaml'.",
    ),
    "itself as parent": (
        "extends: c.yaml\n",
        "c.yaml:1: 'extends: c.yaml': files extend each other in a circle (c.yaml -> c.yaml).",
    ),
    "unknown key": (
        ADC + "      bit: 6\n",
        f"c.yaml:5 (tile.macro.adc.bit): 'bit': there is no such key here. Did you mean 'bits'? Known: {ADC_KEYS}.",
    ),
    "unknown top key": (
        "extends: isaac-like\ntechnologie: 32 nm\n",
        "c.yaml:2 (technologie): 'technologie': there is no such key here. "
        f"Did you mean 'technology'? Known: {TOP_KEYS}.",
    ),
    "duplicate key": (
        ADC + "      bits: 6\n      bits: 7\n",
        "c.yaml:6 (tile.macro.adc.bits): 'bits': this key was given before, at line 5. Keep one of the two.",
    ),
    "key without value": (
        ADC + "      bits:\n",
        "c.yaml:5 (tile.macro.adc.bits): 'bits': this key has no value. Give a value or leave the key out.",
    ),
    "value for a mapping": (
        ADC.replace("adc:\n", "adc: 5\n"),
        f"c.yaml:4 (tile.macro.adc): '5': a mapping of keys is needed. Known: {ADC_KEYS}.",
    ),
    "mapping for a value": (
        ADC + "      energy: {pJ: 3}\n",
        "c.yaml:5 (tile.macro.adc.energy): a mapping: a quantity of energy is needed. "
        "Write it plainly or as '{value: 1.5625 pJ, source: ...}'.",
    ),
    "bare number": (
        ADC + "      energy: 1.5\n",
        "c.yaml:5 (tile.macro.adc.energy): 1.5: a quantity of energy needs its unit. "
        "Write it with a unit of energy, for example '1.5625 pJ'.",
    ),
    "bare number with source": (
        ADC + "      energy: {value: 1.5, source: me}\n",
        "c.yaml:5 (tile.macro.adc.energy): 1.5: a quantity of energy needs its unit. "
        "Write it with a unit of energy, for example '1.5625 pJ'.",
    ),
    "bare text": (
        ADC + "      energy: '1.5'\n",
        "c.yaml:5 (tile.macro.adc.energy): '1.5': a unit is needed. "
        "Write it with a unit of energy, for example '1.5625 pJ'.",
    ),
    "wrong dimension": (
        ADC + "      latency: 2 pJ\n",
        "c.yaml:5 (tile.macro.adc.latency): '2 pJ': this is not a quantity of time. "
        "Write it with a unit of time, for example '0.78125 ns'.",
    ),
    "unknown unit": (
        "extends: isaac-like\ntile: {buffer: {size: 64 KB}}\n",
        "c.yaml:2 (tile.buffer.size): '64 KB': this is not a number with a unit that pimsim knows. "
        "Write it with a unit of information, for example '64 KiB'.",
    ),
    "part of a byte": (
        "extends: isaac-like\ntile: {buffer: {size: 63 bit}}\n",
        "c.yaml:2 (tile.buffer.size): '63 bit': a whole number of bytes is needed.",
    ),
    "negative": (
        ADC + "      area: -3 um^2\n",
        "c.yaml:5 (tile.macro.adc.area): '-3 um^2': area must be zero or more here.",
    ),
    "zero time": (
        ADC + "      interval: 0 ns\n",
        "c.yaml:5 (tile.macro.adc.interval): '0 ns': time must be more than zero here.",
    ),
    "less than a femtosecond": (
        ADC + "      interval: 0.1 fs\n",
        "c.yaml:5 (tile.macro.adc.interval): '0.1 fs': time must be more than zero here.",
    ),
    "zero count": (
        "extends: isaac-like\ntile: {macro: {shift_add: {count: 0}}}\n",
        "c.yaml:2 (tile.macro.shift_add.count): '0': a whole number of 1 or more is needed.",
    ),
    "zero columns of an ADC": (
        ADC + "      columns: 0\n",
        "c.yaml:5 (tile.macro.adc.columns): '0': a whole number of 1 or more is needed.",
    ),
    "broken count": (
        ADC + "      bits: 7.5\n",
        "c.yaml:5 (tile.macro.adc.bits): '7.5': a whole number of 1 or more is needed.",
    ),
    "truth for a count": (
        CROSSBAR + "      rows: true\n",
        "c.yaml:5 (tile.macro.crossbar.rows): 'True': a whole number of 1 or more is needed.",
    ),
    "number for a name": ("extends: isaac-like\nname: 3\n", "c.yaml:2 (name): '3': text is needed."),
    "text for notes": (
        "extends: isaac-like\nnotes: hello\n",
        "c.yaml:2 (notes): 'hello': a list of texts is needed. Start each with '- '.",
    ),
    "share of one": (
        "extends: isaac-like\nleakage_share: 1\n",
        "c.yaml:2 (leakage_share): '1': a share from 0 up to, and not including, 1 is needed. Write 0.1 for 10 %.",
    ),
    "unknown encoding": (
        CROSSBAR + "      encoding: ofset\n",
        "c.yaml:5 (tile.macro.crossbar.encoding): 'ofset': this name is not known. "
        "Did you mean 'offset'? Known: offset, offset-inverted, differential, twos-complement, polarised.",
    ),
    "unknown scaling": (
        ADC + "      scaling: issac\n",
        "c.yaml:5 (tile.macro.adc.scaling): 'issac': this name is not known. "
        "Did you mean 'isaac'? Known: isaac, saberi, accelergy.",
    ),
    "unknown overflow": (
        ADC + "      overflow: clip\n",
        "c.yaml:5 (tile.macro.adc.overflow): 'clip': this name is not known. Known: saturate, rescale.",
    ),
    "unknown discipline": (
        "extends: isaac-like\ntiming: {discipline: pipeline}\n",
        "c.yaml:2 (timing.discipline): 'pipeline': this name is not known. "
        "Did you mean 'pipelined'? Known: pipelined, multiplexed, serial, serial-sum.",
    ),
    "unknown index format": (
        "extends: isaac-like\nindex: {format: bitmaps}\n",
        "c.yaml:2 (index.format): 'bitmaps': this name is not known. "
        "Did you mean 'bitmap'? Known: bitmap, list, delta4, delta5.",
    ),
    "neither bits nor lossless": (
        ADC + "      bits: losless\n",
        "c.yaml:5 (tile.macro.adc.bits): 'losless': a number of bits, or 'lossless', is needed.",
    ),
    "neither columns nor all": (
        ADC + "      columns: every\n",
        "c.yaml:5 (tile.macro.adc.columns): 'every': a number of columns, or 'all', is needed.",
    ),
    "unknown resolution": (
        ADC + "      resolution: dynamical\n",
        "c.yaml:5 (tile.macro.adc.resolution): 'dynamical': this name is not known. "
        "Did you mean 'dynamic'? Known: fixed, static, dynamic.",
    ),
    "early stop and rescaling": (
        ADC + "      overflow: rescale\n      resolution: static\n",
        "c.yaml:6 (tile.macro.adc.resolution): 'static': a converter that stops early counts in units of one and "
        "cannot rescale. Use overflow 'saturate', or resolution 'fixed'.",
    ),
    "fetch of no bytes": (
        "extends: isaac-like\nindex: {fetch: unit}\n",
        "c.yaml:2 (index.fetch): 'unit': an index that is fetched for every unit needs the bytes of a fetch. "
        "Add 'fetch_bytes: 1', or use fetch 'image'.",
    ),
    "fetch of a held index": (
        "extends: isaac-like\nindex: {fetch_bytes: 2}\n",
        "c.yaml:2 (index.fetch_bytes): 2 bytes: an index that is held for the whole image is not fetched while arrays "
        "are read. Leave fetch_bytes out, or use fetch 'unit-row' or 'unit'.",
    ),
    "unknown fetch": (
        "extends: isaac-like\nindex: {fetch: row}\n",
        "c.yaml:2 (index.fetch): 'row': this name is not known. Did you mean 'unit-row'? Known: image, unit-row, unit.",
    ),
    "unknown read energy": (
        CROSSBAR + "      read_energy: data\n",
        "c.yaml:5 (tile.macro.crossbar.read_energy): 'data': this name is not known. Known: fixed, data-dependent.",
    ),
    "ADC shared by too many columns": (
        ADC + "      columns: 256\n",
        "c.yaml:5 (tile.macro.adc.columns): 256 columns: "
        "an ADC cannot be shared by more columns than the array has (128). Use 128 or fewer.",
    ),
    "ADC shared by too many arrays": (
        ADC + "      arrays: 9\n",
        "c.yaml:5 (tile.macro.adc.arrays): 9 arrays: "
        "an ADC cannot be shared by more arrays than the macro has (8). Use 8 or fewer.",
    ),
    "operation unit larger than the array": (
        CROSSBAR + "      active_columns: 129\n",
        "c.yaml:5 (tile.macro.crossbar.active_columns): 129 active columns: "
        "an operation unit cannot drive more columns than the array has (128). Use 128 or fewer.",
    ),
    "cell larger than a weight": (
        "extends: isaac-like\nweight_bits: 2\ntile: {macro: {crossbar: {cell_bits: 4}}}\n",
        "c.yaml:3 (tile.macro.crossbar.cell_bits): 4 cell bits: "
        "a cell cannot hold more bits than a weight has (2). Use 2 or fewer.",
    ),
    "sign beside no bit": (
        "extends: isaac-like\nweight_bits: 1\ntile: {macro: {crossbar: {cell_bits: 1, encoding: polarised}}}\n",
        "c.yaml:2 (weight_bits): 1 weight bits: a weight needs a bit beside its sign, which encoding 'polarised' keeps "
        "outside the cells. Use 2 or more, or another encoding.",
    ),
    "driver larger than an activation": (
        "extends: isaac-like\nactivation_bits: 1\ntile: {macro: {row_driver: {bits: 2}}}\n",
        "c.yaml:3 (tile.macro.row_driver.bits): 2 driver bits: "
        "a driver cannot carry more bits than an activation has (1). Use 1 or fewer.",
    ),
    "weight wider than the array": (
        "extends: isaac-like\ntile: {macro: {adc: {columns: 4}, crossbar: {columns: 4}}}\n",
        "c.yaml:2 (tile.macro.crossbar.columns): 4 columns: one 16-bit weight takes 8 columns and the array has 4. "
        "Use more columns, more cell bits or fewer weight bits.",
    ),
    "resistances exchanged": (
        CROSSBAR + "      device:\n        off_resistance: 1 kohm\n",
        "c.yaml:6 (tile.macro.crossbar.device.off_resistance): 1000 ohm off, 600000 ohm on: "
        "the off resistance must be above the on resistance. Exchange the two.",
    ),
    "read longer than the read": (
        CROSSBAR + "      device:\n        read_time: 101 ns\n",
        "c.yaml:6 (tile.macro.crossbar.device.read_time): 101 ns of read time: "
        "a cell cannot conduct for longer than the array is read. Use 100 ns or less, or leave read_time out.",
    ),
    "port wider than the buffer": (
        "extends: isaac-like\ntile: {buffer: {size: 16 B}}\n",
        "isaac-like.yaml:PORT (tile.buffer.port_bits): 256 bits: a port cannot be wider than the buffer (128 bits). "
        "Use a narrower port or a larger buffer.",
    ),
    "router for more tiles than there are": (
        "extends: isaac-like\ntiles: 3\nrouter: {tiles: 4}\n",
        "c.yaml:3 (router.tiles): 4 tiles: a router cannot be shared by more tiles than the chip has (3). "
        "Use 3 or fewer.",
    ),
    "law that does not reach the bits": (
        ADC + "      bits: 3\n      scaling: accelergy\n",
        "c.yaml:5 (tile.macro.adc.bits): 3 ADC bits: the accelergy regression starts at 4 bits. "
        "Use 4 bits or more, or scaling 'isaac'.",
    ),
}


@pytest.mark.parametrize("case", FILE_ERRORS)
def test_message_of_each_kind_of_mistake(case: str, folder: Path) -> None:
    text, expected = FILE_ERRORS[case]
    lines = presets.FOLDER.joinpath("isaac-like.yaml").read_text(encoding="utf-8").splitlines()
    port = next(number for number, line in enumerate(lines, 1) if line.strip().startswith("port_bits"))
    found = message(text)
    assert found == expected.replace("PORT", str(port))


def preset_text(*without: str) -> str:
    """The text of isaac-like without the lines that hold any of these texts."""
    lines = presets.FOLDER.joinpath("isaac-like.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not any(part in line for part in without))


def line_of(text: str, part: str) -> int:
    """The line of a text that holds a part."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


#: The line left out of a complete file, the mapping that then lacks a key, and the message after its place.
MISSING = [
    ("interval: {value: 0.78125 ns", "    adc:", "(tile.macro.adc): 'interval'", "Add 'interval: 0.78125 ns'"),
    ("scaling: {value: isaac", "    adc:", "(tile.macro.adc): 'scaling'", "Add 'scaling: isaac'"),
    ("flit_bits", "router:", "(router): 'flit_bits'", "Add 'flit_bits: 8'"),
    ("technology", "", "'technology'", "Add 'technology: 32 nm'"),
]


@pytest.mark.parametrize(("part", "parent", "given", "fix"), MISSING)
def test_missing_key_is_placed_at_its_mapping(part: str, parent: str, given: str, fix: str, folder: Path) -> None:
    text = preset_text(part)
    colon = ": " if given.startswith("'") else " "
    line = line_of(text, parent) if parent else 1
    assert message(text) == f"c.yaml:{line}{colon}{given}: this key is missing. {fix}."


def test_missing_key_of_an_extended_mapping_is_placed_in_the_child(folder: Path) -> None:
    """The child's file is the one to edit; a mapping that only the parent has is placed in the parent."""
    text = preset_text("interval: {value: 0.78125 ns", "flit_bits")
    Path("base.yaml").write_text(text, encoding="utf-8")
    found = message("extends: base.yaml\ntile:\n  macro:\n    adc: {bits: 7}\n")
    assert found == (
        "'c.yaml': 2 problems were found:\n"
        f"  base.yaml:{line_of(text, 'router:')} (router): 'flit_bits': this key is missing. Add 'flit_bits: 8'.\n"
        "  c.yaml:4 (tile.macro.adc): 'interval': this key is missing. Add 'interval: 0.78125 ns'."
    )


def test_leakage_needs_a_share_or_a_static_power(folder: Path) -> None:
    text = preset_text("leakage_share")
    found = message(text)
    assert found.startswith("'c.yaml': 11 problems were found:\n")
    assert (
        f"\n  c.yaml:{line_of(text, '    shift_add:')} (tile.macro.shift_add): 'shift_add': "
        "without a static power the chip needs a leakage_share. "
        "Add 'leakage_share: 0.1' to the file, or a static_power.\n"
    ) in found


def test_component_needs_a_static_power_or_a_rate(folder: Path) -> None:
    text = preset_text("full_duty: {value: 9.6 GHz", "value: 1.04 mW")
    assert message(text) == (
        f"c.yaml:{line_of(text, 'router:')} (router): 'router': a static power is needed, "
        "or the full_duty rate at which leakage_share is taken. Add 'static_power: 0 mW' if it does not leak."
    )


def test_data_dependent_reads_need_a_device(folder: Path) -> None:
    text = preset_text("device:", "read_voltage", "on_resistance", "off_resistance")
    text = text.replace("read_energy: fixed", "read_energy: data-dependent")
    line = line_of(text, "read_energy: data")
    assert message(text) == (
        f"c.yaml:{line} (tile.macro.crossbar.read_energy): 'data-dependent': "
        "data-dependent read energy needs a device. "
        "Add 'device:' with read_voltage, on_resistance and off_resistance, or use 'fixed'."
    )


def test_all_problems_are_reported_at_once_by_line(folder: Path) -> None:
    Path("c.yaml").write_text(ADC + "      interval: 0 ns\n      bit: 3\n      bits: 0\ntiles:\n", encoding="utf-8")
    with pytest.raises(HardwareError) as caught:
        validate_file("c.yaml")
    assert str(caught.value) == (
        "'c.yaml': 4 problems were found:\n"
        "  c.yaml:5 (tile.macro.adc.interval): '0 ns': time must be more than zero here.\n"
        f"  c.yaml:6 (tile.macro.adc.bit): 'bit': there is no such key here. Did you mean 'bits'? Known: {ADC_KEYS}.\n"
        "  c.yaml:7 (tile.macro.adc.bits): '0': a whole number of 1 or more is needed.\n"
        "  c.yaml:8 (tiles): 'tiles': this key has no value. Give a value or leave the key out."
    )
    assert len(caught.value.problems) == 4


def test_file_that_cannot_be_read(folder: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^'isac-like': there is no such preset or file\. Did you mean 'isaac-like'\?"
    ):
        load_chip("isac-like")
    with pytest.raises(
        ConfigError, match=r"^'x\.yaml': there is no such file\. Check the path, or use a preset\. Known: "
    ):
        load_chip(Path("x.yaml"))
    Path("b.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(ConfigError, match=r"^'b\.yaml': the file cannot be read \(it is not UTF-8 text\)\.$"):
        load_chip("b.yaml")


#: Overrides of isaac-like and the message: the dotted path is the place.
OVERRIDE_ERRORS = [
    ({"tile.macro.adc.bits": 0}, "tile.macro.adc.bits: '0': a whole number of 1 or more is needed."),
    (
        {"tile.macro.adc.bits": None},
        "tile.macro.adc.bits: 'bits': this key has no value. Give a value or leave the key out.",
    ),
    (
        {"tile.adc.bits": 6},
        "tile.adc: 'adc': there is no such key here. Did you mean 'macro'? "
        "Known: macros, macro, buffer, bus, shift_add, activation, max_pool, output_register.",
    ),
    ({"tile.macro.adc": 6}, f"tile.macro.adc: '6': a mapping of keys is needed. Known: {ADC_KEYS}."),
    (
        {"tile.macro.adc.energy": "2"},
        "tile.macro.adc.energy: 2: a quantity of energy needs its unit. "
        "Write it with a unit of energy, for example '1.5625 pJ'.",
    ),
    ({"tile..bits": 6}, "'tile..bits': this is not a dotted path of keys. Write it as in 'tile.macro.adc.bits'."),
    (
        {"extends": "isaac-like-8b"},
        "'extends': what a file extends cannot be overridden. Name that preset or file instead of this one.",
    ),
    (
        {"tile.macro.adc.columns": 256},
        "tile.macro.adc.columns: 256 columns: an ADC cannot be shared by more columns than the array has (128). "
        "Use 128 or fewer.",
    ),
]


@pytest.mark.parametrize(("overrides", "expected"), OVERRIDE_ERRORS)
def test_message_of_a_wrong_override(overrides: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_chip("isaac-like", overrides)
    assert str(caught.value) == expected


def test_overrides_from_python_and_from_the_command_line_agree() -> None:
    python = load_chip("isaac-like", {"tile.macro.adc.bits": 6, "tile.macro.crossbar.read_latency": "50 ns"})
    text = load_chip("isaac-like", {"tile.macro.adc.bits": "6", "tile.macro.crossbar.read_latency": "50 ns"})
    assert python == text
    assert (python.macro.adc.bits, python.crossbar.read_latency_fs) == (6, 50_000_000)
    assert python.crossbar.device is not None
    assert python.crossbar.device.read_time_fs == 50_000_000


def test_file_extends_file_extends_preset_key_by_key(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "base.yaml").write_text("extends: isaac-like\nname: base\ntiles: 20\n", encoding="utf-8")
    (folder / "chip.yaml").write_text(
        "extends: sub/base.yaml\nname: mine\ntile: {macro: {arrays: {value: 4, source: me}}}\n", encoding="utf-8"
    )
    chip, base = load_chip("chip.yaml"), load_chip("isaac-like")
    assert (chip.name, chip.tiles, chip.macro.arrays, chip.arrays) == ("mine", 20, 4, 20 * 12 * 4)
    assert chip.macro.adc == base.macro.adc
    sources = dict(chip.sources)
    assert sources["tile.macro.arrays"] == "me"
    assert sources["tile.macros"] == dict(base.sources)["tile.macros"]
    assert "tiles" not in sources  # overwritten without a source


def test_two_files_that_extend_each_other(folder: Path) -> None:
    Path("a.yaml").write_text("extends: b.yaml\n", encoding="utf-8")
    Path("b.yaml").write_text("name: b\nextends: a.yaml\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_chip("a.yaml")
    assert str(caught.value) == (
        "b.yaml:2: 'extends: a.yaml': files extend each other in a circle (a.yaml -> b.yaml -> a.yaml)."
    )


def test_adc_law_rescales_energy_static_power_and_area() -> None:
    """Ratios of `hardware.md` 2.2 anchored at the file's own 8-bit converter."""
    eight = load_chip("isaac-like").macro.adc
    for law, energy, area in (("isaac", (64 / 7) / (256 / 9), 627 / 1200), ("saberi", 1.20 / 1.67, 627 / 1200)):
        chip = load_chip("isaac-like", {"tile.macro.adc.bits": 6, "tile.macro.adc.scaling": law})
        adc = chip.macro.adc
        assert adc.energy_j == pytest.approx(eight.energy_j * energy, rel=1e-9, abs=0)
        assert adc.static_power_w == pytest.approx(eight.static_power_w * energy, rel=1e-9, abs=0)
        assert adc.area_m2 == pytest.approx(eight.area_m2 * area, rel=1e-9, abs=0)
        assert (adc.bits, adc.reference_bits, adc.scaling) == (6, 8, law)
        assert chip.notes[-1] == f"ADC rescaled from 8 to 6 bits by law '{law}'"
    assert load_chip("isaac-like", {"tile.macro.adc.bits": 3}).notes[-1] == (
        "ADC law 'isaac' is extrapolated to 3 bits (published for 4 to 10)"
    )


def test_operation_unit_is_the_array_unless_given() -> None:
    array = load_chip("isaac-like", {"tile.macro.crossbar.rows": 256}).crossbar
    assert (array.active_rows, array.active_columns) == (256, 128)
    unit = load_chip("isaac-like", {"tile.macro.crossbar.active_rows": 9, "tile.macro.crossbar.active_columns": 8})
    assert (unit.crossbar.active_rows, unit.crossbar.active_columns) == (9, 8)


def test_every_number_of_a_preset_has_its_source() -> None:
    for preset in presets.presets():
        text = (presets.FOLDER / f"{preset.name}.yaml").read_text(encoding="utf-8")
        plain = [line for line in text.splitlines() if any(c.isdigit() for c in line.partition(":")[2])]
        values = [line for line in plain if not line.lstrip().startswith(("#", "-", "name:", "extends:"))]
        assert values
        assert all("source:" in line for line in values), preset.name


def test_presets_are_listed_with_a_line_each() -> None:
    listed = presets.presets()
    assert [preset.name for preset in listed] == PRESETS.removeprefix("Known: ").split(", ")
    assert all(load_chip(preset.name).name == preset.name for preset in listed)
    assert listed[1].description.startswith("ISAAC-CE with 8 b weights and activations")


def test_listing_and_loading_import_nothing_heavy() -> None:
    code = (
        "import sys; from pimsim.hardware.presets import presets; presets(); "
        "assert not {'pint', 'pydantic', 'numpy'} & set(sys.modules); "
        "from pimsim.hardware.loading import load_chip; load_chip('isaac-like-8b'); "
        "assert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@settings(max_examples=10, deadline=None)
@given(st.floats(0, 0.99), st.integers(4, 10))
def test_full_duty_power_of_an_adc_does_not_depend_on_the_share(share: float, bits: int) -> None:
    adc = load_chip("isaac-like", {"leakage_share": share, "tile.macro.adc.bits": bits}).macro.adc
    whole = load_chip("isaac-like", {"leakage_share": 0, "tile.macro.adc.bits": bits}).macro.adc
    assert whole.static_power_w == 0
    power = adc.energy_j * adc.full_duty_hz + adc.static_power_w
    assert power == pytest.approx(whole.energy_j * whole.full_duty_hz, rel=1e-9)
    assert adc.static_power_w == pytest.approx(share * power, rel=1e-9, abs=1e-18)
