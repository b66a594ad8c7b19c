"""Replays kill what they would notice, say how, and count apart what leaves no trace on them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from alertdrill.errors import UsageError
from alertdrill.rules.mutation.by_replay import Replays, open_replays, read_recorded
from alertdrill.rules.mutation.command import Format, _recorded, run_mutation
from alertdrill.rules.mutation.killer import Indistinguishable, Killed, Outcome, Survived
from alertdrill.rules.mutation.mutants import Mutant, Source, read_source
from alertdrill.rules.project import prometheus
from alertdrill.rules.promtool import Stopped, open_promtool
from alertdrill.rules.replay.answers import Options
from alertdrill.rules.replay.command import rules_of
from alertdrill.rules.replay.expect import load_expectations
from alertdrill.rules.replay.segments import load_segments, save
from alertdrill.rules.replay.virtual import virtual_verdicts
from alertdrill.verdict import Verdict
from tests.rules_replay.judges_data import segments

DOWN = """\
groups:
  - name: g
    interval: 30s
    labels: {team: hub}
    rules:
      - alert: Down
        expr: up{job="bakhmach-app"} == 0
        for: 2m
        labels:
          severity: critical
        annotations:
          summary: The hub is down
"""
DOWN_TABLE = """\
alerts:
  Down: {within: 4m, resolved_within: 2m}
faults:
  down: {for: 30m, blip: 1m, fires: [Down]}
  errors: {for: 30m}
"""
RECORDED = """\
groups:
  - name: g
    interval: 30s
    rules:
      - record: errors:ratio_rate5m
        expr: >-
          sum(rate(sync_operations_total{status="error"}[5m]))
          / sum(rate(sync_operations_total[5m]))
      - alert: Errors
        expr: errors:ratio_rate5m > 0.05
        for: 5m
"""
RECORDED_TABLE = """\
alerts:
  Errors: {within: 8m, resolved_within: 6m}
faults:
  errors: {for: 30m, blip: 30s, fires: [Errors]}
  slow: {for: 30m}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Invented segments of three faults."""
    found = tmp_path_factory.mktemp("segments")
    for fault in ("down", "errors", "slow"):
        for segment in segments(fault):
            save(segment, found)
    return found


@pytest.fixture
def replaying(write, folder, promtool) -> Callable[..., object]:
    """Open replays of a rule file, whose alerts must have ``labels``."""

    @contextmanager
    def opened(
        rules: str,
        table: str,
        *,
        alone: bool = True,
        labels: Mapping[str, Mapping[str, str]] | None = None,
    ) -> Iterator[tuple[Source, Replays]]:
        path = write("rules.yml", rules)
        recorded = read_recorded([path], folder, write("expect.yml", table), None)
        source = read_source(path)
        with (
            open_promtool(promtool) as tool,
            open_replays(
                replace(recorded, labels=labels or {}),
                [source],
                prometheus=prometheus(),
                promtool=tool,
                alone=alone,
            ) as replays,
        ):
            yield source, replays

    return opened


def judged(source: Source, replays: Replays) -> dict[Mutant, Outcome]:
    assert replays.failing == ()
    mutants = [mutant for mutant in source.mutants if not mutant.equivalent]
    return dict(replays.killers[0].kills(mutants))


def by_change(source: Source, outcomes: Mapping[Mutant, Outcome]) -> dict[str, Outcome]:
    """Outcomes by operator and the lines that were put in, or taken out where none was."""
    found = {}
    for mutant, outcome in outcomes.items():
        lines = source.diff(mutant).splitlines()
        put_in = [line[1:].strip() for line in lines if line.startswith("+")]
        out = [line[1:].strip() for line in lines if line.startswith("-")]
        found[" ".join((mutant.operator, *(put_in or out)))] = outcome
    return found


@pytest.mark.docker
def test_a_kill_names_the_fault_and_what_changed(replaying):
    labels = {"Down": {"severity": "critical", "team": "hub"}}
    with replaying(DOWN, DOWN_TABLE, labels=labels) as (source, replays):
        found = by_change(source, judged(source, replays))
    late = found["for for: 4m"]
    assert isinstance(late, Killed)
    assert "replay of down: Down fired" in late.by
    assert "later than its limit (240 s)" in late.by
    assert "replay of down (short): Down fired" in found["for for: 0s"].by
    assert (
        "did not fire under a fault"
        in found['matcher negated expr: up{job!="bakhmach-app"} == 0'].by
    )
    assert "while all was healthy" in found['comparator expr: up{job="bakhmach-app"} != 0'].by
    renamed = found['metric renamed expr: up_renamed{job="bakhmach-app"} == 0'].by
    assert "no series of up_renamed was recorded" in renamed
    assert found["label dropped labels: severity: critical"] == Killed(
        "replay of down: Down fired with no severity instead of severity=critical"
    )
    # Invented series have no other target, and no history shows an annotation.
    same = Indistinguishable("the same timelines on all histories")
    assert found["matcher dropped expr: up == 0"] == same
    assert found["annotation dropped annotations: summary: The hub is down"] == same


@pytest.mark.docker
def test_only_labels_that_were_asked_for_kill(replaying):
    with replaying(DOWN, DOWN_TABLE) as (source, replays):
        found = by_change(source, judged(source, replays))
    assert found["label dropped labels: severity: critical"] == Survived()


@pytest.mark.docker
def test_beside_tests_a_trace_that_is_the_same_is_no_excuse(replaying):
    with replaying(DOWN, DOWN_TABLE, alone=False) as (source, replays):
        outcomes = judged(source, replays).values()
    assert {type(outcome) for outcome in outcomes} == {Killed, Survived}


@pytest.mark.docker
@pytest.mark.parametrize(
    ("rules", "table"), [(DOWN, DOWN_TABLE), (RECORDED, RECORDED_TABLE)], ids=["plain", "recorded"]
)
def test_each_is_killed_when_its_replay_would_not_pass(
    replaying, write, folder, promtool, rules, table
):
    """Against replays of the mutated files, which promtool judges, too."""
    with replaying(rules, table) as (source, replays):
        outcomes = judged(source, replays)
    assert {type(outcome) for outcome in outcomes.values()} > {Killed}
    assert {mutant.rule.is_alert for mutant in outcomes} == {"record:" not in rules, True}
    table_path = write("expect.yml", table)
    passed = {}
    for mutant in outcomes:
        answers = virtual_verdicts(
            rules_of([write("mutant.yml", source.mutated(mutant))]),
            load_segments(folder),
            load_expectations(table_path),
            prometheus=prometheus(),
            promtool=promtool,
            options=Options(healthy_s=3600.0, trips=False),
        )
        passed[mutant] = Verdict.worst(a.verdict for a in answers) is Verdict.PASS
    assert passed == {mutant: not isinstance(o, Killed) for mutant, o in outcomes.items()}


@pytest.mark.docker
def test_rules_that_fail_as_they_are_judge_nothing(replaying):
    table = DOWN_TABLE.replace("within: 4m", "within: 1m")
    with replaying(DOWN, table) as (_, replays):
        assert replays.killers == ()
        assert ["later than its limit (60 s)" in line for line in replays.failing] == [True]
    with replaying(DOWN, DOWN_TABLE, labels={"Down": {"severity": "warning"}}) as (_, replays):
        assert "severity=critical instead of severity=warning" in replays.failing[0]


@pytest.mark.docker
def test_mutants_of_an_alert_that_cannot_be_judged_survive(replaying):
    slope = "      - {alert: Slope, expr: 'deriv(db_connection_pool_in_use[5m]) > 100', for: 5m}\n"
    with replaying(DOWN + slope, DOWN_TABLE) as (source, replays):
        assert list(replays.unjudged) == ["Slope"]
        assert "deriv" in replays.unjudged["Slope"]
        own = {m: o for m, o in judged(source, replays).items() if m.rule.name == "Slope"}
    assert own
    assert set(own.values()) == {Survived()}


@pytest.mark.docker
def test_it_can_be_stopped(replaying):
    with replaying(DOWN, DOWN_TABLE) as (source, replays):
        killer = replays.killers[0]
        killer.stop()
        with pytest.raises(Stopped):
            killer.kills(source.mutants)


@pytest.mark.docker
def test_the_fingerprint_is_of_everything_that_is_read(replaying):
    with replaying(DOWN, DOWN_TABLE) as (_, one):
        first = one.killers[0].fingerprint
    with replaying(DOWN, DOWN_TABLE) as (_, same):
        assert same.killers[0].fingerprint == first
    with replaying(DOWN, DOWN_TABLE, alone=False) as (_, beside):
        assert beside.killers[0].fingerprint != first
    with replaying(DOWN, DOWN_TABLE.replace("blip: 1m", "blip: 30s")) as (_, other):
        assert other.killers[0].fingerprint != first


TEST = """\
rule_files: [rules.yml]
tests:
  - input_series:
      - {series: 'up{job="bakhmach-app"}', values: '0x20'}
    alert_rule_test:
      - eval_time: 5m
        alertname: Down
        exp_alerts:
          - exp_labels: {job: bakhmach-app, severity: critical, team: hub}
            exp_annotations: {summary: The hub is down}
"""


@pytest.mark.docker
def test_the_command_judges_by_tests_by_replays_and_by_both(
    write, folder, monkeypatch, tmp_path, capsys
):
    rules, table = write("rules.yml", DOWN), write("expect.yml", DOWN_TABLE)
    write("down.test.yml", TEST)
    recorded = _recorded([rules], folder, table, None)
    monkeypatch.setattr("alertdrill.rules.mutation.command.cache_folder", lambda: tmp_path / "c")

    def run(tests: list[str] | None, replays: bool) -> dict[str, object]:
        code = run_mutation(
            [rules],
            tests,
            recorded=recorded if replays else None,
            fail_under=None,
            output=Format.JSON,
            badge=None,
            resume=True,
            workers=2,
        )
        assert code == 0
        return json.loads(capsys.readouterr().out)

    tested = [str(tmp_path / "*.test.yml")]
    alone, only_tests, both = run(None, True), run(tested, False), run(tested, True)
    assert alone["indistinguishable"] > 0
    assert only_tests["indistinguishable"] == both["indistinguishable"] == 0
    assert both["killed"] > max(alone["killed"], only_tests["killed"])
    assert both["killed"] + both["survived"] == only_tests["killed"] + only_tests["survived"]
    assert alone["equivalent"] == both["equivalent"] == only_tests["equivalent"] == 1
    again = run(None, True)
    assert {**again, "seconds": 0} == {**alone, "seconds": 0}


@pytest.mark.docker
@pytest.mark.docker
def test_a_broken_test_file_is_said_and_stops_no_other(
    write, monkeypatch, tmp_path, capsys, promtool
):
    monkeypatch.setenv("PATH", f"{promtool.parent}{os.pathsep}{os.environ['PATH']}")
    rules = write("rules.yml", DOWN)
    write("down.test.yml", TEST)
    write("broken.test.yml", "rule_files: [rules.yml\ntests: []\n")
    monkeypatch.setattr("alertdrill.rules.mutation.command.cache_folder", lambda: tmp_path / "c")
    monkeypatch.chdir(tmp_path)
    code = run_mutation(
        [rules],
        None,
        fail_under=None,
        output=Format.JSON,
        badge=None,
        resume=True,
        workers=2,
    )
    printed = capsys.readouterr()
    assert (code, json.loads(printed.out)["killed"] > 2) == (0, True)
    said = [line for line in printed.err.splitlines() if "broken.test.yml:" in line]
    assert len(said) == 1
    assert said[0].startswith("not read: ")


@pytest.mark.docker
def test_a_badge_that_cannot_be_written_is_said_after_the_score(
    write, monkeypatch, tmp_path, capsys
):
    rules, tests = write("rules.yml", DOWN), write("down.test.yml", TEST)
    monkeypatch.setattr("alertdrill.rules.mutation.command.cache_folder", lambda: tmp_path / "c")
    with pytest.raises(UsageError, match="can't be written: No such file"):
        run_mutation(
            [rules, rules],
            [str(tests)],
            fail_under=None,
            output=Format.JSON,
            badge=tmp_path / "nowhere" / "badge.json",
            resume=True,
            workers=2,
        )
    assert len(json.loads(capsys.readouterr().out)["files"]) == 1


@pytest.mark.docker
@pytest.mark.parametrize("expr", ["up > 1_000", "nonsense(up)"])
def test_a_rule_in_newer_promql_concerns_no_other(
    expr, write, folder, monkeypatch, tmp_path, capsys
):
    rules = write("rules.yml", f"{DOWN}      - alert: New\n        expr: {expr}\n")
    write("down.test.yml", TEST)
    monkeypatch.setattr("alertdrill.rules.mutation.command.cache_folder", lambda: tmp_path / "c")
    table = write("expect.yml", DOWN_TABLE.replace("[Down]", "[Down, New]"))

    def run(fail_under: float | None) -> int:
        return run_mutation(
            [rules],
            [str(tmp_path / "*.test.yml")],
            recorded=_recorded([rules], folder, table, None),
            fail_under=fail_under,
            output=Format.JSON,
            badge=None,
            resume=True,
            workers=2,
        )

    if "nonsense" in expr:
        with pytest.raises(UsageError, match="New: not PromQL, says promtool"):
            run(None)
        return
    assert run(None) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["killed"] > 5
    assert [one["rule"] for one in document["files"][0]["not_mutated"]] == ["New"]
    assert "promtool accepts it" in printed.err
    assert "New can't be judged by replay" in printed.err
    assert run(0) == 3


def test_segments_and_table_need_one_another():
    with pytest.raises(UsageError, match="--segments alone"):
        _recorded([], Path("x"), None, None)
    with pytest.raises(UsageError, match="--expect and --prometheus alone"):
        _recorded([], None, Path("x"), Path("y"))
    assert _recorded([], None, None, None) is None
