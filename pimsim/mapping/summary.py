"""What `pimsim map --json` prints about one layer."""

from __future__ import annotations

from pimsim.mapping.layout import Mapping
from pimsim.mapping.placement import Placement

Value = str | int | float | list[int]


def summary(mapping: Mapping, placement: Placement) -> dict[str, Value]:
    """The layer's mapping as plain values, in the order of the published contract.

    ``window`` is [height, width] in input pixels. ``cycles``, tiles and ``cell_utilisation`` count the arrays
    that are left after skipping; ``rows_mapped`` counts the dense layout. With groups one after another,
    cycles = windows x tiles over all groups.
    """
    return {
        "mapping": mapping.method,
        "cycles": placement.cycles,
        "windows": mapping.windows,
        "window": list(mapping.window),
        "ic_tile": mapping.ic_tile,
        "oc_tile": mapping.oc_tile,
        "row_tiles": placement.row_tiles,
        "column_tiles": placement.column_tiles,
        "rows_mapped": placement.rows_mapped,
        "rows_skipped": placement.rows_skipped,
        "cell_utilisation": placement.cell_utilisation,
    }
