"""How many channels of a layer keep how many entries so that exactly some rows are skipped: an integer program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from pimsim.errors import PruningError


@dataclass(frozen=True)
class ChannelProgram:
    """Channels x_e that keep e entries, most entries kept in all, rows skipped exactly.

    maximise sum e x_e   subject to   sum x_e = channels,  sum gain_e x_e = target,  0 <= x_e <= bound

    The channels that keep all entries have no bound and gain nothing.

    Attributes:
        channels: of the layer.
        target: rows to skip.
        gains: entries kept to rows that such a channel skips; without the dense kernel.
        dense: entries of the whole kernel.
        bound: most channels of one family.

    Reference:
        `pruning-sdk.md` 8, step 3: the published genetic algorithm maximises another, stateful fitness over the same
        constraints.
    """

    channels: int
    target: int
    gains: Mapping[int, int]
    dense: int
    bound: int

    def solve(self) -> Mapping[int, int]:
        """Entries to channels, the dense ones included; families that stay empty are left out.

        Raises:
            PruningError: no choice of channels skips exactly so many rows.
        """
        families = sorted(self.gains)
        entries, gains = np.array([*families, self.dense]), np.array([*(self.gains[e] for e in families), 0])
        most = np.array([min(self.bound, self.channels)] * len(families) + [self.channels])
        found = milp(
            -entries.astype(float),
            constraints=[
                LinearConstraint(np.ones((1, len(entries))), self.channels, self.channels),
                LinearConstraint(gains[None].astype(float), self.target, self.target),
            ],
            bounds=Bounds(0, most),
            integrality=np.ones(len(entries), dtype=np.int64),
        )
        if not found.success:
            rule = f"no choice among {self.channels} channels with up to {self.bound} of a kind frees exactly that many"
            raise PruningError(f"{self.target} rows to skip", rule, fix="Raise --concentration, or ask for fewer rows")
        counts = np.rint(found.x).astype(int)
        return MappingProxyType({int(e): int(n) for e, n in zip(entries, counts, strict=True) if n})


def kept_entries(counts: Mapping[int, int]) -> int:
    """Entries that a choice of channels keeps in all: what the program maximises."""
    return sum(entries * channels for entries, channels in counts.items())
