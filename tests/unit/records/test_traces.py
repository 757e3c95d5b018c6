"""Traces parse back, with legal slices on every track and exact times beside them."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

from pimsim.records.traces import ANNOTATIONS, write_chrome, write_perfetto
from pimsim.records.tracks import Sample, Slice, events, shown_ns
from pimsim.simulation.results import Span


def parse(path: Path) -> Trace:
    trace = Trace()
    trace.ParseFromString(path.read_bytes())
    return trace


def tracks(trace: Trace) -> dict[int, Any]:
    return {p.track_descriptor.uuid: p.track_descriptor for p in trace.packet if p.HasField("track_descriptor")}


def path_of(uuid: int, known: dict[int, Any]) -> tuple[str, ...]:
    track = known[uuid]
    parent = path_of(track.parent_uuid, known) if track.parent_uuid else ()
    return (*parent, track.name)


def test_perfetto_tracks_are_grouped_tile_macro_array(tmp_path: Path, spans: tuple[Span, ...]) -> None:
    write_perfetto(spans, tmp_path / "t", "isaac-like")
    known = tracks(parse(tmp_path / "t"))
    found = {path_of(uuid, known) for uuid in known}
    assert ("isaac-like", "tile 0", "macro 0", "array 1", "adc") in found
    assert ("isaac-like", "tile 0", "macro 0", "array 1", "active rows") in found
    assert ("isaac-like", "tile 0", "edram_read") in found
    assert ("isaac-like", "chip", "activation") in found


def test_perfetto_holds_every_span_exactly(tmp_path: Path, spans: tuple[Span, ...]) -> None:
    write_perfetto(spans, tmp_path / "t")
    begun = [p for p in parse(tmp_path / "t").packet if p.track_event.type == TrackEvent.TYPE_SLICE_BEGIN]
    found = []
    for packet in begun:
        values = {ANNOTATIONS[a.name_iid - 1]: a.int_value for a in packet.track_event.debug_annotations}
        assert packet.timestamp == values["start_fs"] // 1000
        found.append(tuple(values[name] for name in ANNOTATIONS))
    assert found == [tuple(getattr(span, name) for name in ANNOTATIONS) for span in spans]


def test_perfetto_names_annotations_once(tmp_path: Path, spans: tuple[Span, ...]) -> None:
    write_perfetto(spans, tmp_path / "t")
    names = [n.name for p in parse(tmp_path / "t").packet for n in p.interned_data.debug_annotation_names]
    assert tuple(names) == ANNOTATIONS


def test_perfetto_slices_on_a_track_are_legal(tmp_path: Path, spans: tuple[Span, ...]) -> None:
    write_perfetto(spans, tmp_path / "t")
    trace = parse(tmp_path / "t")
    known, last = tracks(trace), defaultdict(int)
    open_: dict[int, bool] = defaultdict(bool)
    for packet in trace.packet:
        kind = packet.track_event.type
        if kind not in (TrackEvent.TYPE_SLICE_BEGIN, TrackEvent.TYPE_SLICE_END):
            continue
        uuid = packet.track_event.track_uuid
        assert uuid in known
        assert packet.timestamp >= last[uuid]
        assert open_[uuid] == (kind == TrackEvent.TYPE_SLICE_END)
        last[uuid], open_[uuid] = packet.timestamp, not open_[uuid]
    assert not any(open_.values())


def test_the_counter_follows_the_rows_and_returns_to_zero(tmp_path: Path, spans: tuple[Span, ...]) -> None:
    write_perfetto(spans, tmp_path / "t")
    packets = [p for p in parse(tmp_path / "t").packet if p.track_event.type == TrackEvent.TYPE_COUNTER]
    # 24 steps of 100 ns without a gap: the counter changes twice only
    assert [(p.timestamp, p.track_event.counter_value) for p in packets] == [(0, 27), (2_400_000, 0)]


def test_the_counter_drops_in_a_gap_and_changes_with_the_rows() -> None:
    spans = [Span("a", "array", 0, 0, 0, 1, 0, i, s, e, rows) for i, (s, e, rows) in enumerate(((0, 5, 3), (8, 9, 4)))]
    samples = [(e.time_fs, e.active_rows) for e in events(spans) if isinstance(e, Sample)]
    assert samples == [(0, 3), (5, 0), (8, 4), (9, 0)]


def test_overlapping_jobs_take_further_lanes(spans: tuple[Span, ...]) -> None:
    lanes = [e.lane for e in events(spans) if isinstance(e, Slice) and e.span.stage == "activation"]
    assert lanes == [0, 1, 2]
    assert {e.lane for e in events(spans) if isinstance(e, Slice) and e.span.stage == "adc"} == {0}


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5000), st.integers(0, 3000)), max_size=30))
def test_lanes_never_overlap_whatever_the_order(jobs: list[tuple[int, int, int]]) -> None:
    spans = [Span("a", "adc", t, 0, 0, 1, i, 0, s, s + d) for i, (t, s, d) in enumerate(jobs)]
    found = [e for e in events(spans) if isinstance(e, Slice)]
    assert [e.span for e in found] == spans
    end: dict[object, int] = {}
    for e in found:
        track = (e.unit, e.lane)
        assert shown_ns(e.span.start_fs) >= shown_ns(end.get(track, 0))
        end[track] = e.span.end_fs


def read_chrome(path: Path) -> dict[str, Any]:
    with gzip.open(path, "rt") as file:
        loaded: dict[str, Any] = json.load(file)
    return loaded


def test_chrome_holds_every_span_on_a_named_thread(tmp_path: Path, spans: tuple[Span, ...]) -> None:
    write_chrome(spans, tmp_path / "t.json.gz", "isaac-like")
    found = read_chrome(tmp_path / "t.json.gz")
    slices = [e for e in found["traceEvents"] if e["ph"] == "X"]
    assert [e["args"]["start_fs"] for e in slices] == [span.start_fs for span in spans]
    assert [e["ts"] * 1000 for e in slices] == pytest.approx([span.start_fs // 1000 for span in spans])
    threads = {e["args"]["name"] for e in found["traceEvents"] if e["name"] == "thread_name"}
    assert {"macro 0 / array 1 / adc", "edram_read", "activation", "activation (2)"} <= threads
    processes = {e["args"]["name"] for e in found["traceEvents"] if e["name"] == "process_name"}
    assert processes == {"tile 0", "chip"}
    assert found["otherData"]["title"] == "isaac-like"


def test_chrome_counts_active_rows(tmp_path: Path, spans: tuple[Span, ...]) -> None:
    write_chrome(spans, tmp_path / "t.json.gz")
    counted = [e for e in read_chrome(tmp_path / "t.json.gz")["traceEvents"] if e["ph"] == "C"]
    assert [(e["ts"], e["args"]["rows"]) for e in counted] == [(0.0, 27), (2400.0, 0)]


def test_no_spans_make_a_valid_empty_trace(tmp_path: Path) -> None:
    write_chrome((), tmp_path / "t.json.gz")
    write_perfetto((), tmp_path / "t")
    assert read_chrome(tmp_path / "t.json.gz")["traceEvents"] == []
    assert len(tracks(parse(tmp_path / "t"))) == 1


def test_traces_are_the_same_every_time(tmp_path: Path, spans: tuple[Span, ...]) -> None:
    for name in ("a", "b"):
        write_chrome(iter(spans), tmp_path / f"{name}.gz")
        write_perfetto(iter(spans), tmp_path / name)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
