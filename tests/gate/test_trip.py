"""A trip point on a running stack: a threshold that is ten times too high is seen to be."""

from __future__ import annotations

import pytest

from alertdrill.trip.axis import dose_axis
from alertdrill.trip.live import live_probe
from alertdrill.trip.result import Pair, TripPoint
from alertdrill.trip.search import search
from alertdrill.trip.threshold import threshold_of
from alertdrill.verdict import Reason, Verdict
from chaos.test_drills import DRILLS
from tests.gate.conftest import Laboratory
from tests.gate.edits import rule

pytestmark = pytest.mark.docker

HALF_5XX = next(drill for drill in DRILLS if drill.fault.name == "http_status(github)")
SHIPPED = 0.05


def test_a_threshold_ten_times_as_high_trips_only_far_above(laboratory: Laboratory) -> None:
    """Its clean twin is the drill itself, which passes with the shipped threshold."""
    pair = Pair("HighErrorRate", HALF_5XX)
    axis = dose_axis(HALF_5XX.fault)
    higher = rule("HighErrorRate", expr=lambda expr: expr.replace(f"> {SHIPPED}", "> 0.5"))
    with laboratory.broken_by(higher) as bench, live_probe(pair, axis, bench) as probe:
        found = search(axis, probe, most_probes=2)
        threshold = threshold_of(bench.monitoring.alerts["HighErrorRate"].expr)
    assert found.broken_off is None
    half, all_of_it = found.readings
    assert (half.dose, half.fired) == (0.5, False)
    assert half.value is not None
    assert SHIPPED < half.value.mean < 0.5
    assert (all_of_it.dose, all_of_it.fired) == (1.0, True)
    point = TripPoint(pair, found, threshold)
    assert point.verdict is Verdict.FAIL
    assert point.finding is not None
    assert point.finding.reason is Reason.ALERT_DID_NOT_FIRE
