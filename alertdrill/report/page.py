"""``report.html``: the whole run on one page that needs nothing else, for people."""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from alertdrill.load.window import Window
from alertdrill.report.folder import RunFolder
from alertdrill.report.histograms import Requests, read_requests
from alertdrill.report.picture import Deadlines, Picture, Row, injection, picture_of

WORST_FIRST = ("fail", "unknown", "pass")
GLYPHS = {"pass": "✓", "fail": "✗", "unknown": "?"}
MOST_ERRORS = 4
ARTIFACTS = {
    "verdict.json": "this page for machines",
    "timeline.jsonl": "every event with its time",
    "junit.xml": "the tests, for a CI server",
    "pytest.log": "what pytest printed",
    "allure-results": "the tests, for Allure",
    "load": "requests and latency histograms",
    "segments": "recorded series",
    "containers": "logs of the components",
    "config": "the monitoring as the stacks loaded it",
}


def anchor(drill: str, alert: str | None = None) -> str:
    """The fragment of a drill, or of one alert in it, on the page: ``report.html#<this>``."""
    # An id must not hold white space; a label value, and so an alert's name, may.
    return drill if alert is None else f"{drill}--{'-'.join(alert.split())}"


def write_page(folder: RunFolder) -> Path:
    """Write ``report.html`` from what the run left, and return its path.

    Drills without a result, a missing timeline and missing loads leave gaps that the page names.
    Raises OSError when the run left no verdict document, or the page can't be written.
    """
    document = folder.read_verdict()
    timeline = _read_timeline(folder.timeline)
    drills = [_drill_view(row, timeline, folder) for row in _worst_first(document["drills"])]
    template = environment().get_template("page.html.j2")
    html = template.render(
        run=document,
        verdicts=Counter(row["verdict"] for row in document["drills"]),
        check_verdicts=Counter(row["verdict"] for row in document["checks"]),
        command=shlex.join(document["command"]),
        drills=drills,
        checks=_worst_first(document["checks"]),
        matrix=_matrix(document),
        artifacts={k: v for k, v in ARTIFACTS.items() if (folder.path / k).exists()},
        unreadable=timeline.unreadable,
        glyphs=GLYPHS,
    )
    # What a component said may hold half a surrogate pair, which no encoding takes.
    folder.report.write_bytes(html.encode("utf-8", "replace"))
    return folder.report


def environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("alertdrill.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"seconds": _seconds, "took": _took, "ms": _ms}
    environment.globals["anchor"] = anchor
    return environment


# --- what the page shows of a drill ------------------------------------------------------------


@dataclass(frozen=True)
class _AlertView:
    """``late`` names the columns whose deadline was missed."""

    row: Row
    anchor: str
    limits: Deadlines
    late: frozenset[str]


@dataclass(frozen=True)
class _Phase:
    """The load in a stretch of the drill."""

    name: str
    window: Window
    errors: str


@dataclass(frozen=True)
class _DrillView:
    row: Row
    alerts: Sequence[_AlertView]
    moments: str
    picture: Picture | None
    phases: Sequence[_Phase]
    unreadable: int
    histogram: str | None


def _drill_view(row: Row, timeline: _Timeline, folder: RunFolder) -> _DrillView:
    events = timeline.by_drill[row["id"]]
    requests = read_requests(folder.path / "load" / row["id"] / "requests.jsonl")
    histogram = f"load/{row['id']}.hgrm"
    return _DrillView(
        row=row,
        alerts=[_alert_view(alert, row) for alert in row["alerts"]],
        moments=_moments(row, events),
        picture=picture_of(row, events, requests.record.finished),
        phases=_phases(row, requests, injection(events)),
        unreadable=requests.unreadable,
        histogram=histogram if (folder.path / histogram).exists() else None,
    )


def _alert_view(alert: Row, drill: Row) -> _AlertView:
    limits = Deadlines.of(alert, drill)
    came = {
        # An inhibited alert is held to the same deadline, but must not be notified at all.
        "notified_s": (alert.get("notified_s"), limits.notified_s),
        "inhibited_s": (alert.get("inhibited_s"), limits.notified_s),
        "resolved_s": (alert.get("resolved_s"), limits.resolved_s),
    }
    late = {
        column
        for column, (at, limit) in came.items()
        if at is not None and limit is not None and at > limit
    }
    return _AlertView(alert, anchor(drill["id"], alert["name"]), limits, frozenset(late))


def _moments(drill: Row, events: Sequence[Row]) -> str:
    injected = injection(events)
    if injected is None:
        return ""
    at = {row["event"]: row["monotonic"] - injected for row in events}
    steps = {
        "effective": at.get("effective"),
        "healing began": drill.get("heal_s"),
        "healed": at.get("healed", drill.get("healed_s")),
        "steady again": at.get("steady again"),
    }
    words = [f"{name} {seconds:+.2f} s" for name, seconds in steps.items() if seconds is not None]
    return " · ".join(["injected 0 s", *words])


def _phases(drill: Row, requests: Requests, injected: float | None) -> list[_Phase]:
    record = requests.record
    if not record.finished:
        return []
    bounds = [("the whole load", -math.inf, math.inf)]
    if injected is not None:
        healing = math.inf if drill.get("heal_s") is None else injected + drill["heal_s"]
        bounds = [
            ("before the fault", -math.inf, injected),
            ("under the fault", injected, healing),
            ("from healing on", healing, math.inf),
            *bounds,
        ]
    windows = [(name, record.window(since, until)) for name, since, until in bounds]
    return [
        _Phase(
            name,
            window,
            ", ".join(f"{n} × {error}" for error, n in window.errors.most_common(MOST_ERRORS)),
        )
        for name, window in windows
    ]


# --- coverage ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mark:
    """How an alert and a fault met: ``rank`` 0 is what matters most."""

    rank: int
    symbol: str
    words: str


UNEXPECTED = _Mark(0, "✗", "fired, and should have stayed quiet")
MISSED = _Mark(1, "∅", "should have fired, and did not")
FIRED = _Mark(2, "●", "fired, as expected")
HELD_BACK = _Mark(3, "◐", "fired, to be inhibited")
COLLATERAL = _Mark(4, "○", "fired, as it may")
MARKS = (FIRED, HELD_BACK, COLLATERAL, MISSED, UNEXPECTED)
MARK_OF = {
    ("fires", True): FIRED,
    ("fires", False): MISSED,
    ("inhibited", True): HELD_BACK,
    ("inhibited", False): MISSED,
    ("may fire", True): COLLATERAL,
    ("quiet", True): UNEXPECTED,
}


@dataclass(frozen=True)
class _Cell:
    mark: _Mark
    href: str


@dataclass(frozen=True)
class _Matrix:
    """``rows``: an alert, and its cell under each fault; None where the two never met."""

    faults: Sequence[str]
    rows: Sequence[tuple[str, Sequence[_Cell | None]]]
    never_fired: frozenset[str]
    legend: Sequence[_Mark] = MARKS


def _matrix(document: Mapping[str, Any]) -> _Matrix:
    cells: dict[tuple[str, str], _Cell] = {}
    for drill in document["drills"]:
        for alert in drill["alerts"]:
            mark = MARK_OF.get((alert["expected"], alert.get("firing_s") is not None))
            if mark is None:
                continue
            place = (alert["name"], drill["fault"])
            known = cells.get(place)
            if known is None or mark.rank < known.mark.rank:
                cells[place] = _Cell(mark, anchor(drill["id"], alert["name"]))
    coverage = document["coverage"]
    faults = sorted(coverage["faults"])
    return _Matrix(
        faults=faults,
        rows=[
            (name, [cells.get((name, fault)) for fault in faults])
            for name in sorted(coverage["alerts"])
        ],
        never_fired=frozenset(coverage["never_fired"]),
    )


# --- pieces ------------------------------------------------------------------------------------


@dataclass
class _Timeline:
    by_drill: defaultdict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    unreadable: int = 0


def _read_timeline(file: Path) -> _Timeline:
    """The events by drill; none when there is no such file. A disk that filled up cuts a line."""
    timeline = _Timeline()
    if not file.exists():
        return timeline
    for line in file.read_bytes().splitlines():
        try:
            row = json.loads(line)
            if row["event"] != "progress":
                float(row["monotonic"])
                timeline.by_drill[row["drill"]].append(row)
        except (ValueError, KeyError, TypeError):
            timeline.unreadable += 1
    return timeline


def _worst_first(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: WORST_FIRST.index(row["verdict"]))


def _seconds(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else "–"


def _ms(value: float) -> str:
    return f"{value:,.1f}"


def _took(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f} min {rest:.0f} s" if minutes else f"{rest:.1f} s"
