"""What a run was made from: versions, configuration, seeds, digests, command, date."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FORMAT = "pimsim result"
#: Of the tables; those of another number are not read.
SCHEMA = 2
PACKAGES = ("pimsim", "numpy", "pandas", "simpy", "torch")


@dataclass(frozen=True)
class Provenance:
    """What makes a run repeatable.

    Attributes:
        config: the whole configuration as plain JSON values, defaults filled in.
        seeds: every seed by what it is for.
        files: files read, by role (``checkpoint``, ``hardware``, ``network``); their digests are kept.
        command: the command line, or the Python call.
        host_seconds: how long the run took on this computer; None when not measured.
    """

    config: Mapping[str, Any]
    seeds: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    command: tuple[str, ...] = field(default_factory=lambda: tuple(sys.argv))
    host_seconds: float | None = None


def manifest(provenance: Provenance, files: Mapping[str, int]) -> dict[str, Any]:
    """The manifest of a finished result, as plain JSON values.

    Args:
        provenance: what the run was made from.
        files: size in bytes of every file of the result, by relative path.
    """
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(provenance.command),
        "config": dict(provenance.config),
        "seeds": dict(provenance.seeds),
        "inputs": {role: {"path": str(path), "sha256": digest(path)} for role, path in provenance.files.items()},
        "versions": versions(),
        "host": {"platform": platform.platform(), "seconds": provenance.host_seconds},
        "files": dict(files),
    }


def digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python, pimsim and the packages that numbers depend on; torch only when this run used it."""
    found = {"python": platform.python_version()}
    return found | {name: _version(name) for name in PACKAGES if name != "torch" or "torch" in sys.modules}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
