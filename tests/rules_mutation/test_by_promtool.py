"""Packed mutants die exactly when one promtool process of their own fails."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from alertdrill.rules.mutation.by_promtool import PromtoolKiller
from alertdrill.rules.mutation.engine import judge
from alertdrill.rules.mutation.killer import Invalid, Killed, Survived
from alertdrill.rules.mutation.mutants import read_source
from alertdrill.rules.promtool import open_promtool
from alertdrill.rules.testing.document import discover

pytestmark = pytest.mark.docker

RULES = """\
groups:
  - name: g
    labels: {team: a}
    rules:
      - record: job:errors:rate5m
        expr: sum by (job) (rate(errors_total[5m]))
      - alert: Errors
        expr: job:errors:rate5m > 1
        for: 2m
        labels: {severity: warning}
      - alert: Errors
        expr: job:errors:rate5m > 5
        labels: {severity: critical}
      # Its mutant without `on (job)`s label can't be evaluated where there are two jobs.
      - alert: Ratio
        expr: errors / on (job) requests > 0.1
      - alert: Untested
        expr: nothing > 0
  - name: h
    rules:
      - alert: Late
        expr: count(ALERTS{alertstate="firing"}) > 1
"""

TESTS = """\
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - name: two jobs
    interval: 1m
    input_series:
      - {series: 'errors_total{job="a"}', values: 0+120x20}
      - {series: 'errors_total{job="b"}', values: 0+600x20}
      - {series: 'errors{job="a"}', values: 2x20}
      - {series: 'requests{job="a"}', values: 10x20}
      - {series: 'errors{job="b"}', values: 1x20}
      - {series: 'requests{job="b"}', values: 10x20}
    alert_rule_test:
      - eval_time: 3m
        alertname: Errors
        exp_alerts:
          - exp_labels: {job: b, severity: warning, team: a}
          - exp_labels: {job: b, severity: critical, team: a}
      - eval_time: 10m
        alertname: Errors
        exp_alerts:
          - exp_labels: {job: a, severity: warning, team: a}
          - exp_labels: {job: b, severity: warning, team: a}
          - exp_labels: {job: b, severity: critical, team: a}
      - eval_time: 10m
        alertname: Ratio
        exp_alerts:
          - exp_labels: {job: a, team: a}
    promql_expr_test:
      - expr: count by (alertname) (ALERTS{alertname="Late", alertstate="firing"})
        eval_time: 10m
        exp_samples: [{labels: '{alertname="Late"}', value: 1}]
      - expr: job:errors:rate5m{job="a"}
        eval_time: 10m
        exp_samples: [{labels: 'job:errors:rate5m{job="a", team="a"}', value: 2}]
  - name: nothing wrong
    interval: 1m
    input_series:
      - {series: 'errors_total{job="a"}', values: 0+1x20}
    alert_rule_test:
      - {eval_time: 10m, alertname: Errors}
  # Not a word of Ratio, but two series that only its mutants confuse.
  - name: many sides
    interval: 1m
    input_series:
      - {series: 'errors{job="c"}', values: 1x20}
      - {series: 'requests{job="c"}', values: 100x20}
      - {series: 'requests{job="d"}', values: 100x20}
    alert_rule_test:
      - {eval_time: 10m, alertname: Errors}
"""

# The same without what reads ALERTS, so that alerts are packed.
PACKED = RULES[: RULES.index("  - name: h")]
PACKED_TESTS = (
    TESTS[: TESTS.index("      - expr: count by")]
    + TESTS[TESTS.index("      - expr: job:errors") :]
)


@pytest.mark.parametrize(
    ("rules", "tests"), [(RULES, TESTS), (PACKED, PACKED_TESTS)], ids=["whole", "packed"]
)
def test_verdicts_are_those_of_one_process_per_mutant(rules, tests, write, promtool):
    source = read_source(write("rules.yml", rules))
    suite, _ = discover([write("rules.test.yml", tests)])
    with open_promtool(promtool) as program:
        killer = PromtoolKiller(source, suite, program, program.scratch)
        assert all(r.passed for r in program.test(list(killer.test_files)))
        judged = killer.kills(source.mutants)
        for mutant, outcome in judged.items():
            with tempfile.TemporaryDirectory(dir=program.scratch) as folder:
                results = program.test(killer.whole(mutant, Path(folder)))
            dies = not all(result.passed for result in results)
            assert isinstance(outcome, Killed) == dies, source.diff(mutant)
    outcomes = {(mutant.rule.name, mutant.operator): outcome for mutant, outcome in judged.items()}
    assert isinstance(outcomes["Untested", "metric renamed"], Survived)
    assert isinstance(outcomes["Errors", "label dropped"], Killed)
    dead = outcomes["Ratio", "matching label dropped"]
    assert isinstance(dead, Killed)


def test_a_mutant_that_can_not_be_evaluated_takes_no_other_with_it(write, promtool):
    """In one pack: one that ends the whole test case, and others that pass or fail it."""
    source = read_source(write("rules.yml", PACKED))
    suite, _ = discover([write("rules.test.yml", PACKED_TESTS)])
    with open_promtool(promtool) as program:
        killer = PromtoolKiller(source, suite, program, program.scratch)
        mutants = [mutant for mutant in source.mutants if mutant.rule.name == "Ratio"]
        outcomes = killer.kills(mutants)
    by_what = {m.operator: o for m, o in outcomes.items()}
    assert isinstance(by_what["matching label dropped"], Killed)
    assert "can't be evaluated" in by_what["matching label dropped"].by
    assert any(isinstance(outcome, Survived) for outcome in outcomes.values())


def test_what_prometheus_refuses_is_invalid_and_no_survivor(write, promtool):
    """A group's `labels` may not be templates that don't parse: planted through a mutant's text."""
    source = read_source(
        write("rules.yml", "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: a > 1\n")
    )
    suite, _ = discover(
        [write("a.test.yml", PACKED_TESTS.replace("Errors", "A").replace("Ratio", "A"))]
    )
    bad = [
        type(mutant)(mutant.rule, "planted", text, "")
        for mutant in source.mutants[:1]
        for text in ("alert: A\n    expr: rate(a) > 1", "alert: A\n    expr: a\n    for: soon")
    ]
    with open_promtool(promtool) as program:
        killer = PromtoolKiller(source, suite, program, program.scratch)
        for mutant in bad:
            outcomes = killer.kills([mutant, source.mutants[0]])
            assert isinstance(outcomes[mutant], Invalid)
            assert not isinstance(outcomes[source.mutants[0]], Invalid)


WEAK = """\
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series: [{series: 'a{job="x"}', values: 100x20}]
    alert_rule_test:
      - {eval_time: 10m, alertname: A, exp_alerts: [{exp_labels: {job: x, severity: page}}]}
"""
STRONG = (
    WEAK
    + """\
      - {eval_time: 4m, alertname: A}
      - {eval_time: 5m, alertname: A, exp_alerts: [{exp_labels: {job: x, severity: page}}]}
  - interval: 1m
    input_series:
      - {series: 'a{job="above"}', values: 10.2x20}
      - {series: 'a{job="equal"}', values: 10x20}
      - {series: 'a{job="below"}', values: 9.8x20}
    alert_rule_test:
      - {eval_time: 10m, alertname: A, exp_alerts: [{exp_labels: {job: above, severity: page}}]}
"""
)


@pytest.mark.parametrize(
    ("tests", "survivors"),
    [(WEAK, {"threshold": 4, "comparator": 1, "comparison dropped": 1, "for": 3}), (STRONG, {})],
    ids=["weak", "strong"],
)
def test_weak_tests_leave_survivors_and_strong_ones_none(tests, survivors, write, promtool):
    rule = "{alert: A, expr: a > 10, for: 5m, labels: {severity: page}}"
    rules = f"groups: [{{name: g, rules: [{rule}]}}]\n"
    source = read_source(write("rules.yml", rules))
    suite, _ = discover([write("a.test.yml", tests)])
    with open_promtool(promtool) as program:
        killer = PromtoolKiller(source, suite, program, program.scratch)
        judged = judge(source, [killer], workers=2)
    found: dict[str, int] = {}
    for mutant, outcome in judged.outcomes.items():
        if isinstance(outcome, Survived):
            found[mutant.operator] = found.get(mutant.operator, 0) + 1
    assert found == survivors


def test_the_shipped_alerts_are_guarded(pytestconfig, promtool):
    root = pytestconfig.rootpath
    source = read_source(root / "monitoring" / "alerts.yml")
    with open_promtool(promtool) as program:
        killer = PromtoolKiller(source, discover([root / "rules"])[0], program, program.scratch)
        judged = judge(source, [killer], workers=2)
    outcomes = list(judged.outcomes.values())
    killed = sum(isinstance(outcome, Killed) for outcome in outcomes)
    survived = sum(isinstance(outcome, Survived) for outcome in outcomes)
    assert killed / (killed + survived) >= 0.9
