"""What a search says, held against the table and the rule's threshold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alertdrill.assemble import load_original
from alertdrill.config import load_config
from alertdrill.errors import UsageError
from alertdrill.trip.axis import dose_axis
from alertdrill.trip.pairs import find_pair, pairs_of
from alertdrill.trip.result import Pair, Replayed, TripPoint
from alertdrill.trip.search import Search, search
from alertdrill.trip.threshold import Threshold, threshold_of
from alertdrill.verdict import Finding, Reason, Verdict
from tests.cli.project import ROOT
from tests.trip.planted import HALF_FAIL, PAIR, SHARES, Planted, above

FIVE_PERCENT = Threshold("errors", ">", 0.05)


# Of a drill in which a fifth of the requests fail.
FIFTH = Pair("High", replace(HALF_FAIL, fault=HALF_FAIL.fault.dosed(0.2)))
UP_TO_40 = dose_axis(FIFTH.drill.fault, 0.01)


def compared_with(threshold: Threshold) -> TripPoint:
    """A rule that does what its threshold says: the value is twice the dose."""
    probe = Planted(lambda dose: threshold.is_met_by(2 * dose))
    return TripPoint(FIFTH, search(UP_TO_40, probe, most_probes=50), threshold)


def test_a_rule_that_follows_its_threshold_passes() -> None:
    point = compared_with(FIVE_PERCENT)
    assert point.verdict is Verdict.PASS
    assert point.crosses_at == pytest.approx(0.025)
    assert point.sentence() == (
        "High fires from 2.78 % on (share of requests), and stays quiet up to 2.19 %; "
        "its expression gets to the threshold (> 0.05) at about 2.5 %"
    )


def test_a_rule_that_wavers_below_its_for_is_told_from_one_that_stays_below_its_threshold() -> None:
    """Noise: the mean is above the threshold already, but never for as long as `for`."""
    probe = Planted(lambda dose: dose > 0.1)
    point = TripPoint(FIFTH, search(UP_TO_40, probe, most_probes=4), Threshold("errors", ">", 0.01))
    assert point.crosses_at is None
    assert point.sentence().endswith(
        "; the mean of its expression is > 0.01 at every dose that was tried"
    )


def test_a_threshold_ten_times_as_high_trips_far_above_and_fails_the_drill() -> None:
    """The planted defect; its twin is above."""
    point = compared_with(Threshold("errors", ">", 0.5))
    assert point.finding is not None
    assert point.finding.reason is Reason.ALERT_DID_NOT_FIRE
    assert point.verdict is Verdict.FAIL
    assert point.search.fires_from == pytest.approx(0.25, abs=0.011)
    assert "fires only from 25.6 % on; 'half the requests fail' expects it at 20 %" in (
        point.finding.message
    )


def test_never_firing_fails_where_the_table_expects_it_and_only_there() -> None:
    found = search(SHARES, above(2.0), most_probes=50)
    expected = TripPoint(PAIR, found, None)
    assert expected.verdict is Verdict.FAIL
    assert expected.sentence() == "High stays quiet up to 100 % (share of requests)"
    assert TripPoint(Pair("Other", HALF_FAIL), found, None).verdict is Verdict.PASS


def test_what_is_not_monotone_is_unknown() -> None:
    found = search(SHARES, Planted(lambda dose: dose < 0.8), most_probes=50)
    point = TripPoint(PAIR, found, FIVE_PERCENT)
    assert point.finding is not None
    assert point.finding.reason is Reason.NOT_MONOTONE
    assert "fires at 50 % and stays quiet at 100 %" in point.finding.message
    assert point.verdict is Verdict.UNKNOWN


def test_what_broke_off_is_unknown_and_says_why() -> None:
    point = TripPoint(PAIR, Search(SHARES, (), Finding(Reason.NO_TRAFFIC, "nobody came")), None)
    assert point.verdict is Verdict.UNKNOWN
    assert point.sentence() == "High: no dose could be given"
    assert point.document()["finding"]["reason"] == "no_traffic"


def test_an_alert_that_fires_at_every_dose_has_no_quiet_one() -> None:
    found = search(SHARES, Planted(lambda _: True), most_probes=50)
    assert "at every dose that was tried" in TripPoint(PAIR, found, FIVE_PERCENT).sentence()


# --- thresholds --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "worst", "symbol", "value"),
    [
        (
            "sum(rate(a[5m])) / sum(rate(b[5m])) > 0.05",
            "max(sum(rate(a[5m])) / sum(rate(b[5m])))",
            ">",
            0.05,
        ),
        ("(free / size < 10 / 100)", "min(free / size)", "<", 0.1),
    ],
)
def test_the_side_that_varies_is_asked_for_as_it_is_written(
    expr: str, worst: str, symbol: str, value: float
) -> None:
    found = threshold_of(expr)
    assert found is not None
    assert (found.worst, found.symbol) == (worst, symbol)
    assert found.value == pytest.approx(value)


@pytest.mark.parametrize(
    "expr", ["absent(up)", "up == 0", "a > 1 or b > 2", "a > b", "a > 1 unless b > 2", "1 >"]
)
def test_what_is_no_single_comparison_has_no_threshold(expr: str) -> None:
    assert threshold_of(expr) is None


def test_the_shipped_rules_thresholds_are_read() -> None:
    rules = load_original(load_config(ROOT)).alerts
    read = {name: str(threshold_of(rule.expr)) for name, rule in rules.items()}
    assert read == {
        "Watchdog": "None",
        "HighErrorRate": "> 0.05",
        "SyncLatencyHigh": "> 5",
        "DatabaseConnectionPoolExhausted": ">= 0.95",
        "NoSuccessfulSyncs": "None",
        "ApiErrorRateHigh": "> 0.05",
        "ApiLatencyHigh": "> 0.2",
        "ReplicationLagHigh": "> 5",
        "ClockSkewed": "> 5",
        "CardinalityExplosion": "> 1000",
        "TargetMissing": "None",
        "LogsNotStored": "None",
        "UpstreamUnavailable": "> 0.25",
        "APIUnavailable": "None",
    }


# --- pairs -------------------------------------------------------------------------------------

TWIN = replace(HALF_FAIL, title="again half", fires=frozenset({"Third"}))
QUIET = replace(HALF_FAIL, title="a few", fires=frozenset(), may_fire=frozenset())
KNOWN = ("High", "Other", "Third", "Fourth")


@pytest.mark.parametrize(
    "name", ["half the requests fail", "Half the requests FAIL", "half-the-requests-fail"]
)
def test_a_drill_is_found_by_title_and_id(name: str) -> None:
    assert find_pair("High", name, [HALF_FAIL, TWIN], KNOWN) == PAIR


def test_a_drill_is_found_by_its_fault_where_only_one_has_it() -> None:
    for drills in ([HALF_FAIL], [QUIET, HALF_FAIL], [HALF_FAIL, TWIN]):
        assert find_pair("High", "http_status(github)", drills, KNOWN) == PAIR
    with pytest.raises(UsageError, match="several drills: 'half the requests fail', 'again half'"):
        find_pair("Other", "http_status(github)", [HALF_FAIL, TWIN], KNOWN)


@pytest.mark.parametrize(
    ("alert", "fault", "words"),
    [
        ("Nope", "again half", "no rule defines Nope; the rules define Fourth, High"),
        ("High", "nope", "no drill is called 'nope' .* there are 'half the requests fail'"),
        ("High", "again half", "doesn't expect High to fire.*it expects Other, Third"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(alert: str, fault: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        find_pair(alert, fault, [HALF_FAIL, TWIN], KNOWN)


def test_all_pairs_are_those_that_the_table_lets_fire() -> None:
    drill = replace(HALF_FAIL, inhibited=frozenset({"NoRule"}))
    assert [(p.alert, p.must_fire) for p in pairs_of([drill], KNOWN)] == [
        ("High", True),
        ("Other", False),
    ]


# --- replay ------------------------------------------------------------------------------------


def test_a_replay_that_never_fires_fails_where_it_must() -> None:
    assert Replayed(PAIR, 3600.0).verdict is Verdict.FAIL
    assert Replayed(Pair("Other", HALF_FAIL), 3600.0).verdict is Verdict.PASS
    assert Replayed(PAIR, unknown="the drill was not recorded").verdict is Verdict.UNKNOWN
    tripped = Replayed(PAIR, 3600.0, 285.0, 0.13)
    assert tripped.verdict is Verdict.PASS
    assert tripped.sentence() == (
        "in its replay High fires when the fault lasts for 4m45s, "
        "and when at least 13% of the traffic meet it to the end"
    )
