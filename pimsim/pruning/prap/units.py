"""Operation units by the authors' own formula: the witness of what the simulator counts (`pruning-blocks.md` 3.6)."""

from __future__ import annotations

import math

from pimsim.pruning.prap.groups import OU_ROWS


def ou_rows(rows: int, keep: float = 1.0) -> int:
    """Rows of operation units of the busiest crossbar, ceil(floor(rows / 8) keep)."""
    return math.ceil(round(rows // OU_ROWS * keep, 9))


def read_columns(columns: int, keep: float = 1.0) -> int:
    """Cell columns that are read in it, ceil(columns keep)."""
    return math.ceil(round(columns * keep, 9))


def busiest_conversions(
    rows: int, columns: int, keep_rows: float = 1.0, keep_columns: float = 1.0, input_bits: int = 8
) -> float:
    """Conversions for one vector, one after another: input bits x OU rows x (columns / 8) x 8.

    Args:
        rows: rows of the busiest crossbar.
        columns: cell columns in use.
        keep_rows: share of the rows that pruning leaves.
        keep_columns: share of the patterns that is not reused.
        input_bits: one-bit input steps.
    """
    units = read_columns(columns, keep_columns) / OU_ROWS
    return input_bits * ou_rows(rows, keep_rows) * units * OU_ROWS
