"""The summary of a run as plain text for the terminal, and as a small HTML table for notebooks."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pimsim.records.check import Check

ENERGY_UNITS = ((1e12, "J"), (1e9, "mJ"), (1e6, "uJ"), (1e3, "nJ"), (1.0, "pJ"))
TIME_UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns"))
HEADINGS = (
    *("layer", "window", "windows", "arrays", "rows skipped", "cycles"),
    *("conversions", "latency", "energy", "cells"),
)
LATENCIES = (
    ("first output", "first_output_ns", "first window of the last layer written"),
    ("last output", "latency_ns", "its last window written: the latency of one image"),
    ("interval", "interval_ns", "steady-state time between two images"),
    ("makespan", "makespan_ns", "the last of the {images:,} images written"),
)


def summary_text(summary: dict[str, Any], check: Check | None = None, folder: Path | None = None) -> str:
    """Everything a run found, as lines of at most about 100 characters.

    Args:
        summary: the object of `pimsim.records.tables.to_json_object`, or one read back.
        check: the comparison with the reference; None leaves its line to ``summary``.
        folder: the result folder, to say where figures and traces are.
    """
    parts = [
        _layer_lines(summary),
        _total_lines(summary["totals"]),
        _energy_lines(summary["totals"]),
        _method_lines(summary),
        [] if folder is None else _place_lines(folder),
        _check_lines(check.line if check else check_line(summary["check"]), summary["check"]),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def check_line(check: dict[str, Any] | None) -> str:
    """The comparison of a summary object as one line; see `pimsim.records.check.Check.line`."""
    if check is None or not check["outputs"]:
        return "no outputs were compared with the reference"
    return f"{check['mismatches']:,} of {check['outputs']:,} outputs differ from the reference"


def quantity(value: float, units: Sequence[tuple[float, str]]) -> str:
    """A value with four significant digits in the unit that leaves one to three before the point."""
    scale, unit = next(((scale, unit) for scale, unit in units if abs(value) >= scale), units[-1])
    return f"{value / scale:#.4g}".rstrip(".") + f" {unit}" if value else f"0 {unit}"


def time(value_ns: float) -> str:
    """A time such as ``81.20 us``."""
    return quantity(value_ns, TIME_UNITS)


def energy(value_pj: float) -> str:
    """An energy such as ``4.630 uJ``."""
    return quantity(value_pj, ENERGY_UNITS)


def percent(share: float) -> str:
    """A share as a percentage with one digit."""
    return f"{100 * share:.1f} %"


def layer_cells(layer: dict[str, Any]) -> tuple[str, ...]:
    """One layer as the cells under `HEADINGS`."""
    skipped = f"{layer['rows_skipped']:,} / {layer['rows_mapped']:,}"
    return (
        *(layer["name"], layer["window"], f"{layer['windows']:,}", f"{layer['arrays']:,}", skipped),
        *(f"{layer['cycles']:,}", f"{layer['conversions']:,}", time(layer["latency_ns"]), energy(layer["energy_pj"])),
        percent(layer["cell_utilisation"]),
    )


def total_cells(totals: dict[str, Any]) -> tuple[str, ...]:
    """The totals as the cells under `HEADINGS`; layers' energy is dynamic, so this one is as well."""
    skipped = f"{totals['rows_skipped']:,} / {totals['rows_mapped']:,}"
    return (
        *("total", "", "", f"{totals['arrays']:,}", skipped, f"{totals['cycles']:,}", f"{totals['conversions']:,}"),
        *(time(totals["latency_ns"]), energy(totals["dynamic_energy_pj"]), ""),
    )


def _layer_lines(summary: dict[str, Any]) -> list[str]:
    rows = [layer_cells(layer) for layer in summary["layers"]]
    return text_table(HEADINGS, rows, total_cells(summary["totals"]), left=2)


def text_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], last: Sequence[str] | None, left: int
) -> list[str]:
    """Aligned lines: headings, a rule, the rows, and a rule with the last row; ``left`` columns start flush left."""
    body, end = [*rows], [] if last is None else [last]
    widths = [max(map(len, column)) for column in zip(headings, *body, *end, strict=True)]
    rule = "  ".join("-" * width for width in widths)

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return [line(headings), rule, *map(line, body), *(text for row in end for text in (rule, line(row)))]


def _total_lines(totals: dict[str, Any]) -> list[str]:
    shown = LATENCIES if totals["images"] > 1 else LATENCIES[:-1]
    lines = [f"{name:<13} {_known(totals[key]):>11}   {what.format_map(totals)}" for name, key, what in shown]
    if totals["schedule"] != "sequential" and totals["interval_ns"]:
        lines.append(f"{'throughput':<13} {1e9 / totals['interval_ns']:>11,.0f}   images/s: 1 / interval")
    of = "of one image: " if totals["images"] > 1 else ""
    split = f"{of}dynamic {energy(totals['dynamic_energy_pj'])} + static {energy(totals['static_energy_pj'])}"
    lines.append(f"{'energy':<13} {energy(totals['energy_pj']):>11}   {split}")
    lines.append(f"{'area':<13} {totals['area_mm2']:>7.4g} mm2   of the units in use")
    lines.append(f"{'skip ratio':<13} {percent(totals['skip_ratio']):>11}   rows skipped / rows mapped")
    return lines


def _known(value_ns: float | None) -> str:
    return "not known" if value_ns is None else time(value_ns)


def _energy_lines(totals: dict[str, Any]) -> list[str]:
    """Components that take energy, largest first, with dynamic and static parts and the share of both."""
    by, total = totals["energy_by_component_pj"], totals["energy_pj"]
    both = [(name, value, by[f"{name}_static"]) for name, value in by.items() if f"{name}_static" in by]
    shown = sorted((part for part in both if part[1] + part[2] > 0), key=lambda part: -(part[1] + part[2]))
    rows = [(name.replace("_", " "), energy(d), energy(s), share((d + s) / total)) for name, d, s in shown]
    last = ("total", energy(totals["dynamic_energy_pj"]), energy(totals["static_energy_pj"]), "")
    return text_table(("energy by component", "dynamic", "static", "share"), rows, last, left=1) if rows else []


def share(value: float) -> str:
    """A percentage that does not round a small share to nothing."""
    return percent(value) if value >= 0.0005 or not value else "< 0.1 %"


def _method_lines(summary: dict[str, Any]) -> list[str]:
    order = "" if summary["totals"]["schedule"] == "sequential" else "layers pipelined, "
    chip = f"chip {summary['chip']}, {order}engine {summary['engine']}, ADC scaling law {summary['adc_scaling']}"
    return [chip, *(f"note: {note}" for note in summary["notes"])]


def _check_lines(line: str, check: dict[str, Any] | None) -> list[str]:
    """The comparison, then what can be said about errors and accuracy."""
    lines = [line]
    if check is None:
        return lines
    if check["snr_db"] is not None:
        clipped = f"{check['clipped_conversions']:,} of {check['conversions_checked']:,} conversions clipped"
        lines.append(f"signal to error {check['snr_db']:.1f} dB, {clipped}")
    known = [(name, check[f"top1_{name}"]) for name in ("float", "integer", "crossbar")]
    shown = ", ".join(f"{name} {100 * top1:.2f} %" for name, top1 in known if top1 is not None)
    return [*lines, f"top-1: {shown}"] if shown else lines


def _place_lines(folder: Path) -> list[str]:
    """Where things are; only what exists."""
    places = (
        ("results", folder, ""),
        ("figures", folder / "figures", ""),
        ("trace", folder / "trace.perfetto", "  (open it at https://ui.perfetto.dev)"),
    )
    return [f"{name:<8} {place}{note}" for name, place, note in places if place.exists()]


def summary_html(summary: dict[str, Any]) -> str:
    """The layers table and the totals as HTML for ``_repr_html_``; every text is escaped."""
    rows = "".join(_html_row(layer_cells(layer)) for layer in summary["layers"])
    totals, check = summary["totals"], check_line(summary["check"])
    line = f"{summary['chip']}: latency {time(totals['latency_ns'])}, energy {energy(totals['energy_pj'])}, {check}"
    return (
        f"<p>{html.escape(line)}</p><table><thead>{_html_row(HEADINGS, 'th')}</thead>"
        f"<tbody>{rows}</tbody><tfoot>{_html_row(total_cells(totals), 'th')}</tfoot></table>"
    )


def _html_row(cells: Iterable[str], tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
