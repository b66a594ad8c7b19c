"""Segments: recorded at the end of a live drill, saved, and loaded again for a replay.

A segment is a stretch of a drill as the real clock would have seen it. On a clock ``factor``
times as fast, scrapes are that much closer together and each counter grew that much less between
two of them; so counters are multiplied by ``factor``, and every rate is what it was live.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alertdrill.errors import SignalError, UsageError
from alertdrill.rules.replay.model import Kind, LabelSet, Segment
from alertdrill.rules.replay.segment_file import MIN_SLOTS, read_segment, write_segment
from alertdrill.rules.replay.targets import metric_name, missed_scrapes, target_of, up_of
from alertdrill.signals.recording import RawSeries, Recording, record

HEALTHY = "healthy"
_PATTERN = "*.om.gz"
# Series that only grow, by their family's type and their ending.
_COUNTERS = {
    ("counter", "_total"),
    ("histogram", "_bucket"),
    ("histogram", "_sum"),
    ("histogram", "_count"),
    ("summary", "_sum"),
    ("summary", "_count"),
}
# What a target says of a family that has no type.
_NONE = "unknown"
_ENDINGS = ("_total", "_bucket", "_sum", "_count")


@dataclass(frozen=True)
class Complaint:
    """What is wrong with a file of segments, or what a judge should know of it."""

    file: Path
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Segments:
    """What drills recorded, by drill: for each one its healthy segment and its fault's.

    ``complaints``  files that were left out, and gaps in those that were not
    ``broken``      the drills whose files were left out, and why
    """

    healthy: Mapping[str, Segment]
    faults: Mapping[str, Segment]
    complaints: tuple[Complaint, ...] = ()
    broken: Mapping[str, str] = field(default_factory=dict)

    def drill_of(self, segment: str) -> str:
        """The drill that recorded ``segment``: a drill's id, or the name of a fault.

        Raises UsageError when there is none, or several: then the drill must be named.
        """
        if segment in self.faults:
            return segment
        drills = sorted(drill for drill, found in self.faults.items() if found.name == segment)
        if len(drills) == 1:
            return drills[0]
        if drills:
            raise UsageError(
                f"{segment!r} was recorded by {', '.join(drills)}: name one of these drills"
            )
        known = sorted({*self.faults, *(found.name for found in self.faults.values())})
        raise UsageError(
            f"no segment {segment!r} was recorded; there are {', '.join(known) or 'none at all'}"
        )


def record_drill(
    prometheus_url: str,
    *,
    drill: str,
    fault: str,
    interval_s: float,
    factor: float,
    healthy: tuple[float, float],
    broken: tuple[float, float],
    folder: Path,
) -> tuple[Path, Path]:
    """Save both segments of a drill into ``folder``: the paths, healthy first.

    ``healthy`` and ``broken``: since and until, in Unix seconds; ``interval_s``: the scrape
    interval on the real clock, in seconds; ``factor``: what the live clock was divided by. Raises
    SignalError when Prometheus doesn't answer or a stretch is too short to build with.
    """
    segments = [
        assemble(
            record(prometheus_url, since_s, until_s),
            name=name,
            drill=drill,
            interval_s=interval_s,
            factor=factor,
        )
        for name, (since_s, until_s) in ((HEALTHY, healthy), (fault, broken))
    ]
    first, second = (save(segment, folder) for segment in segments)
    return first, second


def save(segment: Segment, folder: Path) -> Path:
    """Write ``DRILL--healthy.om.gz`` or ``DRILL--fault.om.gz`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = HEALTHY if segment.name == HEALTHY else "fault"
    path = folder / f"{segment.drill}--{kind}.om.gz"
    write_segment(segment, path)
    return path


def load_segments(folder: Path, select: Collection[str] | None = None) -> Segments:
    """Every pair of segments in ``folder``; with ``select``, only series of these metrics.

    A file that can't be used is left out, with its pair, and complained of. Raises UsageError
    when there is no file, or none that can be used.
    """
    paths = sorted(folder.glob(_PATTERN))
    if not paths:
        raise UsageError(f"there is no segment ({_PATTERN}) in it: run drills first", file=folder)
    found: dict[str, dict[bool, tuple[Path, Segment]]] = defaultdict(dict)
    complaints: list[Complaint] = []
    broken: dict[str, str] = {}
    for path in paths:
        try:
            segment = read_segment(path, select)
        except UsageError as error:
            complaints.append(Complaint(path, str(error)))
            broken[path.name.rpartition("--")[0]] = str(error)
            continue
        pair = found[segment.drill]
        is_healthy = segment.name == HEALTHY
        if is_healthy in pair:
            other = pair[is_healthy][0].name
            complaints.append(
                Complaint(path, f"{path}: left out: {other} is of the same drill and kind")
            )
            continue
        pair[is_healthy] = (path, segment)
        complaints += [Complaint(path, f"{path}: {gap}") for gap in missed_scrapes(segment)]
    healthy: dict[str, Segment] = {}
    faults: dict[str, Segment] = {}
    for drill, pair in sorted(found.items()):
        problem = _mismatch(pair)
        if problem:
            path = next(iter(pair.values()))[0]
            complaints.append(Complaint(path, f"{path}: left out: {problem}"))
            broken.setdefault(drill, str(complaints[-1]))
            continue
        healthy[drill], faults[drill] = pair[True][1], pair[False][1]
    if not faults:
        whole = "; ".join(str(complaint) for complaint in complaints)
        raise UsageError(f"no pair of segments can be used: {whole}", file=folder)
    left_out = {drill: why for drill, why in broken.items() if drill not in faults}
    return Segments(healthy, faults, tuple(complaints), left_out)


def _mismatch(pair: Mapping[bool, tuple[Path, Segment]]) -> str | None:
    if len(pair) < 2:
        there = "healthy" if True in pair else "fault"
        missing = "fault" if True in pair else "healthy"
        return f"the {there} segment has no {missing} one of the same drill"
    one, other = pair[True][1], pair[False][1]
    if (one.interval_s, one.factor) != (other.interval_s, other.factor):
        return "healthy and fault segment were not recorded at the same interval and factor"
    return None


# --- from raw samples to slots -------------------------------------------------------------------


def assemble(
    recording: Recording, *, name: str, drill: str, interval_s: float, factor: float
) -> Segment:
    """The segment that ``recording`` holds, one slot for each scrape on the real clock.

    Targets are scraped at different moments of an interval, so each has slots of its own phase. A
    scrape that never happened leaves NaN, and so does a sample that is NaN itself; of two in one
    slot the later counts. Raises SignalError for fewer than four slots.
    """
    live_s = interval_s / factor
    slots = int((recording.until_s - recording.since_s) / live_s + 1e-6)
    if slots < MIN_SLOTS:
        raise SignalError(
            f"{drill}: {recording.until_s - recording.since_s:.2f} s are {slots} scrapes of "
            f"{live_s:g} s, too few for a segment ({MIN_SLOTS})"
        )
    rows = [(tuple(sorted(row.labels.items())), row) for row in recording.series]
    rows.sort(key=lambda pair: pair[0])
    kinds = {name: _kind(name, recording.types) for name in {metric_name(k) for k, _ in rows}}
    starts = {
        target: recording.since_s + phase * live_s
        for target, phase in _phases(rows, recording.since_s, live_s, slots).items()
    }
    sizes = [len(row.times_s) for _, row in rows]
    scale = [factor if kinds[metric_name(labels)] is Kind.COUNTER else 1.0 for labels, _ in rows]
    times = np.concatenate([row.times_s for _, row in rows])
    values = np.concatenate([row.values for _, row in rows]) * np.repeat(scale, sizes)
    start = np.repeat([starts[target_of(labels)] for labels, _ in rows], sizes)
    at = np.rint((times - start) / live_s).astype(np.intp)
    within = (at >= 0) & (at < slots)
    matrix = np.full((len(rows), slots), np.nan)
    matrix[np.repeat(np.arange(len(rows)), sizes)[within], at[within]] = values[within]
    kept = ~np.isnan(matrix).all(axis=1)
    series = {labels: matrix[i] for i, (labels, _) in enumerate(rows) if kept[i]}
    if not series:
        raise SignalError(f"{drill}: no sample falls into the {slots} scrapes of {name}")
    used = {metric_name(labels) for labels in series}
    return Segment(name, drill, interval_s, factor, series, {n: kinds[n] for n in sorted(used)})


def _phases(
    rows: Sequence[tuple[LabelSet, RawSeries]], since_s: float, live_s: float, slots: int
) -> dict[LabelSet, float]:
    """When each target is scraped, in intervals from ``since_s``: the circular mean of its scrapes,
    so that one that wavers around an interval's edge doesn't skip slots and double others; and
    of the three intervals that this may mean, the one that keeps most scrapes."""
    times: dict[LabelSet, NDArray[np.float64]] = {}
    for labels, row in rows:
        target = target_of(labels)
        if target not in times or labels == up_of(target):
            times[target] = (row.times_s - since_s) / live_s
    phases = {}
    for target, at in times.items():
        turn = np.exp(2j * np.pi * at).mean()
        phase = float(np.angle(turn) / (2 * np.pi) % 1.0)
        scrapes = np.rint(at - phase)
        kept = {k: int(((scrapes >= k) & (scrapes < slots + k)).sum()) for k in (0, 1, -1)}
        phases[target] = phase + max(kept, key=lambda k: kept[k])
    return phases


def _kind(name: str, types: Mapping[str, str]) -> Kind:
    """By the declared type; where there is none, by the ending that the conventions ask for."""
    declared = {
        ending: types[family]
        for ending in ("", *_ENDINGS)
        if name.endswith(ending)
        and types.get(family := name[: len(name) - len(ending)], _NONE) != _NONE
    }
    if "" in declared:
        return Kind.COUNTER if declared[""] == "counter" else Kind.GAUGE
    if declared:
        is_counter = any((kind, ending) in _COUNTERS for ending, kind in declared.items())
        return Kind.COUNTER if is_counter else Kind.GAUGE
    return Kind.COUNTER if name.endswith(_ENDINGS) else Kind.GAUGE
