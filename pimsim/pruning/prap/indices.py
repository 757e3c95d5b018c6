"""Bytes of the index that each mode stores and reads (`pruning-blocks.md` 3.6)."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from pimsim.pruning.prap.groups import OU_ROWS
from pimsim.pruning.prap.modes import prap_mode


@dataclass(frozen=True)
class IndexCost:
    """Index of the crossbars of one processing element.

    Attributes:
        bytes_per_row: read for each row of operation units.
        bytes_per_unit: read for each operation unit.
        stored_bytes: kept in the index buffer.
    """

    bytes_per_row: int = 0
    bytes_per_unit: int = 0
    stored_bytes: int = 0

    def __add__(self, other: IndexCost) -> IndexCost:
        return IndexCost(
            self.bytes_per_row + other.bytes_per_row,
            self.bytes_per_unit + other.bytes_per_unit,
            self.stored_bytes + other.stored_bytes,
        )

    def read_bytes(self, unit_rows: int, units: int) -> int:
        """Bytes read while that many rows of operation units, and operation units, are activated."""
        return self.bytes_per_row * unit_rows + self.bytes_per_unit * units


@dataclass(frozen=True)
class _Rule:
    """Bytes of one part of a mode; storage in bytes for each row of units or for each unit."""

    per_row: int = 0
    per_unit: int = 0
    stored_per_row: int = 0
    stored_per_unit: int = 0
    per_crossbar: bool = True


_RULES: MappingProxyType[str, _Rule] = MappingProxyType(
    {
        # As in the authors' code, the index of whole channels is stored once for all crossbars.
        "structure": _Rule(per_row=1, stored_per_row=8, per_crossbar=False),
        "orc": _Rule(per_unit=16, stored_per_unit=8),
        "shape": _Rule(per_row=5, stored_per_row=40),
        "identical": _Rule(per_unit=1, stored_per_unit=1),
        "similar": _Rule(per_unit=2, stored_per_unit=2),
    }
)


def index_cost(mode: str, rows: int, columns: int, crossbars: int = 1) -> IndexCost:
    """The index of a mode on crossbars of ``rows`` x ``columns`` cells in use, in operation units of 8 x 8.

    A mode of two parts reads and stores both. Identical reuse takes one byte (the source) and similar reuse two (source
    and shift) for each unit: [INF], in the authors' code the sizes read are swapped against their comments and
    the storage.

    Raises:
        PruningError: an unknown mode.

    Reference:
        `pruning-blocks.md` 3.6.
    """
    unit_rows, unit_columns = -(-rows // OU_ROWS), -(-columns // OU_ROWS)
    total = IndexCost()
    for part in prap_mode(mode).parts:
        rule = _RULES[part]
        stored = unit_rows * (rule.stored_per_row + rule.stored_per_unit * unit_columns)
        total += IndexCost(rule.per_row, rule.per_unit, stored * (crossbars if rule.per_crossbar else 1))
    return total
