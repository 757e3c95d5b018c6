"""What `pimsim.simulate` returns: tables, totals, the check, and the way to disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimsim.records.check import Check
from pimsim.records.manifest import Provenance
from pimsim.records.tables import PlainTables, Tables, frames, plain_tables, to_json_object
from pimsim.simulation.results import SimulationResult
from pimsim.workload import Workload

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Result:
    """One simulated and checked network.

    Attributes:
        workload: what was asked for.
        simulation: every number as records in SI units and femtoseconds.
        check: the comparison with the reference; None for shape tables or when it was left out.
        notes: what the numbers rest on.
        provenance: what makes the run repeatable.
        is_lossless: whether the ADC can lose nothing, so that any difference is a defect.
    """

    workload: Workload
    simulation: SimulationResult
    check: Check | None
    notes: tuple[str, ...]
    provenance: Provenance
    is_lossless: bool

    @cached_property
    def tables(self) -> Tables:
        """Every table, as documented in `pimsim.records.schema`."""
        return frames(self.plain)

    @cached_property
    def plain(self) -> PlainTables:
        """Every table as lists by column, which takes no pandas."""
        return plain_tables(self.simulation)

    @property
    def layers(self) -> pd.DataFrame:
        """One row a layer: cycles, windows, rows, conversions, latency in ns, energy in pJ."""
        return self.tables.layers

    @property
    def components(self) -> pd.DataFrame:
        """One row a component: energy in pJ, area in mm2, utilisation."""
        return self.tables.components

    @property
    def energy(self) -> pd.DataFrame:
        """Dynamic energy in pJ by layer and component."""
        return self.tables.energy

    @property
    def is_wrong(self) -> bool:
        """Whether outputs differ although the ADC loses nothing."""
        return self.is_lossless and self.check is not None and self.check.mismatches > 0

    def to_json(self) -> dict[str, Any]:
        """The object of ``pimsim run --json``: ``layers``, ``totals``, ``check``, ``notes``."""
        return to_json_object(self.annotated, self.check)

    @cached_property
    def annotated(self) -> SimulationResult:
        """The simulation with all notes of the run."""
        return replace(self.simulation, notes=self.notes)

    def save(self, folder: str | Path) -> Path:
        """Write the result folder: manifest, tables, figures and trace; it appears when it is complete.

        Raises:
            ResultError: the folder cannot be written, or holds something else.
        """
        from pimsim.records.store import write_result

        return write_result(Path(folder), self.annotated, self.check, self.provenance)

    def plot(self, name: str = "latency") -> Any:
        """One figure for the screen: ``energy``, ``latency`` or ``utilisation``. Raises `ResultError`."""
        from pimsim.api.drawing import draw

        return draw(self.plain, name)

    def text(self, folder: Path | None = None) -> str:
        """The summary for a terminal: layers, totals, energy by component, what it rests on, the check.

        With the result folder also where figures and trace are.
        """
        from pimsim.records.summary import summary_text

        return summary_text(self.to_json(), self.check, folder)

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        from pimsim.records.summary import summary_html

        return summary_html(self.to_json())
