"""Several methods side by side: the tables, what they say in words, and the files they are written to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimsim.errors import ResultError, nearest
from pimsim.records import outcome_text as text
from pimsim.records.gain_words import gain_sentences
from pimsim.records.gains import GAIN_COLUMNS, gains
from pimsim.records.looks import FORMATS
from pimsim.records.outcomes import COLUMNS, LAYER_COLUMNS, Outcome, row_of
from pimsim.records.schema import COUNT, Column

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class MethodComparison:
    """Entries side by side; ``str`` is the printed form, ``to_json`` that for machines, ``save`` writes all.

    Attributes:
        name: of the comparison and of its files.
        outcomes: one for each entry, in the order given.
        baseline: label of the dense entry that gains are measured against; None where there is none.
        notes: what holds for all entries, or was wrong with the comparison.
    """

    name: str
    outcomes: tuple[Outcome, ...]
    baseline: str | None
    notes: tuple[str, ...] = ()

    @property
    def dense(self) -> Outcome | None:
        """The entry that gains are measured against."""
        return next((outcome for outcome in self.outcomes if outcome.label == self.baseline), None)

    @property
    def is_wrong(self) -> bool:
        """Whether outputs differ somewhere although the ADC loses nothing."""
        return any(outcome.is_lossless and outcome.mismatches for outcome in self.outcomes)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Where the gain goes, in sentences that follow from the numbers."""
        return gain_sentences(self.outcomes, self.dense)

    def to_json(self) -> dict[str, Any]:
        """Plain values: entries with their layers, gains, words and notes."""
        found = () if self.dense is None else gains(self.outcomes, self.dense)
        return {
            "name": self.name,
            "baseline": self.baseline,
            "entries": [outcome.to_json() for outcome in self.outcomes],
            "gains": [row_of(one, GAIN_COLUMNS) for one in found],
            "words": list(self.words),
            "notes": list(self.notes),
        }

    def frame(self) -> pd.DataFrame:
        """One row an entry: `COLUMNS`, then the energy of every component as ``NAME_pj`` and ``NAME_static_pj``."""
        parts = list(dict.fromkeys(name for o in self.outcomes for name in o.energy_by_component_pj))
        table = _frame(self.outcomes, COLUMNS)
        for name in parts:
            table[f"{name}_pj"] = [outcome.energy_by_component_pj.get(name, 0.0) for outcome in self.outcomes]
        return table

    def layer_frame(self) -> pd.DataFrame:
        """One row a layer of an entry: ``label``, then `LAYER_COLUMNS`."""
        pairs = [(outcome.label, layer) for outcome in self.outcomes for layer in outcome.layers]
        table = _frame([layer for _, layer in pairs], LAYER_COLUMNS)
        table.insert(0, "label", [label for label, _ in pairs])
        return table

    def gain_frame(self) -> pd.DataFrame:
        """One row an entry but the dense one: `GAIN_COLUMNS`; empty without a dense entry."""
        return _frame(() if self.dense is None else gains(self.outcomes, self.dense), GAIN_COLUMNS)

    def to_latex(self) -> str:
        """One table of the entries for a paper, as LaTeX with the rules of the package booktabs."""
        return _latex(text.headings(text.PAPER), text.cells(text.PAPER, self.outcomes), left=1)

    def gains_to_latex(self) -> str:
        """The gain table likewise; empty without a dense entry."""
        if self.dense is None:
            return ""
        return _latex(text.gain_headings(self.dense), text.gain_cells(self.outcomes, self.dense), left=1)

    def __str__(self) -> str:
        parts = [text.lines(table, self.outcomes) for table in (text.PRUNED, text.COST)]
        parts.append(text.component_lines(self.outcomes))
        if self.dense is not None:
            parts.append(text.gain_lines(self.outcomes, self.dense))
        parts += [[f"* {sentence}." for sentence in self.words], [f"note: {note}" for note in self.notes]]
        return "\n\n".join("\n".join(lines) for lines in parts if lines)

    def save(self, folder: str | Path, formats: Sequence[str] = FORMATS) -> tuple[Path, ...]:
        """Write text, CSV, Parquet, LaTeX, JSON and the figures into a folder; the files.

        ``NAME.txt``, ``.csv``, ``.parquet``, ``.tex``, ``.json`` hold the entries; ``NAME-layers.csv`` the layers;
        ``NAME-gains.csv`` and ``.tex`` the gains; ``NAME-skip-ratio``, ``-accuracy`` and ``-waterfall`` are figures.
        What needs a dense entry, or accuracies, is left out without.

        Raises:
            ResultError: a folder that cannot be written, or an unknown format.
        """
        for kind in formats:
            if kind not in FORMATS:
                raise ResultError(f"'{kind}'", "this is not a figure format", None, nearest(kind, FORMATS))
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return (*self._write(folder), *self._draw(folder, formats))
        except OSError as error:
            fix = "Give --out a folder that can be written"
            raise ResultError(f"'{folder}'", f"it cannot be written: {error.strerror}", None, fix) from None

    def _write(self, folder: Path) -> list[Path]:
        table, json_text = self.frame(), json.dumps(self.to_json(), indent=1, allow_nan=False)
        writers: dict[str, Callable[[Path], Any]] = {
            ".txt": lambda path: path.write_text(f"{self}\n", encoding="utf-8"),
            ".csv": lambda path: table.to_csv(path, index=False),
            ".parquet": lambda path: table.to_parquet(path, index=False),
            ".tex": lambda path: path.write_text(self.to_latex(), encoding="utf-8"),
            ".json": lambda path: path.write_text(f"{json_text}\n", encoding="utf-8"),
            "-layers.csv": lambda path: self.layer_frame().to_csv(path, index=False),
        }
        if self.dense is not None:
            writers["-gains.csv"] = lambda path: self.gain_frame().to_csv(path, index=False)
            writers["-gains.tex"] = lambda path: path.write_text(self.gains_to_latex(), encoding="utf-8")
        for ending, write in writers.items():
            write(folder / f"{self.name}{ending}")
        return [folder / f"{self.name}{ending}" for ending in writers]

    def _draw(self, folder: Path, formats: Sequence[str]) -> list[Path]:
        from pimsim.records.method_figures import draw_methods

        return draw_methods(self.outcomes, self.dense, folder, self.name, formats)


def _frame(records: Iterable[object], columns: Sequence[Column]) -> pd.DataFrame:
    """Records as a table with the documented columns, order and types; what is not known is missing."""
    import pandas as pd

    rows = [row_of(record, columns) for record in records]
    kinds = {column.name: "Int64" if column.dtype == COUNT else column.dtype for column in columns}
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=kind) for name, kind in kinds.items()})


def _latex(headings: Sequence[str], cells: Sequence[Sequence[str]], left: int) -> str:
    """Cells as a LaTeX tabular with booktabs rules, every text escaped; ``left`` columns start flush left."""
    import pandas as pd

    table = pd.DataFrame([list(row) for row in cells], columns=list(headings))
    styled = table.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    latex: str = styled.to_latex(hrules=True, column_format="l" * left + "r" * (len(headings) - left))
    return latex
