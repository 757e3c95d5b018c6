"""Trace files of a run: native Perfetto protobuf, and gzipped Chrome JSON beside it.

Open either at https://ui.perfetto.dev. Both stream: the spans are never held in memory.

References:
    Perfetto TrackEvent protobuf, https://perfetto.dev/docs/reference/synthetic-track-event
    Trace Event Format (Chrome JSON), Google, 2016
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from pimsim.records.tracks import TIME_NOTE, Sample, Slice, Unit, events, shown_ns, slice_name
from pimsim.simulation.results import Span

ANNOTATIONS = ("start_fs", "end_fs", "image", "window", "step", "active_rows", "units")


def write_perfetto(spans: Iterable[Span], path: Path, title: str = "pimsim") -> None:
    """Write spans as a native Perfetto trace.

    Args:
        spans: in any order; one pass.
        path: file to write, by convention ``trace.perfetto``.
        title: name of the outermost track group.
    """
    with path.open("wb") as file:
        writer = _PerfettoWriter(file, title)
        for event in events(spans):
            if isinstance(event, Slice):
                writer.slice(event)
            else:
                writer.sample(event)


class _PerfettoWriter:
    """Packets of one trace; descriptors of tracks and groups are written when first needed."""

    SEQUENCE = 1

    def __init__(self, file: Any, title: str) -> None:
        from perfetto.protos.perfetto.trace import perfetto_trace_pb2
        from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder

        self.pb = perfetto_trace_pb2
        self.builder = StreamingTraceProtoBuilder(file)
        self.uuids: dict[tuple[object, ...], int] = {}
        self._intern()
        self.root = self._track(("root",), title, 0, 0, description=TIME_NOTE)

    def _intern(self) -> None:
        """Names of annotations, written once."""
        packet = self.builder.create_packet()
        packet.trusted_packet_sequence_id = self.SEQUENCE
        packet.sequence_flags = self.pb.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
        for iid, name in enumerate(ANNOTATIONS, start=1):
            packet.interned_data.debug_annotation_names.add(iid=iid, name=name)
        self.builder.write_packet(packet)

    def _track(
        self,
        key: tuple[object, ...],
        name: str,
        parent: int,
        rank: int,
        *,
        description: str = "",
        counter: bool = False,
    ) -> int:
        """The uuid of a track or group; its descriptor is written the first time."""
        if key in self.uuids:
            return self.uuids[key]
        uuid = self.uuids[key] = len(self.uuids) + 1
        packet = self.builder.create_packet()
        track = packet.track_descriptor
        track.uuid, track.name, track.sibling_order_rank = uuid, name, rank
        track.child_ordering = self.pb.TrackDescriptor.EXPLICIT
        if parent:
            track.parent_uuid = parent
        if description:
            track.description = description
        if counter:
            track.counter.unit_name = "rows"
        self.builder.write_packet(packet)
        return uuid

    def _group(self, unit: Unit) -> int:
        """The uuid of the innermost group around a unit; groups follow their index."""
        parent, path = self.root, unit.path
        for depth, name in enumerate(path, start=1):
            rank = int(name.split()[-1]) + 100 if " " in name else 0
            parent = self._track(("group", *path[:depth]), name, parent, rank)
        return parent

    def slice(self, event: Slice) -> None:
        """Begin and end of one span."""
        unit, span = event.unit, event.span
        track = self._track((unit, event.lane), unit.stage, self._group(unit), unit.rank)
        begin = self._event(span.start_fs, track, self.pb.TrackEvent.TYPE_SLICE_BEGIN)
        begin.track_event.name = slice_name(span)
        for iid, name in enumerate(ANNOTATIONS, start=1):
            begin.track_event.debug_annotations.add(name_iid=iid, int_value=getattr(span, name))
        self.builder.write_packet(begin)
        self.builder.write_packet(self._event(span.end_fs, track, self.pb.TrackEvent.TYPE_SLICE_END))

    def sample(self, event: Sample) -> None:
        """One value of the active-rows counter of an array."""
        track = self._track((event.unit, "rows"), "active rows", self._group(event.unit), 99, counter=True)
        packet = self._event(event.time_fs, track, self.pb.TrackEvent.TYPE_COUNTER)
        packet.track_event.counter_value = event.active_rows
        self.builder.write_packet(packet)

    def _event(self, time_fs: int, track: int, kind: int) -> Any:
        packet = self.builder.create_packet()
        packet.timestamp = shown_ns(time_fs)
        packet.trusted_packet_sequence_id = self.SEQUENCE
        packet.sequence_flags = self.pb.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        packet.track_event.track_uuid = track
        packet.track_event.type = kind
        return packet


def write_chrome(spans: Iterable[Span], path: Path, title: str = "pimsim") -> None:
    """Write spans as gzipped Chrome JSON: tiles are processes, units are threads.

    Args:
        spans: in any order; one pass.
        path: file to write, by convention ``trace.json.gz``.
        title: kept in the file's metadata.
    """
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed,
        io.TextIOWrapper(packed, encoding="utf-8") as file,
    ):
        _write_chrome_json(spans, file, title)


def _write_chrome_json(spans: Iterable[Span], file: TextIO, title: str) -> None:
    head = {"displayTimeUnit": "ns", "otherData": {"title": title, "time": TIME_NOTE}}
    file.write(json.dumps(head)[:-1] + ', "traceEvents": [')
    separator = "\n"
    for event in _chrome_events(spans):
        file.write(separator + json.dumps(event, separators=(",", ":")))
        separator = ",\n"
    file.write("\n]}\n")


def _chrome_events(spans: Iterable[Span]) -> Iterator[dict[str, Any]]:
    threads: dict[tuple[Unit, int], int] = {}
    processes: set[int] = set()
    for event in events(spans):
        process = event.unit.tile + 1
        if process not in processes:
            processes.add(process)
            yield from _chrome_name("process", process, 0, event.unit.path[0], process)
        if isinstance(event, Sample):
            yield _chrome_sample(event)
            continue
        key = (event.unit, event.lane)
        if key not in threads:
            threads[key] = len(threads) + 1
            yield from _chrome_name("thread", process, threads[key], _thread_name(*key), _thread_order(event.unit))
        yield _chrome_slice(event, threads[key])


def _chrome_name(what: str, process: int, thread: int, name: str, order: int) -> Iterator[dict[str, Any]]:
    place = {"ph": "M", "pid": process, "tid": thread}
    yield place | {"name": f"{what}_name", "args": {"name": name}}
    yield place | {"name": f"{what}_sort_index", "args": {"sort_index": order}}


def _thread_name(unit: Unit, lane: int) -> str:
    names = [*unit.path[1:], unit.stage] if unit.tile >= 0 else [unit.stage]
    return " / ".join(names) + (f" ({lane + 1})" if lane else "")


def _thread_order(unit: Unit) -> int:
    return ((unit.macro + 1) * 1000 + unit.array + 1) * 100 + unit.rank


def _chrome_slice(event: Slice, thread: int) -> dict[str, Any]:
    span = event.span
    start, end = shown_ns(span.start_fs), shown_ns(span.end_fs)
    place = {"ph": "X", "pid": span.tile + 1, "tid": thread, "name": slice_name(span), "cat": span.stage}
    args = {name: getattr(span, name) for name in ANNOTATIONS}
    return place | {"ts": start / 1000, "dur": (end - start) / 1000, "args": args}


def _chrome_sample(event: Sample) -> dict[str, Any]:
    name = " / ".join([*event.unit.path[1:], "active rows"])
    place = {"ph": "C", "pid": event.unit.tile + 1, "tid": 0, "name": name}
    return place | {"ts": shown_ns(event.time_fs) / 1000, "args": {"rows": event.active_rows}}
