"""Histories of any length out of short segments: what was recorded once, going on and on.

What is repeated is a segment's slots from the second on; the first is only what the second grew
from. A gauge's slot is its value, a counter's is its *increment*: repeated values would read as a
reset at each seam, and rate() would add the counter's whole worth to it. One index of slots
serves every series of a segment, so all buckets, the sum and the count of a histogram, and ``up``
with all series of its target, stay as they were seen together.

- ``healthy`` repeats all of its slots. A fault plays once as it was recorded, because it may need
  time to be felt (a pool fills, slow requests must end before they count), and then repeats its
  second half. So a fault that lasts shorter than it was recorded is the begin of the recording.
- No increment lies across a seam between two segments: the first slot of a fault is what was
  counted between its first two scrapes.
- A counter goes on from where the stretch before left it. A reset that was recorded stays one, and
  recurs where its slot is repeated; rate() corrects it as it did live.
- Absent stays absent. But by repetition alone nothing comes and goes: a series that appeared in
  the recording is there from the begin of a repetition, and one that vanished is not, but for
  scrapes that its target didn't answer. A counter that only a fault brought stands still in the
  healthy stretches after it, because its process still reports it.
- A scrape that nobody made shows the one before it, as Prometheus' look-back does.

What winds down after healing is not shown: a history is healthy from one scrape to the next.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alertdrill.errors import UsageError
from alertdrill.rules.replay.model import History, Kind, LabelSet, Segment, Stretch, Values
from alertdrill.rules.replay.segments import HEALTHY, Segments
from alertdrill.rules.replay.targets import metric_name, scraped_last, target_of, up_of

# A history beyond this would take more than a gigabyte; nobody means to build it.
MAX_SAMPLES = 150_000_000

Slots = NDArray[np.intp]
Flags = NDArray[np.bool_]


def build(
    segments: Segments,
    stretches: Sequence[Stretch],
    *,
    select: Collection[str] | None = None,
    drill: str | None = None,
) -> History:
    """The history of ``stretches``, one after the other, the same for the same input.

    A stretch names ``healthy``, a fault or a drill; ``healthy`` is that of ``drill``, else of the
    first fault's drill, else of the first drill there is. ``select``: only series of these
    metrics, and ``up``. Stretches end at the scrape nearest to where they should.

    The first stretch should be healthy and last at least as long as the longest window of the
    rules, or they judge a window that is not full.

    Raises UsageError for a name that was not recorded, a duration that isn't positive, a history
    of less than one scrape, and one of more than 150 million samples.
    """
    own = drill or next(
        (segments.drill_of(s.segment) for s in stretches if s.segment != HEALTHY),
        min(segments.healthy),
    )
    parts = [_part_of(segments, stretch, own) for stretch in stretches]
    intervals = {part.interval_s for part in parts}
    if len(intervals) > 1:
        raise UsageError(f"segments of different scrape intervals can't be joined: {intervals}")
    interval_s = intervals.pop() if intervals else 0.0
    lengths = _lengths(stretches, interval_s)
    if not sum(lengths):
        raise UsageError("a history needs at least one stretch as long as a scrape interval")
    names = None if select is None else {"up", *select}
    wanted = sorted({labels for p in parts for labels in p.series if _is_wanted(labels, names)})
    if len(wanted) * sum(lengths) > MAX_SAMPLES:
        raise UsageError(
            f"{len(wanted):,} series of {sum(lengths):,} scrapes are too many to hold at once; "
            "select the metrics that the rules use"
        )
    tiles = _tiles(parts, lengths)
    kinds: dict[str, Kind] = {}
    for part in parts:
        kinds.update(part.kinds)
    build_one = {Kind.COUNTER: _counter, Kind.GAUGE: _gauge}
    series = {labels: build_one[kinds[metric_name(labels)]](labels, tiles) for labels in wanted}
    return History(interval_s, series, tuple(stretches))


def incident(
    segment: str, duration_s: float, *, lead_s: float, tail_s: float
) -> tuple[Stretch, ...]:
    """Healthy, then ``segment`` for ``duration_s``, then healthy again; all in seconds."""
    return (Stretch(HEALTHY, lead_s), Stretch(segment, duration_s), Stretch(HEALTHY, tail_s))


def _part_of(segments: Segments, stretch: Stretch, own: str) -> Segment:
    if not (stretch.duration_s > 0 and math.isfinite(stretch.duration_s)):
        raise UsageError(f"{stretch.segment!r} can't last for {stretch.duration_s} s")
    if stretch.segment != HEALTHY:
        return segments.faults[segments.drill_of(stretch.segment)]
    if own not in segments.healthy:
        raise UsageError(f"the drill {own!r} recorded no healthy segment")
    return segments.healthy[own]


def _lengths(stretches: Sequence[Stretch], interval_s: float) -> list[int]:
    """Slots of each stretch; ends are rounded, not lengths, so that errors don't add up."""
    if not stretches:
        return []
    ends = np.rint(np.cumsum([s.duration_s for s in stretches]) / interval_s).astype(int)
    return [int(slots) for slots in np.diff(ends, prepend=0)]


def _is_wanted(labels: LabelSet, names: Collection[str] | None) -> bool:
    return names is None or metric_name(labels) in names


# --- one stretch ---------------------------------------------------------------------------------

# How a slot is shown: as recorded; as recorded, in a segment that the history has shown before;
# as part of a repetition. They differ in which series are present.
_FIRST, _ANEW, _REPEATED = 0, 1, 2


@dataclass(frozen=True)
class _Tile:
    """A segment stretched: ``index`` says which of its slots each slot shows, ``mode`` how."""

    segment: Segment
    index: Slots
    mode: Slots

    @classmethod
    def of(cls, segment: Segment, length: int, mode: int) -> _Tile:
        once = np.arange(1, segment.slots)[:length]
        loop_from = 1 if segment.name == HEALTHY else (segment.slots + 1) // 2
        repeated = np.resize(np.arange(loop_from, segment.slots), length - len(once))
        modes = np.repeat((mode, _REPEATED), (len(once), len(repeated)))
        return cls(segment, np.concatenate((once, repeated)), modes)

    def up(self, labels: LabelSet) -> Values | None:
        return self.segment.series.get(up_of(target_of(labels)))

    def shown_up(self, labels: LabelSet) -> Values:
        """``up`` of the series' target by slot of the segment: 0 where it didn't answer, NaN
        where it wasn't there. A series without ``up`` is taken to be of one that answers."""
        up = self.up(labels)
        if up is None:
            return np.ones(self.segment.slots)
        return _filled(up, up, self.segment.interval_s)

    def values(self, labels: LabelSet) -> Values | None:
        """The series with missed scrapes filled; None where the segment hasn't got it."""
        values = self.segment.series.get(labels)
        up = self.up(labels)
        if values is None or up is None:
            return values
        return _filled(values, up, self.segment.interval_s)

    def present(self, labels: LabelSet, values: Values) -> Flags:
        """Along the stretch: is the series there?"""
        there = ~np.isnan(values)
        slots = np.arange(len(values))[there]
        if not len(slots):
            return there[self.index]
        # A target that was down explains why its series are missing; nothing else does.
        unexplained = self.shown_up(labels) != 0
        kept = there.copy()
        kept[: slots[0]] = unexplained[: slots[0]]
        vanished = unexplained[slots[-1] + 1 :].any()
        repeated = np.zeros_like(there) if vanished else kept
        shown: Flags = np.stack((there, kept, repeated))[self.mode, self.index]
        return shown


def _tiles(parts: Sequence[Segment], lengths: Sequence[int]) -> list[_Tile]:
    tiles = []
    for number, (part, length) in enumerate(zip(parts, lengths, strict=True)):
        shown = any(part is earlier for earlier in parts[:number])
        tiles.append(_Tile.of(part, length, _ANEW if shown else _FIRST))
    return tiles


def _filled(values: Values, up: Values, interval_s: float) -> Values:
    source = scraped_last(up, interval_s)
    return np.where(source < 0, np.nan, values[source])


# --- one series ----------------------------------------------------------------------------------


def _gauge(labels: LabelSet, tiles: Sequence[_Tile]) -> Values:
    parts = []
    for tile in tiles:
        values = tile.values(labels)
        if values is None:
            parts.append(np.full(len(tile.index), np.nan))
            continue
        # Where a repetition has it before it appeared: its first value.
        first = values[np.argmax(~np.isnan(values))]
        filled = np.where(np.isnan(values), first, values)
        parts.append(np.where(tile.present(labels, values), filled[tile.index], np.nan))
    return np.concatenate(parts)


def _counter(labels: LabelSet, tiles: Sequence[_Tile]) -> Values:
    """The sum of its increments; a reset begins again at the value that was recorded after it."""
    grown, present, resets, recorded = [], [], [], []
    known = False
    for tile in tiles:
        values = tile.values(labels)
        if values is None:
            stands = known and tile.segment.name == HEALTHY and tile.up(labels) is not None
            there = (tile.shown_up(labels) == 1)[tile.index] & stands
            values = np.zeros(tile.segment.slots)
        else:
            there = tile.present(labels, values)
        step, fell = increments(values)
        known = known or bool(there.any())
        present.append(there)
        grown.append(np.where(there, step[tile.index], 0.0))
        resets.append(there & fell[tile.index])
        recorded.append(values[tile.index])
    return _cumulated(*map(np.concatenate, (grown, present, resets, recorded)))


def increments(values: Values) -> tuple[Values, Flags]:
    """What a counter grew by from the sample before to each one, and where it was reset.

    After a reset it has grown by its new value, as rate() has it. What it grew by before its
    first sample is unknown, and counts as nothing.
    """
    there = ~np.isnan(values)
    before = np.maximum.accumulate(np.where(there, np.arange(len(values)), -1))
    before = np.concatenate(([-1], before[:-1]))
    grown = np.where(there & (before >= 0), values - values[before], 0.0)
    fell = grown < 0
    return np.where(fell, values, grown), fell


def _cumulated(grown: Values, present: Flags, resets: Flags, recorded: Values) -> Values:
    if not present.any():
        return np.full(len(grown), np.nan)
    begin = int(present.argmax())
    # Whatever it had counted when it was first seen.
    grown[begin], resets[begin] = recorded[begin], False
    total = np.cumsum(grown)
    before_reset = np.maximum.accumulate(np.where(resets, total - grown, 0.0))
    return np.where(present, total - before_reset, np.nan)
