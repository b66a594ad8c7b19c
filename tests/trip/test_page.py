"""The plot: every dose lies where its axis says, and what was told is on the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alertdrill.report.picture import WIDTH
from alertdrill.report.trip_page import BASE, LEFT, RIGHT, TOP, Curve, curve_of, write_trip_page
from alertdrill.trip.axis import Axis, duration_axis
from alertdrill.trip.result import TripPoint
from alertdrill.trip.search import Reading, Search, search
from alertdrill.trip.threshold import Threshold
from tests.trip.planted import PAIR, SHARES, above, latencies


def document(axis: Axis = SHARES, limit: float = 0.1, threshold: float | None = 0.2) -> Any:
    asked = None if threshold is None else Threshold("errors", ">", threshold)
    point = TripPoint(PAIR, search(axis, above(limit), most_probes=20), asked)
    # As it is read back from trip.json.
    return json.loads(json.dumps({**point.document(), "verdict": point.verdict.word, "replay": []}))


def curve(**given: Any) -> Curve:
    return curve_of(document(**given))


def test_doses_lie_where_the_axis_says() -> None:
    found = curve()
    assert [dot.kind for dot in found.dots] == sorted((d.kind for d in found.dots), reverse=True)
    assert [dot.x for dot in found.dots] == sorted(dot.x for dot in found.dots)
    assert found.dots[-1].x == WIDTH - RIGHT
    assert found.own == pytest.approx(LEFT + (WIDTH - LEFT - RIGHT) / 2)
    ticks = dict((label, x) for x, label in found.doses)
    assert ticks["0"] == LEFT
    assert ticks["100 %"] == WIDTH - RIGHT


def test_what_is_above_the_threshold_fired_and_the_band_lies_between() -> None:
    found = curve()
    assert found.threshold is not None
    for dot in found.dots:
        assert (dot.kind == "fires") == (dot.y < found.threshold)
        assert TOP <= dot.high <= dot.y <= dot.low <= BASE
    assert found.band is not None
    start, width = found.band
    assert max(d.x for d in found.dots if d.kind == "quiet") == start
    assert min(d.x for d in found.dots if d.kind == "fires") == pytest.approx(
        start + width, abs=0.2
    )


def test_a_logarithmic_axis_gives_each_decade_the_same_room() -> None:
    found = curve(axis=latencies(), limit=300.0, threshold=None)
    ticks = dict((label, x) for x, label in found.doses)
    assert ticks["100 ms"] - ticks["10 ms"] == pytest.approx(
        ticks["1000 ms"] - ticks["100 ms"], abs=0.3
    )


def test_without_a_threshold_what_fired_stands_above_what_was_quiet() -> None:
    found = curve(threshold=None)
    assert found.threshold is None
    assert found.values == ()
    assert {(dot.kind, dot.y < BASE / 2) for dot in found.dots} == {
        ("fires", True),
        ("quiet", False),
    }


def test_durations_have_ticks_of_whole_minutes() -> None:
    readings = [Reading(900.0, True), Reading(450.0, False)]
    point = TripPoint(
        PAIR, search(duration_axis(900.0, 600.0), lambda _: readings.pop(0), most_probes=5), None
    )
    labels = [label for _, label in curve_of(point.document()).doses]
    assert labels[:3] == ["0", "2m", "4m"]


def test_nothing_was_given() -> None:
    found = curve_of(TripPoint(PAIR, Search(SHARES, ()), Threshold("errors", ">", 0.2)).document())
    assert found.dots == ()
    assert found.band is None


def test_the_page_says_what_the_document_says(tmp_path: Path) -> None:
    said = document()
    said["sentence"] += " <&"
    page = write_trip_page(tmp_path, said).read_text(encoding="utf-8")
    assert "<svg" in page
    assert page.count("<circle") == len(said["readings"])
    assert "fires from" in page
    assert "&lt;&amp;" in page
    assert "://" not in page, "it needs nothing beside it"
