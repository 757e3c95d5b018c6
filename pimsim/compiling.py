"""Kernels compiled by numba: lazily, without the interpreter lock, cached on disk by a cache that cannot break a run.

Decorating imports nothing: numba comes in with the first call. A kernel may call other kernels, of its own module
or imported by name; numba sees each as its own compiled function::

    @kernel
    def half(x: Any) -> Any: ...

    @kernel(fastmath=True)
    def whole(x: Any) -> Any:
        return half(x) + half(x)

A kernel is an ordinary function of arrays and numbers, plus ``.python``, which stays uncompiled (a witness for
tests, and for a debugger). Where numba does not work a call raises `SimulationError`; ask `why_not` first, and
tell the user what stands in.

The cache is numba's (``__pycache__`` beside the module, ``NUMBA_CACHE_DIR``, or the user's cache folder; none
where all are read-only). Numba itself fails on a truncated index, aborts the process on damaged object code, and
does not see edits of other modules. Here each file carries a digest of its content, its key, and everything
the kernel was compiled from; what does not agree is compiled again, silently.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from functools import cache, cached_property, update_wrapper
from importlib import import_module
from numbers import Number
from pathlib import Path
from types import FunctionType
from typing import Any, overload

from pimsim.errors import SimulationError


class Kernel:
    """A function that numba compiles at its first call; see the module's own text.

    Attributes:
        python: the function as written.
        options: what ``numba.njit`` is given, over ``nogil=True``; and ``inner=True`` for one that only other kernels
            call, which compiles faster.
    """

    def __init__(self, python: FunctionType, options: dict[str, Any]) -> None:
        update_wrapper(self, python)
        self.python, self.options = python, options

    def __call__(self, *arguments: Any) -> Any:
        """What the compiled function returns.

        Raises:
            SimulationError: numba does not work here.
        """
        return self.compiled(*arguments)

    def prepare(self, *arguments: Any) -> None:
        """Compile for arguments of these types, or read the cache, without running.

        Raises:
            SimulationError: numba does not work here.
        """
        dispatcher = self.compiled
        numba: Any = import_module("numba")
        dispatcher.compile(tuple(numba.typeof(argument) for argument in arguments))

    def __repr__(self) -> str:
        return f"<kernel {self.python.__module__}.{self.python.__qualname__}>"

    @cached_property
    def compiled(self) -> Any:
        """The numba dispatcher; it compiles, or reads the cache, once for each set of argument types.

        Raises:
            SimulationError: numba does not work here.
        """
        reason = why_not()
        if reason is not None:
            name = f"compiled kernel '{self.python.__name__}'"
            raise SimulationError(name, reason, fix="Install a working numba, or use what needs none")
        return _dispatcher(self)

    @property
    def _numba_type_(self) -> Any:
        """How a kernel that calls this one sees it: numba's own protocol for foreign values."""
        from numba.core import types

        return types.Dispatcher(self.compiled)


@overload
def kernel(function: Callable[..., Any], /) -> Kernel: ...
@overload
def kernel(**options: Any) -> Callable[[Callable[..., Any]], Kernel]: ...
def kernel(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """A `Kernel` of a function, or a decorator that makes one with options of ``numba.njit``."""

    def decorate(python: Any) -> Kernel:
        return Kernel(python, options)

    return decorate if function is None else decorate(function)


def interruptible(entry: Kernel, *arguments: Any) -> None:
    """Run a kernel for what it does to its arguments; Ctrl-C is answered at once, though compiled code cannot see it.

    It runs in a thread of its own, which is left behind on an interrupt: it ends with the process, and its
    arguments must not be used any more.

    Raises:
        SimulationError: numba does not work here.
    """
    entry.prepare(*arguments)  # here, for a thread must not be left behind inside the compiler
    if threading.current_thread() is not threading.main_thread():
        entry(*arguments)
        return
    worker = threading.Thread(target=entry, args=arguments, daemon=True)
    worker.start()
    worker.join()


@cache
def why_not() -> str | None:
    """None where numba compiles and runs, else the reason in one line. Imports numba; asked once a process."""
    try:
        numba: Any = import_module("numba")
        if numba.config.DISABLE_JIT:
            return "NUMBA_DISABLE_JIT is set"
        _dispatcher(kernel(_probe))(1)
    # A broken numba or llvmlite fails in any way it likes: ImportError, OSError, SystemError, AttributeError.
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        return f"numba does not work here ({type(error).__name__}: {first})"
    return None


def _dispatcher(entry: Kernel) -> Any:
    """The numba dispatcher of a kernel, with the guarded cache."""
    import numba

    options = {"nogil": True, **entry.options}
    if options.pop("inner", False):
        options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    dispatcher = numba.njit(**options)(entry.python)
    with suppress(RuntimeError):  # numba: no folder that can be written; works without a cache
        dispatcher.enable_caching()
        dispatcher._cache._cache_file = GuardedFile(dispatcher._cache._cache_file, stamp(entry))
    return dispatcher


def _probe(number: int) -> int:
    return number + 1


def stamp(entry: Kernel) -> str:
    """A digest of all that a kernel is compiled from: options, sources and global constants, its callees' too."""
    digest = hashlib.sha256()
    for part in sorted(set(_parts(entry, set()))):
        digest.update(part.encode())
    return digest.hexdigest()


def _parts(entry: Kernel, seen: set[int]) -> Iterator[str]:
    """The texts that a kernel's code depends on, following calls by global name."""
    if id(entry) in seen:
        return
    seen.add(id(entry))
    yield f"{entry!r} {sorted(entry.options.items())!r} {entry.python.__code__.co_code.hex()}"
    yield _source(entry.python.__code__.co_filename)
    for name in entry.python.__code__.co_names:
        value = entry.python.__globals__.get(name)
        if isinstance(value, Kernel):
            yield from _parts(value, seen)
        elif isinstance(value, (Number, str, tuple)):
            yield f"{name} = {value!r}"
        elif callable(value) and _package(value) == _package(entry.python):
            yield _source(str(sys.modules[value.__module__].__file__))


def _source(file: str) -> str:
    """The text of a module; nothing for code that was typed in."""
    return Path(file).read_text(encoding="utf-8") if Path(file).exists() else ""


def _package(function: Any) -> str:
    return str(getattr(function, "__module__", "")).partition(".")[0]


class GuardedFile:
    """Stands in for the index and data files of numba's cache: never fails, and never gives back what was not put in.

    Args:
        file: numba's own ``IndexDataCacheFile``.
        stamp: what the code was compiled from; other stamps are not found.
    """

    def __init__(self, file: Any, stamp: str) -> None:
        self._file, self._stamp = file, stamp

    def load(self, key: Hashable) -> Any:
        """The compiled code of a key, or None where there is none to trust."""
        # Unpickling a damaged file raises almost anything. Two processes may also have crossed their files:
        # numba names data files by number, so the key is looked at again.
        with suppress(Exception):
            digest, payload = self._file.load(key)
            if hashlib.sha256(payload).digest() == digest:
                stamp, stored, code = pickle.loads(payload)
                return code if (stamp, stored) == (self._stamp, key) else None
        return None

    def save(self, key: Hashable, code: Any) -> None:
        """Keep the compiled code of a key; a damaged index is begun anew, a full or read-only disk keeps nothing."""
        payload = self._file._dump((self._stamp, key, code))
        sealed = (hashlib.sha256(payload).digest(), payload)
        try:
            self._file.save(key, sealed)
        except Exception:  # the index: see `load`
            with suppress(OSError):
                self._file.flush()
                self._file.save(key, sealed)

    def flush(self) -> None:
        """Forget every key."""
        self._file.flush()
