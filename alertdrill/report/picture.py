"""A drill's picture of time: one axis from injection on, a lane per alert. Geometry only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from alertdrill.load.protocol import Finished

Row = Mapping[str, Any]

WIDTH = 960.0
SIDE = 14.0
LANE = 38.0
LABEL = 15.0
BAR = 13.0
STRIP = 34.0
AXIS = 24.0
LEAD_SHARE = 0.08
"""How much of what follows injection is shown of the time before it."""
MOST_TICKS = 10
MOST_COLUMNS = 64
STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)

STATES = ("pending", "firing", "inactive")
# What is drawn later lies on top; several may come at the same moment.
DRAWN = ("deadline", "resolved", "inhibited", "notified")


@dataclass(frozen=True)
class Bar:
    """A stretch of a lane; ``kind`` names its colour, ``words`` say it."""

    x: float
    width: float
    kind: str
    words: str


@dataclass(frozen=True)
class Mark:
    """A moment in a lane."""

    x: float
    kind: str
    words: str


@dataclass(frozen=True)
class Lane:
    """``y`` is where its label ends and its bar begins."""

    name: str
    y: float
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Strip:
    """Requests that ended, over time, as SVG paths; ``peak`` in requests per second."""

    y: float
    answered: str
    failed: str
    peak: float


@dataclass(frozen=True)
class Picture:
    """All of it in units of one SVG of ``width`` × ``height``.

    ``fault``  the stretch in which the fault was in the system
    ``ticks``  x and label of the axis, in seconds (or minutes) from injection
    """

    width: float
    height: float
    axis: float
    ticks: tuple[tuple[float, str], ...]
    fault: Bar
    lanes: tuple[Lane, ...]
    strip: Strip | None


def injection(events: Iterable[Row]) -> float | None:
    """When the fault was injected, in monotonic seconds; None when it never was."""
    return next((row["monotonic"] for row in events if row["event"] == "injected"), None)


def picture_of(drill: Row, events: Sequence[Row], finished: Sequence[Finished]) -> Picture | None:
    """The picture of one drill; None when nothing was injected.

    ``drill``     its entry in the verdict document; None in it means that it didn't happen
    ``events``    its events in the timeline, in any order
    ``finished``  the requests of its load
    """
    injected = injection(events)
    if injected is None:
        return None
    story = sorted(((row["monotonic"] - injected, row) for row in events), key=lambda at: at[0])
    deadlines = {a["name"]: Deadlines.of(a, drill).marks() for a in drill["alerts"]}
    last = story[-1][0]
    end = max([1.0, last, *(mark[0] for marks in deadlines.values() for mark in marks)])
    scale = _Scale(-LEAD_SHARE * end, end * 1.01)

    lanes = [_fault_lane(drill, story, last, scale)]
    for name in _alerts_of(drill, story):
        own = [(at, row) for at, row in story if row.get("alert") == name]
        bars = tuple(_state_bars(own, last, scale))
        marks = sorted(
            [*_moments(own), *deadlines.get(name, [])], key=lambda mark: DRAWN.index(mark[1])
        )
        lanes.append(
            Lane(
                name,
                len(lanes) * LANE + LABEL,
                bars,
                tuple(Mark(scale.x(at), kind, words) for at, kind, words in marks),
            )
        )
    bottom = len(lanes) * LANE
    strip = _strip(finished, injected, scale, bottom + LABEL)
    axis = bottom if strip is None else bottom + LABEL + STRIP + 6
    return Picture(
        width=WIDTH,
        height=axis + AXIS,
        axis=axis,
        ticks=tuple(_ticks(scale)),
        fault=lanes[0].bars[0],
        lanes=tuple(lanes),
        strip=strip,
    )


@dataclass(frozen=True)
class _Scale:
    """Seconds from injection to SVG units."""

    start: float
    end: float

    def x(self, at: float) -> float:
        inside = min(max(at, self.start), self.end)
        share = (inside - self.start) / (self.end - self.start)
        return round(SIDE + share * (WIDTH - 2 * SIDE), 1)

    def bar(self, start: float, end: float, kind: str) -> Bar:
        left, right = self.x(start), self.x(end)
        # What lasted no time at all was still there.
        width = round(max(right - left, 1.5), 1)
        return Bar(left, width, kind, f"{kind} from {_signed(start)} to {_signed(end)}")


def _alerts_of(drill: Row, story: Iterable[tuple[float, Row]]) -> list[str]:
    """Those of the verdict, and those that a drill without one left in the timeline."""
    named = [alert["name"] for alert in drill["alerts"]]
    if drill["traffic"] is None:
        seen = (row["alert"] for at, row in story if at >= 0 and "alert" in row)
        named += seen
    return list(dict.fromkeys(named))


@dataclass(frozen=True)
class Deadlines:
    """Until when an alert had to be notified and its resolution had to arrive, in seconds from
    injection; None where nothing was asked for."""

    notified_s: float | None
    resolved_s: float | None

    @staticmethod
    def of(alert: Row, drill: Row) -> Deadlines:
        """What ``drill`` asked of one of its alerts."""
        asked = alert["expected"] in ("fires", "inhibited")
        # Who was told nothing need not be told that it is over.
        told = alert.get("notified_s") is not None
        healed_s, allowed_s = drill.get("healed_s"), alert.get("resolve_deadline_s")
        counts = told and healed_s is not None and allowed_s is not None
        return Deadlines(
            notified_s=alert.get("deadline_s") if asked else None,
            resolved_s=drill["healed_s"] + allowed_s if counts else None,
        )

    def marks(self) -> list[tuple[float, str, str]]:
        named = (("notification", self.notified_s), ("resolution", self.resolved_s))
        return [
            (at, "deadline", f"deadline of the {what} {_signed(at)}")
            for what, at in named
            if at is not None
        ]


def _fault_lane(drill: Row, story: Sequence[tuple[float, Row]], last: float, scale: _Scale) -> Lane:
    happened = {row["event"]: at for at, row in story if at >= 0}
    healing = drill.get("heal_s")
    over = happened.get("healed", last)
    marks = [
        Mark(scale.x(at), kind, f"{words} {_signed(at)}")
        for kind, words, at in (
            ("effective", "effective", happened.get("effective")),
            ("healing", "healing began", healing),
            ("healed", "healed", happened.get("healed")),
        )
        if at is not None
    ]
    name = drill.get("fault") or next(
        (row["fault"] for _, row in story if row.get("fault")), "the fault"
    )
    return Lane(name, LABEL, (scale.bar(0.0, over, "fault"),), tuple(marks))


def _state_bars(own: Sequence[tuple[float, Row]], last: float, scale: _Scale) -> Iterator[Bar]:
    states = [(at, str(row["event"])) for at, row in own if row["event"] in STATES]
    for (start, state), (end, _) in pairwise([*states, (last, "")]):
        if state != "inactive" and end >= scale.start:
            yield scale.bar(start, end, state)


def _moments(own: Iterable[tuple[float, Row]]) -> list[tuple[float, str, str]]:
    # Each once: a receiver hears of every series of an alert at the same moment.
    seen: dict[tuple[float, str, str], None] = {}
    for at, row in own:
        if at >= 0 and row["event"] in DRAWN:
            kind = str(row["event"])
            whom = f" to {row['receiver']}" if row.get("receiver") else ""
            seen[(at, kind, f"{kind}{whom} {_signed(at)}")] = None
    return list(seen)


def _strip(finished: Sequence[Finished], injected: float, scale: _Scale, y: float) -> Strip | None:
    step = _step((scale.end - scale.start) / MOST_COLUMNS)
    counts: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    for one in finished:
        at = one.end - injected
        if scale.start <= at <= scale.end:
            counts[one.ok][int(at // step)] += 1
    columns = sorted({*counts[True], *counts[False]})
    if not columns:
        return None
    most = max(counts[True][n] + counts[False][n] for n in columns)
    paths: dict[bool, list[str]] = {True: [], False: []}
    for n in columns:
        left, right = scale.x(n * step), scale.x((n + 1) * step)
        foot = y + STRIP
        for ok in (False, True):
            height = counts[ok][n] / most * STRIP
            if height:
                paths[ok].append(f"M{left:.1f} {foot:.1f}v{-height:.1f}H{right:.1f}v{height:.1f}z")
                foot -= height
    return Strip(y, "".join(paths[True]), "".join(paths[False]), most / step)


def _ticks(scale: _Scale) -> Iterator[tuple[float, str]]:
    step = _step((scale.end - scale.start) / MOST_TICKS)
    unit, per = ("min", 60.0) if step >= 60 else ("s", 1.0)
    count = int(scale.end // step)
    for n in range(count + 1):
        yield scale.x(n * step), f"{n * step / per:g} {unit}" if n else "injected"


def _step(least: float) -> float:
    """The smallest round number of seconds that isn't smaller than ``least``."""
    return next((step for step in STEPS_S if step >= least), least)


def _signed(at: float) -> str:
    return f"{at:+.2f} s"
