"""What `pimsim map --json` prints about one layer."""

from __future__ import annotations

from typing import Any

from pimsim.mapping.layout import Mapping
from pimsim.mapping.placement import Placement
from pimsim.mapping.stages import StagedMapping, StagedPlacement


def summary(mapping: Mapping | StagedMapping, placement: Placement | StagedPlacement) -> dict[str, Any]:
    """The layer's mapping as plain values, in the order of the published contract.

    ``window`` is [height, width] in input pixels. ``cycles``, tiles and ``cell_utilisation`` count the arrays
    that are left after skipping, ``arrays`` over all groups; ``rows_mapped`` and ``dense_arrays`` count the dense
    layout. With groups one after another, cycles = windows x tiles over all groups. On arrays with operation units,
    ``unit_steps`` are the units that are read for one window and input step, and ``dense_unit_steps`` those of the
    dense layout. ``options`` are the mapper's. A mapping in stages adds ``stages``, a summary of each with its name;
    window and tiles are then those of the first stage, the other counts of all.
    """
    values = {
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
        "skip_ratio": placement.skip_ratio,
        "cell_utilisation": placement.cell_utilisation,
        "arrays": len(placement.tiles),
        "dense_arrays": len(mapping.tiles),
        "options": dict(mapping.options),
    }
    if mapping.array.unit is not None:
        values |= {"unit_steps": placement.unit_steps, "dense_unit_steps": placement.dense_unit_steps}
    if isinstance(placement, StagedPlacement):
        values["stages"] = [{"name": p.mapping.geometry.name, **summary(p.mapping, p)} for p in placement.stages]
    return values
