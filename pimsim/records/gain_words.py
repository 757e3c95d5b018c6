"""The gains of a comparison in words; every sentence follows from the numbers of that comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pimsim.records.gains import energy_of, gain
from pimsim.records.outcomes import Outcome
from pimsim.records.summary import percent

NO_DENSE = (
    "There is no dense entry, so that nothing says what pruning saves in energy and time; compression and skip ratio "
    "are those against each entry's own dense layout. Add the dense checkpoint, or name an entry with --baseline"
)


#: Entries that are named one by one; of more only the ends of the range.
_FEW = 3


def gain_sentences(outcomes: Sequence[Outcome], dense: Outcome | None) -> tuple[str, ...]:
    """What the gains come to: time, arrays and energies, ADC resolution, index, static energy."""
    if dense is None:
        return (NO_DENSE,)
    others = [outcome for outcome in outcomes if outcome.label != dense.label]
    same = [outcome for outcome in others if is_comparable(outcome, dense)]
    skipping = [outcome for outcome in same if outcome.rows_skipped > dense.rows_skipped]
    sentences = [
        *_time(skipping, dense),
        *_without_rows([outcome for outcome in same if outcome not in skipping and outcome.weights_pruned]),
        *_energies(skipping, dense),
        *_resolution(skipping, dense),
        *_index(skipping),
        *_static(skipping, dense),
        *(_other_layout(outcome, dense) for outcome in others if outcome not in same),
    ]
    return tuple(sentences)


def is_comparable(outcome: Outcome, dense: Outcome) -> bool:
    """Whether both are the same layers in the same layout, so that only what is left out differs."""
    layout = [(layer.layer, layer.rows_mapped, layer.cycles_dense) for layer in dense.layers]
    return layout == [(layer.layer, layer.rows_mapped, layer.cycles_dense) for layer in outcome.layers]


def _time(skipping: Sequence[Outcome], dense: Outcome) -> Iterable[str]:
    """Whether skipping rows saves time, and why."""
    still = [outcome for outcome in skipping if outcome.serial_steps == dense.serial_steps]
    faster = [outcome for outcome in skipping if outcome.serial_steps < dense.serial_steps]
    if still:
        yield (
            f"Skipping rows saves no read step: {_skips(still)}, and still {dense.serial_steps:,} steps follow one "
            f"another as in {dense.label}, for {_why_not_faster(still, dense)}. Latency: {_latencies(still, dense)}"
        )
    for outcome in faster:
        share = 1 - outcome.serial_steps / dense.serial_steps
        yield (
            f"{outcome.label} saves steps with {percent(outcome.skip_ratio)} of the rows skipped: "
            f"{outcome.serial_steps:,} follow one another instead of "
            f"{dense.serial_steps:,} ({percent(share)} fewer), {_why_faster(outcome, dense)}. "
            f"Latency: {_change(outcome.latency_ns, dense.latency_ns)}"
        )


def _why_not_faster(still: Sequence[Outcome], dense: Outcome) -> str:
    if dense.max_rounds > 1:
        return f"the arrays that are left need as many rounds (up to {dense.max_rounds})"
    if all(outcome.is_driven_whole for outcome in (dense, *still)):
        return "all arrays are resident and an array drives all its rows at once, however many are left"
    return f"the fullest arrays still take as many groups of {dense.active_rows} rows"


def _why_faster(outcome: Outcome, dense: Outcome) -> str:
    pairs = list(zip(outcome.layers, dense.layers, strict=True))
    reasons = []
    if rounds := sum(after.rounds < before.rounds for after, before in pairs):
        reasons.append(f"because fewer arrays need fewer rounds in {rounds} layers")
    if steps := sum(after.steps < before.steps for after, before in pairs):
        reasons.append(f"because an array reads fewer groups of {outcome.active_rows} rows in {steps} layers")
    if copies := sum(after.replication > before.replication for after, before in pairs):
        reasons.append(f"because more copies share the windows of {copies} layers")
    return " and ".join(reasons) or "because layers fell away"


def _without_rows(outcomes: Sequence[Outcome]) -> Iterable[str]:
    if outcomes:
        pruned = _each(outcomes, lambda o: f"{percent(o.weight_sparsity)} of the weights pruned")
        skips = "skip is 'none'" if all(o.skip == "none" for o in outcomes) else "no row is empty"
        yield f"No row more than in the dense network is skipped: {pruned}, but {skips}"


def _energies(skipping: Sequence[Outcome], dense: Outcome) -> Iterable[str]:
    if not skipping:
        return
    most = max(skipping, key=lambda outcome: outcome.rows_skipped)
    found = gain(most, dense)
    names = {"drivers": "row drivers and cells", "loads": "loads", "conversions": "conversions", "outputs": "outputs"}
    parts = {part: getattr(found, f"{part}_saved_pj") for part in names}
    saved = [f"{percent(value / energy_of(dense, part))} of {names[part]}" for part, value in parts.items() if value]
    arrays = f"as many arrays ({dense.arrays:,})"
    if found.arrays_saved:
        arrays = f"{most.arrays:,} arrays instead of {dense.arrays:,}"
    share = found.dynamic_saved_pj / dense.dynamic_energy_pj
    yield (
        f"{most.label}, with most rows skipped, takes {arrays} and saves in energy {_listed(saved)}: "
        f"{percent(share)} of the dynamic energy"
    )


def _resolution(skipping: Sequence[Outcome], dense: Outcome) -> Iterable[str]:
    if not skipping:
        return
    fewer = [outcome for outcome in skipping if outcome.adc_bits_needed < dense.adc_bits_needed]
    saved = [outcome for outcome in skipping if gain(outcome, dense).resolution_saved_pj > 0]
    if saved:
        energies = _each(saved, lambda o: percent(gain(o, dense).resolution_saved_pj / energy_of(dense, "conversions")))
        yield f"Lower ADC resolution saves, of the energy of conversions: {energies}"
    elif fewer:
        yield (
            f"The fullest array needs fewer ADC bits than the {dense.adc_bits_needed} of {dense.label}: "
            f"{_each(fewer, lambda o: str(o.adc_bits_needed))}; but the resolution of the chip's ADCs is fixed at "
            f"{dense.adc_bits} bits, and nothing of it shows in the energy"
        )
    else:
        yield f"No ADC bit is saved: the fullest array of every entry still needs {dense.adc_bits_needed} bits"


def _index(skipping: Sequence[Outcome]) -> Iterable[str]:
    indexed = [outcome for outcome in skipping if outcome.index_bits]
    if indexed:
        share = max(indexed, key=lambda o: energy_of(o, "index") / o.dynamic_energy_pj)
        bits = max(indexed, key=lambda o: o.index_bits)
        yield (
            f"The index of the kept rows costs up to {bits.index_bytes:,} bytes ({bits.label}) and "
            f"{_small(energy_of(share, 'index') / share.dynamic_energy_pj)} of the dynamic energy ({share.label})"
        )


def _static(skipping: Sequence[Outcome], dense: Outcome) -> Iterable[str]:
    changed = [o for o in skipping if _changes(o.static_energy_pj, dense.static_energy_pj)]
    if skipping and not changed:
        share = dense.static_energy_pj / dense.energy_pj
        yield f"Static energy, {percent(share)} of all in {dense.label}, stays: as many tiles are in use for as long"
    elif changed:
        each = _each(changed, lambda o: f"{_change(o.static_energy_pj, dense.static_energy_pj)} on {o.tiles} tiles")
        yield f"Static energy against {dense.label} ({dense.tiles} tiles): {each}"


def _other_layout(outcome: Outcome, dense: Outcome) -> str:
    reason = "other layers" if outcome.structure else "another layout"
    return (
        f"{outcome.label} has {reason} than {dense.label}: {outcome.weights - outcome.weights_pruned:,} weights "
        f"instead of {dense.weights - dense.weights_pruned:,}, {outcome.arrays:,} arrays instead of {dense.arrays:,}, "
        f"{outcome.serial_steps:,} steps one after another instead of {dense.serial_steps:,}. "
        f"Latency: {_change(outcome.latency_ns, dense.latency_ns)}"
    )


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts) or "nothing"


def _each(outcomes: Iterable[Outcome], say: Callable[[Outcome], str]) -> str:
    return ", ".join(f"{outcome.label} {say(outcome)}" for outcome in outcomes)


def _skips(outcomes: Sequence[Outcome]) -> str:
    """Skip ratios: each of a few, the range of many."""
    if len(outcomes) <= _FEW:
        return f"{_each(outcomes, lambda o: percent(o.skip_ratio))} of the rows skipped"
    low, high = (f(outcomes, key=lambda o: o.skip_ratio) for f in (min, max))
    ends = f"{percent(low.skip_ratio)} ({low.label}) to {percent(high.skip_ratio)} ({high.label})"
    return f"{len(outcomes)} entries skip {ends} of the rows"


def _latencies(outcomes: Sequence[Outcome], dense: Outcome) -> str:
    """Changes of latency: each of a few, the range of many, or that none changes."""
    if all(outcome.latency_ns == dense.latency_ns for outcome in outcomes):
        return "unchanged"
    if len(outcomes) <= _FEW:
        return _each(outcomes, lambda o: _change(o.latency_ns, dense.latency_ns))
    low, high = (f(outcomes, key=lambda o: o.latency_ns) for f in (min, max))
    each = [f"{_change(o.latency_ns, dense.latency_ns)} ({o.label})" for o in (low, high)]
    return " to ".join(each)


def _changes(value: float, before: float) -> bool:
    return abs(value - before) > 5e-4 * abs(before)


def _change(value: float, before: float) -> str:
    """A relative change; one that rounds to nothing is called unchanged."""
    if value == before:
        return "unchanged"
    change = 100 * (value / before - 1)
    return f"{change:+.1f} %" if abs(change) >= 0.05 else f"unchanged ({change:+.2g} %)"


def _small(share: float) -> str:
    return percent(share) if share >= 0.0005 else f"{100 * share:.2g} %"
