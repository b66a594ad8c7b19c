"""Both judges with the real programs: what Prometheus and promtool themselves say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from alertdrill.errors import ComponentNotReady
from alertdrill.rules import project
from alertdrill.rules.model import load_rules
from alertdrill.rules.prometheus import Prometheus, QueryFailed
from alertdrill.rules.promtool import Promtool, open_promtool
from alertdrill.rules.replay.answers import Answer, Options
from alertdrill.rules.replay.backfill import requests
from alertdrill.rules.replay.command import replay
from alertdrill.rules.replay.compare import compare
from alertdrill.rules.replay.expect import Expectation, Limit
from alertdrill.rules.replay.judge import AT_SCRAPE, PHASES, Judge, Judged
from alertdrill.rules.replay.model import History, LabelSet, Span, State, Values
from alertdrill.rules.replay.promtool_judge import Case, cases, check
from alertdrill.rules.replay.ruleset import RuleSet
from alertdrill.rules.replay.segments import Segments, save
from alertdrill.rules.replay.soundness import Why
from alertdrill.rules.replay.virtual import virtual_verdicts
from alertdrill.verdict import Verdict
from alertdrill.wait import eventually
from tests.rules_replay.judges_data import (
    FAULTS,
    INTERVAL_S,
    ROOT,
    history,
    labels,
    rule_set,
    segments,
    spoken_of,
)

pytestmark = pytest.mark.docker

DETECTS = {
    "errors": "HighErrorRate",
    "slow": "SyncLatencyHigh",
    "upstream": "UpstreamUnavailable",
    "pool": "DatabaseConnectionPoolExhausted",
    "down": "APIUnavailable",
}


@dataclass(frozen=True)
class Programs:
    prometheus: Path
    promtool: Path


@pytest.fixture(scope="session")
def programs() -> Programs:
    return Programs(project.prometheus(), project.promtool())


@pytest.fixture(scope="module")
def server(programs) -> Iterator[Prometheus]:
    with Prometheus(programs.prometheus, evaluation_interval_s=30.0) as running:
        yield running


@pytest.fixture(scope="module")
def promtool(programs) -> Iterator[Promtool]:
    with open_promtool(programs.promtool) as running:
        yield running


# A judge has a server of its own: two would write into each other's time.
@pytest.fixture(scope="module")
def shipped(programs, tmp_path_factory) -> Iterator[tuple[RuleSet, Judge]]:
    rules = rule_set(spoken_of(tmp_path_factory.mktemp("rules")), interval_s=30.0)
    with Prometheus(programs.prometheus, evaluation_interval_s=30.0) as own:
        yield rules, Judge(own, rules)


@pytest.fixture
def judged_by(programs, promtool, tmp_path):
    """Judge ``text``, rules, on a history with both; fails where the two differ."""

    def run(text: str, of: History, *, interval_s: float = 30.0) -> Judged:
        path = tmp_path / "rules.yml"
        path.write_text(text)
        rules = RuleSet((load_rules(path),), interval_s)
        with Prometheus(programs.prometheus, evaluation_interval_s=interval_s) as own:
            found = Judge(own, rules).judge(of)
        timelines = {name: by_phase[0] for name, by_phase in found.timelines.items()}
        for case in cases("c", of, rules, timelines):
            (said,) = check(promtool, rules, [(case, timelines)])
            assert compare(case, timelines, said) == {}
        return found

    return run


def alert_rules(*alerts: str, interval: str = "30s") -> str:
    lines = "\n".join(f"      - {alert}" for alert in alerts)
    return f"groups:\n  - name: g\n    interval: {interval}\n    rules:\n{lines}\n"


def gauge(values: Values, **more: str) -> dict[LabelSet, Values]:
    return {labels("g", **more): values}


def made(*series: dict[LabelSet, Values]) -> History:
    return History(INTERVAL_S, {k: v for one in series for k, v in one.items()}, ())


def states(judged: Judged, alert: str, phase: int = 0) -> list[tuple[str, float, float]]:
    (spans,) = judged.timelines[alert][phase].spans.values()
    return [(span.state.value, span.start_s, span.end_s) for span in spans]


# --- the server ----------------------------------------------------------------------------------


def test_what_was_written_is_read_back_exactly(server):
    values = np.array([0.1, 1e300, -0.0, np.nan, np.inf, 2**53 + 2.0])
    base = 1_200_000_000_000
    for body in requests({labels("exact"): values}, base, 15_000):
        server.write(body)
    (answer,) = server.query_range("exact", base, base + 75_000, 15_000)
    assert answer.labels == dict(labels("exact"))
    assert answer.times_ms.tolist() == [base + i * 15_000 for i in (0, 1, 2, 4, 5)]
    assert answer.values.tolist() == [0.1, 1e300, 0.0, np.inf, 2**53 + 2.0]


def test_a_stale_marker_ends_a_series_at_once(server):
    values = np.array([1.0, np.nan, np.nan])
    base = 1_210_000_000_000
    for body in requests({labels("ends"): values}, base, 15_000):
        server.write(body)
    (answer,) = server.query_range("ends", base, base + 30_000, 1000)
    assert answer.times_ms[-1] == base + 14_000


def test_data_survives_a_restart(programs):
    base = 1_220_000_000_000
    with Prometheus(programs.prometheus) as own:
        for body in requests({labels("kept"): np.arange(300.0)}, base, 15_000):
            own.write(body)
        own.restart()
        (answer,) = own.query_range("kept", base, base + 299 * 15_000, 15_000)
        assert answer.values.tolist() == list(range(300))
        for body in requests({labels("kept"): np.ones(3)}, base + 10_000_000, 15_000):
            own.write(body)


def test_prometheus_own_words_for_what_it_cannot_evaluate(server):
    with pytest.raises(QueryFailed, match="parse error"):
        server.query_range("sum(", 0, 1000, 1000)


def test_a_program_that_is_no_prometheus_is_said():
    begun = time.monotonic()
    with pytest.raises(ComponentNotReady, match="did not start"), Prometheus(Path("/bin/true")):
        pass
    assert time.monotonic() - begun < 10.0  # it ended, nobody waits for it


_ORPHAN = """
import sys, time
from pathlib import Path
from alertdrill.rules.prometheus import Prometheus
with Prometheus(Path(sys.argv[1])) as own:
    print(own._child.scratch, flush=True)
    time.sleep(60)
"""


def test_a_killed_parent_leaves_nothing(programs):
    parent = subprocess.Popen(
        [sys.executable, "-c", _ORPHAN, str(programs.prometheus)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert parent.stdout is not None
    folder = Path(parent.stdout.readline().strip())
    assert (folder / "data").is_dir()
    parent.kill()
    parent.wait(timeout=10)
    # Its data is removed only after it has ended.
    eventually(lambda: not folder.exists(), timeout_s=20.0, what="Prometheus to end")


# --- both judges ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
def test_the_judges_agree_on_the_shipped_rules(fault, shipped, promtool):
    rules, judge = shipped
    found = judge.judge(history(1800, 1200, 1800, fault))
    assert found.unjudged == {}
    timelines = {name: by_phase[0] for name, by_phase in found.timelines.items()}
    (case,) = cases(fault, history(1800, 1200, 1800, fault), rules, timelines)
    (said,) = check(promtool, rules, [(case, timelines)])
    assert compare(case, timelines, said) == {}
    fired = {name for name, one in timelines.items() if one.first(State.FIRING) is not None}
    also = {"NoSuccessfulSyncs"} if fault == "down" else set()
    assert fired == {DETECTS[fault], *also}


def test_a_wrong_timeline_is_not_confirmed(shipped, promtool):
    """The clean twin of the above: promtool's word is really heard."""
    rules, judge = shipped
    of = history(1800, 1200, 1800, "down")
    timelines = {name: one[0] for name, one in judge.judge(of).timelines.items()}
    right = timelines["APIUnavailable"]
    ((label_set, (pending, firing)),) = right.spans.items()
    wrong = (
        {label_set: (pending,)},
        {label_set: (pending, replace(firing, end_s=firing.end_s + 30.0))},
        {label_set: (Span(State.FIRING, pending.start_s, firing.end_s),)},
        {(*label_set, ("zone", "x")): (pending, firing)},
        {},
    )
    (case,) = cases("c", of, rules, timelines)
    for spans in wrong:
        claimed = {**timelines, "APIUnavailable": replace(right, spans=spans)}
        (said,) = check(promtool, rules, [(case, claimed)])
        found = compare(case, claimed, said)
        assert set(found) == {"APIUnavailable"}
        assert found["APIUnavailable"].why is Why.JUDGES_DISAGREE
        assert "pending 1800-1920, firing 1920-3000 s" in found["APIUnavailable"].message


def test_for_and_keep_firing_for(judged_by):
    values = np.zeros(80)
    values[10:14] = values[20:40] = values[44:50] = 1
    found = judged_by(
        alert_rules(
            "{alert: AtOnce, expr: g > 0}",
            "{alert: For, expr: g > 0, for: 2m}",
            "{alert: Kept, expr: g > 0, for: 2m, keep_firing_for: 3m}",
            "{alert: Odd, expr: g > 0, for: 100s, keep_firing_for: 70s}",
        ),
        made(gauge(values)),
    )
    assert states(found, "AtOnce") == [
        ("firing", 150, 210),
        ("firing", 300, 600),
        ("firing", 660, 750),
    ]
    assert states(found, "For") == [
        ("pending", 150, 210),
        ("pending", 300, 420),
        ("firing", 420, 600),
        ("pending", 660, 750),
    ]
    assert states(found, "Kept")[-1] == ("firing", 420, 930)
    assert states(found, "Odd")[2:] == [("firing", 420, 750 + 90)]


def test_phases_see_other_scrapes(judged_by):
    values = np.zeros(40)
    values[11] = 1  # between two evaluations of the first phase
    found = judged_by(alert_rules("{alert: A, expr: g > 0}"), made(gauge(values)))
    seen = [phase for phase, one in zip(PHASES, found.timelines["A"], strict=True) if one.spans]
    assert [phase.share for phase in seen] == [0.5, 0.75]


def test_an_absent_series_ends_its_alert_at_once(judged_by):
    nan = np.nan
    values = np.concatenate((np.ones(20), np.full(20, nan), np.ones(20)))
    found = judged_by(
        alert_rules("{alert: There, expr: g > 0}", "{alert: Gone, expr: absent(g)}"),
        made(gauge(values), {labels("up"): np.ones(60)}),
    )
    assert states(found, "There") == [("firing", 0, 300), ("firing", 600, 900)]
    assert states(found, "Gone") == [("firing", 300, 600)]


def test_label_sets_have_timelines_of_their_own(judged_by):
    a, b = np.zeros(60), np.zeros(60)
    a[10:30], b[20:50] = 1, 1
    found = judged_by(
        alert_rules(
            "{alert: A, expr: g > 0, for: 1m, labels: {severity: page, of: 'x/{{ $labels.z }}'}}"
        ),
        made(gauge(a, z="1"), gauge(b, z='quo"te\\ ü')),
    )
    spans = {dict(k)["of"]: v for k, v in found.timelines["A"][0].spans.items()}
    assert {of: own[-1].end_s for of, own in spans.items()} == {"x/1": 450, 'x/quo"te\\ ü': 750}


def test_two_rules_of_one_name(judged_by):
    values = np.repeat([0.0, 1.0, 2.0, 0.0], 20)
    found = judged_by(
        alert_rules(
            "{alert: A, expr: g > 0, labels: {severity: warning}}",
            "{alert: A, expr: g > 1, labels: {severity: page}}",
        ),
        made(gauge(values)),
    )
    ends = {
        dict(k)["severity"]: (v[0].start_s, v[0].end_s)
        for k, v in found.timelines["A"][0].spans.items()
    }
    assert ends == {"warning": (300, 900), "page": (600, 900)}


RECORDINGS = alert_rules(
    "{record: 'job:g:max', expr: max by (job) (g)}",
    "{record: 'job:g:avg', expr: 'avg_over_time(job:g:max[5m])'}",
    "{alert: Direct, expr: max by (job) (g) > 0, for: 1m}",
    "{alert: Recorded, expr: 'job:g:max > 0', for: 1m}",
    "{alert: Chain, expr: 'job:g:avg > 0.5 and on (job) up == 1'}",
    "{alert: Gone, expr: 'absent(job:g:max)'}",
)


def test_recorded_series_are_those_of_the_rules(judged_by):
    values = np.concatenate((np.zeros(30), np.ones(40), np.full(10, np.nan), np.zeros(40)))
    planted = {labels("job:g:max"): np.full(120, 7.0)}  # recorded live, on another clock
    found = judged_by(RECORDINGS, made(gauge(values), {labels("up"): np.ones(120)}, planted))
    for phase in range(len(PHASES)):
        assert states(found, "Recorded", phase) == states(found, "Direct", phase)
        shift = PHASES[phase].of_ms(30.0) / 1000
        assert states(found, "Gone", phase)[0][1] in (1050, 1050 + shift, 1020 + shift)
    (kind, start, end) = states(found, "Chain")[0]
    assert kind == "firing"
    assert 540 < start < 720
    assert end > 1050


def test_what_prometheus_refuses_is_unknown(judged_by):
    values = np.ones(20)
    found = judged_by(
        alert_rules(
            "{alert: Many, expr: g + on (job) g > 0}",
            '{alert: Same, expr: \'label_replace(g, "z", "1", "", "") > 0\'}',
            "{alert: Fine, expr: g > 0}",
            "{alert: Templated, expr: g > 0, labels: {v: '{{ $value }}'}}",
        ),
        made(gauge(values, z="1"), gauge(values, z="2")),
    )
    assert {name: one.why for name, one in found.unjudged.items()} == {
        "Many": Why.EVALUATION_FAILS,
        "Same": Why.EVALUATION_FAILS,
        "Templated": Why.TEMPLATED_LABEL,
    }
    assert set(found.timelines) == {"Fine"}


def test_promtool_hears_of_rules_that_fail(shipped, promtool, tmp_path):
    """Were judge A blind to it, promtool's error would still be seen."""
    path = tmp_path / "rules.yml"
    path.write_text(alert_rules("{alert: Many, expr: g + on (job) g > 0}"))
    rules = RuleSet((load_rules(path),), 30.0)
    of = made(gauge(np.ones(20), z="1"), gauge(np.ones(20), z="2"))
    blind = {"Many": shipped[1].judge(of).timelines["HighErrorRate"][0]}
    (said,) = check(promtool, rules, [(Case("c", of, ("Many",), 30.0), blind)])
    assert "Many at 0s" in said.errors[0]


def test_histories_do_not_see_each_other(shipped):
    _, judge = shipped
    first = judge.judge(history(1800, 1200, 1800, "errors"), phases=(AT_SCRAPE,))
    judge.judge(history(1800, 1200, 0, "down"), phases=(AT_SCRAPE,))
    again = judge.judge(history(1800, 1200, 1800, "errors"), phases=(AT_SCRAPE,))
    assert again == first


# --- answers -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded() -> Segments:
    pairs = {f"drill-{fault}": segments(fault) for fault in FAULTS}
    return Segments(
        {drill: healthy for drill, (healthy, _) in pairs.items()},
        {drill: broken for drill, (_, broken) in pairs.items()},
    )


def expectation(fault: str, **changes: object) -> Expectation:
    values: dict[str, object] = {
        "segment": fault,
        "fault": fault,
        "duration_s": 1800.0,
        "fires": frozenset({DETECTS[fault]}),
        "may_fire": frozenset({"NoSuccessfulSyncs"} if fault == "down" else ()),
    }
    return Expectation(**{**values, **changes})


@pytest.fixture(scope="module")
def answered(programs, recorded, tmp_path_factory):
    shipped = rule_set(spoken_of(tmp_path_factory.mktemp("rules")), interval_s=30.0)

    def run(*table: Expectation, rules: RuleSet | None = None, trips: bool = False):
        found = virtual_verdicts(
            rules or shipped,
            recorded,
            table,
            prometheus=programs.prometheus,
            promtool=programs.promtool,
            options=Options(healthy_s=7200.0, trips=trips),
        )
        return {(one.alert, one.segment, one.blip): one for one in found}

    return run


def test_what_the_shipped_alerts_would_have_done(answered):
    found = answered(*map(expectation, FAULTS), trips=True)
    assert {one.verdict for one in found.values()} == {Verdict.PASS}
    assert len(found) == 6 * (len(FAULTS) + 1)
    down = found["APIUnavailable", "down", False]
    # One scrape, one evaluation, and `for`, whatever the phase; up is 1 again after a scrape.
    assert 120 < down.fires_after_s <= 15 + 30 + 120
    assert 0 < down.resolves_after_s <= 15 + 30
    assert down.trip_s in (120, 135, 150)
    assert down.dose is None
    errors = found["HighErrorRate", "errors", False]
    assert 300 < errors.fires_after_s <= 300 + 300 + 45
    # 30 % of the operations fail; the threshold of 5 % is a sixth of that.
    assert errors.dose == pytest.approx(0.17, abs=0.01)


def expected_of(answer: Answer) -> tuple[Verdict, str | None]:
    return answer.verdict, answer.reason


def test_an_alert_that_can_never_fire_fails(answered, tmp_path):
    """Planted: the classic of a histogram without rate(), and its threshold in milliseconds."""
    path = tmp_path / "r.yml"
    path.write_text(
        alert_rules(
            "{alert: SyncLatencyHigh, for: 10m, expr: 'histogram_quantile(0.95, "
            "sum by (le) (rate(sync_duration_seconds_bucket[5m]))) > 5000'}"
        )
    )
    rules = RuleSet((load_rules(path),), 30.0)
    (answer,) = (
        one for key, one in answered(expectation("slow"), rules=rules).items() if key[1] == "slow"
    )
    assert expected_of(answer) == (Verdict.FAIL, "alert_did_not_fire")
    assert "it never was pending" in answer.message


@pytest.mark.parametrize(
    ("changes", "alert", "reason", "word"),
    [
        (
            {"limits": {"HighErrorRate": Limit(300.0, None)}},
            "HighErrorRate",
            "alert_did_not_fire",
            "later than its limit (300 s)",
        ),
        (
            {"limits": {"HighErrorRate": Limit(None, 60.0)}},
            "HighErrorRate",
            "alert_did_not_resolve",
            "later than its limit (60 s)",
        ),
        ({"fires": frozenset()}, "HighErrorRate", "unexpected_alert", "fired"),
        ({"duration_s": 60.0}, "HighErrorRate", "alert_did_not_fire", "did not fire"),
    ],
)
def test_an_alert_that_does_otherwise_fails(answered, changes, alert, reason, word):
    answer = answered(expectation("errors", **changes))[alert, "errors", False]
    assert expected_of(answer) == (Verdict.FAIL, reason)
    assert word in answer.message


def test_a_short_fault_must_fire_nothing(answered):
    found = answered(expectation("errors", blip_s=30.0))
    assert found["HighErrorRate", "errors", True].verdict is Verdict.PASS
    found = answered(expectation("errors", blip_s=600.0))
    answer = found["HighErrorRate", "errors", True]
    assert expected_of(answer) == (Verdict.FAIL, "unexpected_alert")
    assert found["HighErrorRate", "errors", False].verdict is Verdict.PASS


def test_an_alert_that_fires_on_healthy_times_fails(answered, tmp_path):
    path = tmp_path / "r.yml"
    expr = "sum(rate(sync_operations_total[5m])) > 0"
    path.write_text(alert_rules(f"{{alert: HighErrorRate, expr: '{expr}'}}"))
    found = answered(expectation("errors"), rules=RuleSet((load_rules(path),), 30.0))
    assert {expected_of(one) for one in found.values()} == {(Verdict.FAIL, "alert_without_fault")}


def test_what_cannot_be_judged_is_unknown(answered, tmp_path):
    path = tmp_path / "r.yml"
    path.write_text(
        alert_rules(
            "{alert: Slope, expr: 'deriv(db_connection_pool_in_use[5m]) > 1'}",
            "{alert: NoData, expr: 'rate(nothing_total[5m]) > 1'}",
            "{alert: Sound, expr: 'up == 0', for: 2m}",
        )
    )
    found = answered(
        expectation("errors", fires=frozenset()), rules=RuleSet((load_rules(path),), 30.0)
    )
    assert {key[0]: expected_of(one) for key, one in found.items()} == {
        "Slope": (Verdict.UNKNOWN, "unsound_on_tiles"),
        "NoData": (Verdict.UNKNOWN, "no_data"),
        "Sound": (Verdict.PASS, None),
    }


def test_a_rule_in_newer_promql_concerns_no_other(answered, tmp_path):
    path = tmp_path / "r.yml"
    path.write_text(
        alert_rules(
            "{alert: New, expr: 'up > 1_000'}",
            "{record: 'new:up', expr: 'up > 1_000'}",
            "{alert: ReadsNew, expr: 'new:up == 0'}",
            "{alert: Sound, expr: 'up == 0', for: 2m}",
        )
    )
    found = answered(
        expectation("errors", fires=frozenset({"New"})), rules=RuleSet((load_rules(path),), 30.0)
    )
    assert {key[0]: expected_of(one) for key, one in found.items()} == {
        "New": (Verdict.UNKNOWN, "not_understood"),
        "ReadsNew": (Verdict.UNKNOWN, "not_understood"),
        "Sound": (Verdict.PASS, None),
    }
    assert found["New", "errors", False].expected == "fires"
    assert "promtool accepts it" in found["New", "errors", False].message


def test_a_window_of_a_day_and_one_of_minutes(answered, tmp_path):
    path = tmp_path / "r.yml"
    path.write_text(
        alert_rules(
            '{alert: HighErrorRate, expr: \'sum(rate(sync_operations_total{status="error"}[1d]))'
            " / sum(rate(sync_operations_total[1d])) > 0.001'}",
            "{alert: Short, expr: 'up == 0', for: 2m}",
        )
    )
    found = answered(expectation("errors"), rules=RuleSet((load_rules(path),), 30.0))
    assert {one.verdict for one in found.values()} == {Verdict.PASS}
    # Nearly a day until the window holds no error any more.
    assert found["HighErrorRate", "errors", False].resolves_after_s > 80_000


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def run(programs, recorded, tmp_path, monkeypatch):
    for folder in (programs.prometheus.parent, programs.promtool.parent):
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    for segment in (*recorded.healthy.values(), *recorded.faults.values()):
        save(segment, tmp_path / "segments")
    app = typer.Typer()
    app.command()(replay)

    def call(table: str, *arguments: str):
        (tmp_path / "expect.yml").write_text(table)
        words = [
            str(spoken_of(tmp_path)),
            "--segments",
            "segments",
            "--expect",
            "expect.yml",
            "--history",
            "1h",
        ]
        return CliRunner().invoke(app, [*words, *arguments])

    return call


TABLE = "faults:\n  errors: {for: 30m, fires: [HighErrorRate]}\n  down: {for: 30m, fires: [%s]}\n"


def test_the_command_passes(run):
    result = run(TABLE % "APIUnavailable, NoSuccessfulSyncs")
    assert result.exit_code == 0, result.output
    assert "HighErrorRate" in result.stdout
    assert "verdict: pass (18 pass, 0 fail, 0 unknown)" in result.stdout


def test_the_command_fails(run):
    result = run(TABLE % "APIUnavailable", "--format", "json", "--no-trips", "-k", "DOWN")
    assert result.exit_code == 1, result.output
    document = json.loads(result.stdout)
    assert document["verdict"] == "fail"
    wrong = [one for one in document["answers"] if one["verdict"] == "fail"]
    assert [(one["alert"], one["segment"]) for one in wrong] == [("NoSuccessfulSyncs", "down")]


def test_a_segment_cut_short_concerns_its_fault_alone(run, tmp_path):
    table = (TABLE % "APIUnavailable, NoSuccessfulSyncs").replace("  down:", "  drill-down:")
    assert run(table, "--no-trips").exit_code == 0
    path = tmp_path / "segments/drill-down--fault.om.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    result = run(table, "--no-trips", "--format", "json")
    assert result.exit_code == 3, result.output
    answers = json.loads(result.stdout)["answers"]
    assert {(one["segment"], one["verdict"], one["reason"]) for one in answers} == {
        ("healthy", "pass", None),
        ("errors", "pass", None),
        ("drill-down", "unknown", "broken_segment"),
    }
    assert "drill-down--fault.om.gz" in result.stderr
    assert "drill-down--fault.om.gz" in answers[-1]["message"]


def test_the_command_compares_with_live_drills(run, tmp_path):
    alerts = [{"name": "HighErrorRate", "firing_s": None}]
    drill = {"id": "x", "fault": "errors", "verdict": "pass", "heal_s": 30.0, "alerts": alerts}
    document = {"clock": {"factor": 60.0}, "drills": [drill]}
    (tmp_path / "verdict.json").write_text(json.dumps(document))
    result = run(
        TABLE % "APIUnavailable, NoSuccessfulSyncs", "--no-trips", "--live", "verdict.json"
    )
    assert result.exit_code == 3, result.output
    assert "live drill x: HighErrorRate fires" in result.stdout
    assert "live drills agree on 5 of 6" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--alert", "Nobody"), "--alert Nobody: no rule defines it"),
        (("-k", "nobody"), "'nobody' is in the name of no fault"),
        (("--history", "soon"), "--history: not a duration"),
        (("--format", "xml"), "--format is text or json"),
        (("--live", "none.json"), "is no verdict.json"),
    ],
)
def test_wrong_usage_is_one_sentence(run, arguments, words):
    result = run(TABLE % "APIUnavailable", "--no-trips", *arguments)
    assert type(result.exception).__name__ == "UsageError"
    assert words in str(result.exception)
