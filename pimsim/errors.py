"""One root exception: what was given, the rule, where, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PimsimError(Exception):
    """A problem with what the user gave; the command line prints it and exits with code 2.

    Args:
        given: what was given, in the user's own words or values.
        rule: the rule that it breaks.
        where: ``file:line`` or a dotted path, when there is one.
        fix: what to do next, an imperative sentence without a full stop.
    """

    def __init__(self, given: str, rule: str, where: str | None = None, fix: str | None = None) -> None:
        self.given, self.rule, self.where, self.fix = given, rule, where, fix
        place = f"{where}: " if where else ""
        todo = f" {fix}." if fix else ""
        super().__init__(f"{place}{given}: {rule}.{todo}")


class ConfigError(PimsimError):
    """A hardware, workload or shape file that cannot be used."""


class CheckpointError(PimsimError):
    """A checkpoint that cannot be read, or does not belong to the network."""


class NetworkError(PimsimError):
    """A network that cannot be imported or run."""


class QuantizationError(PimsimError):
    """Bits, scales or weights that cannot be quantized."""


class DataError(PimsimError):
    """A data set that cannot be read."""


class PruningError(PimsimError):
    """A pruning method or option that cannot be applied."""


class MappingError(PimsimError):
    """A layer that cannot be mapped onto the array as asked."""


class SimulationError(PimsimError):
    """A plan that cannot be built or played."""


class ResultError(PimsimError):
    """A result folder that cannot be written or read."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The valid name nearest to a wrong one, as a sentence for ``fix``; all names when none is near.

    Example:
        >>> nearest("isac-like", ["isaac-like", "isaac-like-8b"])
        "Did you mean 'isaac-like'? Known: isaac-like, isaac-like-8b"
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    listed = "Known: " + ", ".join(names)
    return f"Did you mean '{close[0]}'? {listed}" if close else listed
