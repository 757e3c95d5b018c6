"""A network given as ``file.py:callable``, as a callable, or as the module itself."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from pimsim.errors import NetworkError, nearest

ModuleSource = str | Path | nn.Module | Callable[[], nn.Module]


def load_module(source: ModuleSource) -> nn.Module:
    """The network that ``source`` names or builds, in evaluation mode.

    Args:
        source: ``"path/file.py:callable"``, a callable without required arguments, or an ``nn.Module``.

    Raises:
        NetworkError: no such file or callable, the file or callable raises, or the result is no ``nn.Module``.
    """
    if isinstance(source, nn.Module):
        return source.eval()
    if callable(source):
        return _build(source, getattr(source, "__name__", repr(source)))
    path, name = _split(str(source))
    return _build(_find_callable(path, name), str(source))


def _split(source: str) -> tuple[Path, str]:
    file, colon, name = source.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise NetworkError(
            f"network '{source}'",
            "a network is named as FILE.py:CALLABLE",
            None,
            "For example models/resnet20.py:resnet20",
        )
    path = Path(file)
    if not path.is_file():
        raise NetworkError(f"network '{source}'", "there is no such file", file, "Check the path")
    return path, name


def _find_callable(path: Path, name: str) -> Callable[[], Any]:
    content = _run_file(path)
    found = content.get(name)
    if callable(found):
        return found  # type: ignore[no-any-return]
    module_name = content["__name__"]
    own = [key for key, value in content.items() if callable(value) and getattr(value, "__module__", "") == module_name]
    if found is not None:
        rule = f"it is a value of type {type(found).__name__}, not a callable"
        raise NetworkError(f"callable '{name}'", rule, str(path), f"Known: {', '.join(own)}")
    raise NetworkError(f"callable '{name}'", "the file has no such callable", str(path), nearest(name, own))


def _run_file(path: Path) -> dict[str, Any]:
    """The names that the file defines; its siblings can be imported while it runs."""
    # A private name, so that a user's resnet20.py never replaces an installed module.
    name = f"_pimsim_network_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # the suffix .py was checked
    module = importlib.util.module_from_spec(spec)
    with _importable(path.resolve().parent, name, module):
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise NetworkError(
                f"network file raised {type(error).__name__}: {error}", "the file must import cleanly", str(path)
            ) from error
    return vars(module)


@contextmanager
def _importable(folder: Path, name: str, module: Any) -> Iterator[None]:
    # torch.export and dataclasses look the module up by name, so it stays registered.
    sys.modules[name] = module
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _build(build: Callable[[], Any], label: str) -> nn.Module:
    _check_no_required_arguments(build, label)
    try:
        module = build()
    except Exception as error:
        raise NetworkError(
            f"network '{label}' raised {type(error).__name__}: {error}", "the callable must build the network"
        ) from error
    if not isinstance(module, nn.Module):
        raise NetworkError(
            f"network '{label}' returned a value of type {type(module).__name__}", "it must return a torch.nn.Module"
        )
    return module.eval()


def _check_no_required_arguments(build: Callable[[], Any], label: str) -> None:
    try:
        parameters = inspect.signature(build).parameters.values()
    except (TypeError, ValueError):
        return
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in variable]
    if required:
        raise NetworkError(
            f"network '{label}' needs the arguments {', '.join(required)}",
            "the callable is called without arguments",
            None,
            "Give them defaults, or write a function that passes them",
        )
