"""Compiled kernels: lazy, calling each other, and surviving every state that a disk cache can be in."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
from types import ModuleType

import numba
import numpy as np
import pytest

from pimsim.compiling import GuardedFile, Kernel, kernel, why_not
from pimsim.errors import SimulationError

TABLE = """
FACTOR = 3
"""
INNER = """
from pimsim.compiling import kernel
from {table} import FACTOR

@kernel
def times(x):
    return x * FACTOR
"""
OUTER = """
from pimsim.compiling import kernel
from {inner} import times

@kernel
def total(values):
    result = 0
    for i in range(values.size):
        result += times(values[i])
    return result
"""
VALUES = np.arange(10)


class Package:
    """Three modules on the path: a constant, a kernel that uses it, and a kernel that calls that one."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.cache = folder, folder / "cache"
        self.texts = {"table": TABLE, "inner": INNER}
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(self.cache))
        self.monkeypatch = monkeypatch

    def edit(self, module, old, new):
        assert old in self.texts[module]
        self.texts[module] = self.texts[module].replace(old, new)

    def total(self, prefix="kernels_"):
        """The kernel ``total`` as a new process would import it: nothing compiled in memory yet."""
        if prefix.endswith("."):
            self.monkeypatch.setitem(sys.modules, prefix[:-1], ModuleType(prefix[:-1]))
        names = {"table": f"{prefix}table", "inner": f"{prefix}inner"}
        for module, text in (*self.texts.items(), ("outer", OUTER)):
            path = self.folder / f"kernels_{module}.py"
            path.write_text(text.format(**names), encoding="utf-8")
            spec = importlib.util.spec_from_file_location(f"{prefix}{module}", path)
            loaded = importlib.util.module_from_spec(spec)
            self.monkeypatch.setitem(sys.modules, f"{prefix}{module}", loaded)
            exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), loaded.__dict__)
        return loaded.total

    def files(self, suffix):
        return sorted(self.cache.rglob(f"*total*{suffix}"))


@pytest.fixture
def package(tmp_path, monkeypatch):
    return Package(tmp_path, monkeypatch)


def hits(compiled):
    return sum(compiled.compiled.stats.cache_hits.values())


def test_numba_works_here():
    assert why_not() is None


def test_a_kernel_calls_a_kernel_of_another_module(package):
    total = package.total()
    assert total(VALUES) == 135
    assert total.python(VALUES) == 135
    assert total(VALUES.astype(float)) == 135.0


def test_a_kernel_calls_itself():
    @kernel
    def fibonacci(n):
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(10) == 55


def test_options_reach_numba():
    @kernel(error_model="numpy")
    def divide(a, b):
        return a / b

    assert divide(1.0, 0.0) == np.inf
    assert divide.compiled.targetoptions["nogil"] is True


def test_a_new_process_reads_the_cache(package):
    assert package.total()(VALUES) == 135
    again = package.total()
    assert again(VALUES) == 135
    assert hits(again) == 1


def damage_nothing_left(content):
    return b""


def damage_truncated(content):
    return content[: len(content) // 2]


def damage_garbage(content):
    return np.random.default_rng(0).bytes(len(content))


def damage_another_pickle(content):
    return b"\x80\x04K\x01."


def damage_object_code(content):
    at = content.find(b"\x7fELF")
    if at < 0:
        return content[:-20] + bytes(20)
    return content[:at] + bytes(400) + content[at + 400 :]


@pytest.mark.parametrize(
    "damage", [damage_nothing_left, damage_truncated, damage_garbage, damage_another_pickle, damage_object_code]
)
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_damaged_cache_is_rebuilt_silently(package, suffix, damage, recwarn, capfd):
    assert package.total()(VALUES) == 135
    (path,) = package.files(suffix)
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    rebuilt = package.total()
    assert rebuilt(VALUES) == 135
    assert hits(rebuilt) == 0
    later = package.total()
    assert later(VALUES) == 135
    assert hits(later) == 1
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_a_missing_data_file_is_rebuilt(package):
    package.total()(VALUES)
    package.files(".nbc")[0].unlink()
    assert package.total()(VALUES) == 135


@pytest.mark.parametrize(
    ("module", "old", "new", "value"),
    [("inner", "x * FACTOR", "x * FACTOR + 1", 145), ("table", "FACTOR = 3", "FACTOR = 4", 180)],
)
def test_an_edit_of_what_a_kernel_uses_is_seen(package, module, old, new, value):
    """Numba by itself looks only at the file of the kernel that is called."""
    assert package.total()(VALUES) == 135
    package.edit(module, old, new)
    assert package.total()(VALUES) == value


LINES = """
from numba.extending import intrinsic

@intrinsic
def three(typing):
    from numba.core import types

    def generate(context, builder, signature, arguments):
        return context.get_constant(types.int64, 3)

    return types.int64(), generate
"""


def test_an_edit_of_an_intrinsic_is_seen(package):
    """What is not a kernel, but of the same package and called by one, counts with the whole of its module."""
    package.texts = {"table": LINES, "inner": INNER.replace("FACTOR", "three").replace("x * three", "x * three()")}
    # One package: the name up to the first dot is the same.
    total = package.total("kernels.")
    assert total(VALUES) == 135
    package.edit("table", "int64, 3)", "int64, 4)")
    assert package.total("kernels.")(VALUES) == 180


class Shelf:
    """As numba's file, in memory, with the crossing of two processes: one data file whatever the key."""

    def __init__(self):
        self.data = None

    def load(self, key):
        return self.data

    def save(self, key, data):
        self.data = data

    def flush(self):
        self.data = None

    def _dump(self, what):
        return pickle.dumps(what)


def test_code_of_another_key_or_stamp_is_not_given_back():
    shelf = Shelf()
    GuardedFile(shelf, "now").save("key", "code")
    assert GuardedFile(shelf, "now").load("key") == "code"
    assert GuardedFile(shelf, "now").load("other") is None
    assert GuardedFile(shelf, "then").load("key") is None
    GuardedFile(shelf, "now").flush()
    assert GuardedFile(shelf, "now").load("key") is None


def test_a_full_disk_keeps_nothing_and_says_nothing():
    class Full(Shelf):
        def save(self, key, data):
            raise OSError(28, "No space left on device")

    guarded = GuardedFile(Full(), "now")
    guarded.save("key", "code")
    assert guarded.load("key") is None


SCRIPT = """
import sys
from pimsim.compiling import kernel, why_not
from kernels import twice
assert "numba" not in sys.modules, "decorating imported numba"
print(why_not())
try:
    print(twice(21))
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""
TWICE = """
from pimsim.compiling import kernel

@kernel
def twice(x):
    return 2 * x
"""


def new_process(folder, **environment):
    (folder / "kernels.py").write_text(TWICE, encoding="utf-8")
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-B", "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_decorating_imports_nothing_and_no_writable_folder_is_no_harm(tmp_path):
    """No folder that numba would use can be made, for root neither: each has a file in its way."""
    (tmp_path / "__pycache__").write_text("in the way", encoding="utf-8")
    places = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null/cache", "NUMBA_CACHE_DIR": "/dev/null/numba"}
    assert new_process(tmp_path, **places) == ["None", "42"]


def test_jit_switched_off_is_a_reason(tmp_path):
    reason, error = new_process(tmp_path, NUMBA_DISABLE_JIT="1")
    assert reason == "NUMBA_DISABLE_JIT is set"
    assert error == (
        "SimulationError: compiled kernel 'twice': NUMBA_DISABLE_JIT is set."
        " Install a working numba, or use what needs none."
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise ImportError('Numba needs NumPy 1.0 or less\\nGot 2.4')", "ImportError: Numba needs NumPy 1.0 or less"),
        ("raise OSError('cannot load libllvmlite.so')", "OSError: cannot load libllvmlite.so"),
        ("pass", "AttributeError: module 'numba' has no attribute 'config'"),
    ],
)
def test_a_broken_numba_is_a_reason_in_one_line(tmp_path, text, reason):
    (tmp_path / "numba.py").write_text(text + "\n", encoding="utf-8")
    said, error = new_process(tmp_path)
    assert said == f"numba does not work here ({reason})"
    assert error.startswith(f"SimulationError: compiled kernel 'twice': {said}.")


def test_calling_without_numba_raises_here_too(monkeypatch):
    monkeypatch.setattr("pimsim.compiling.why_not", lambda: "a reason")
    with pytest.raises(SimulationError, match="compiled kernel '_never': a reason"):
        Kernel(_never, {})()


def _never():
    return 0
