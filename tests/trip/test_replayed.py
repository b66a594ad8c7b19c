"""Trip points of the recorded faults that ship, and of a rule that was changed for the worse."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertdrill.config import load_config
from alertdrill.trip.pairs import pairs_of
from alertdrill.trip.replayed import replayed
from alertdrill.trip.result import Pair, Replayed
from alertdrill.verdict import Verdict
from chaos.test_drills import DRILLS
from tests.cli.project import ROOT, copy_project

pytestmark = pytest.mark.docker

SEGMENTS = ROOT / "rules/segments"
HALF_5XX = "http_status(github)"


def replay(root: Path, alert: str, fault: str) -> Replayed:
    pairs = [
        p for p in pairs_of(DRILLS, {alert}) if (p.alert, p.drill.fault.name) == (alert, fault)
    ]
    (row,) = replayed(load_config(root), pairs, SEGMENTS, lambda _: None)
    return row


def test_a_threshold_ten_times_as_high_is_seen_to_trip_above_the_shipped_one(
    tmp_path: Path,
) -> None:
    shipped = replay(ROOT, "UpstreamUnavailable", HALF_5XX)
    assert shipped.verdict is Verdict.PASS
    assert shipped.share is not None
    project = copy_project(tmp_path)
    rules = project / "monitoring/alerts.yml"
    text = rules.read_text(encoding="utf-8")
    assert text.count("> 0.25\n") == 1
    # Half of the requests fail: 40 % is above the recorded dose's threshold by little.
    rules.write_text(text.replace("> 0.25\n", "> 0.4\n"), encoding="utf-8")
    higher = replay(project, "UpstreamUnavailable", HALF_5XX)
    assert higher.share is not None
    assert higher.share > 1.4 * shipped.share
    rules.write_text(text.replace("> 0.25\n", "> 2.5\n"), encoding="utf-8")
    never = replay(project, "UpstreamUnavailable", HALF_5XX)
    assert never.trips_from_s is None
    assert never.verdict is Verdict.FAIL


def test_a_drill_that_was_not_recorded_is_unknown() -> None:
    (drill,) = [d for d in DRILLS if d.fault.name == HALF_5XX]
    other = type(drill)("never recorded", fault=drill.fault, load=drill.load, fires=drill.fires)
    (row,) = replayed(load_config(ROOT), [Pair("HighErrorRate", other)], SEGMENTS, lambda _: None)
    assert row.verdict is Verdict.UNKNOWN
    assert row.unknown == "the drill was not recorded"
