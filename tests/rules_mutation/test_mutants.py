"""Mutants are one small change each, in the place of the file where it belongs."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from alertdrill.errors import UsageError
from alertdrill.rules.mutation.mutants import Mutant, Source, read_source

RULES = """\
# kept
groups:
  - name: g
    rules:
      - record: job:errors:rate5m
        expr: sum by (job) (rate(errors_total[5m]))
      - alert: Ratio   # kept, too
        expr: |
          # why
          sum by (job, zone) (rate(errors_total{code=~"5..", job!="x"}[5m]))  # above
            / on (job) group_left
          job:requests:rate5m
            > 0.05
        for: 10m
        keep_firing_for: 1m
        labels: {severity: critical, team: "a"}
        annotations:
          summary: >-
            It fails
            a lot
          # what to do
          runbook: "r.md"

      - alert: Folded
        expr: >
          absent(up{job="hub"})
            or quantile_over_time(0.9, load[10m]) >= 4
      - {alert: Flow, expr: 'min_over_time(free{disk="a"}[1h]) < 10', labels: {severity: page}}
      - alert: Plain
        expr: a and b
          unless c
        for: "2m"
"""

# operator -> what must be among the lines that it puts in, and takes out
EXPECTED = {
    "Ratio": {
        "threshold": ["> 0.1", "> 0.025", "> 0.055", "> 0.045"],
        "comparator": [">= 0.05", "< 0.05"],
        "comparison dropped": ["-            > 0.05"],
        "window": ["[2m30s]", "[10m]"],
        "matcher dropped": ['{job!="x"}', '{code=~"5.."}'],
        "matcher negated": ['{code!~"5..", job!="x"}', '{code=~"5..", job="x"}'],
        "metric renamed": ["errors_total_renamed{", "job:requests:rate5m_renamed"],
        "aggregation": ["avg by (job, zone)", "max by (job, zone)"],
        "grouping label dropped": ["by (zone)", "by (job)"],
        "matching label dropped": ["on () group_left"],
        "function": ["(increase(", "(irate("],
        "arithmetic": ["* on (job)"],
        "for": ["for: 5m", "for: 20m", "for: 0s"],
        "keep_firing_for": ["keep_firing_for: 30s", "keep_firing_for: 2m", "keep_firing_for: 0s"],
        "label dropped": ['labels: {team: "a"}', "labels: {severity: critical}"],
        "annotation dropped": ["-          summary: >-", '-          runbook: "r.md"'],
    },
    "Folded": {
        "absent dropped": ['          up{job="hub"}'],
        "set operator": ["and quantile", "unless quantile"],
        "quantile": ["time(0.5,", "time(0.99,"],
        "threshold": [">= 8", ">= 2", ">= 4.4", ">= 3.6"],
        "comparator": ["> 4", "<= 4"],
        "comparison dropped": ["0.9, load[10m])"],
        "window": ["[5m]", "[20m]"],
        "matcher dropped": ["absent(up)"],
        "matcher negated": ['job!="hub"'],
        "metric renamed": ["up_renamed", "load_renamed"],
    },
    "Flow": {
        "function": ["max_over_time", "avg_over_time"],
        "window": ["[30m]", "[2h]"],
        "matcher dropped": ["(free[1h])"],
        "matcher negated": ['disk!=\\"a\\"'],
        "metric renamed": ["free_renamed"],
        "threshold": ["< 20", "< 5", "< 11", "< 9"],
        "comparator": ["<= 10", "> 10"],
        "comparison dropped": ["[1h])"],
        "label dropped": ["< 10'}"],
    },
    "Plain": {
        "set operator": ["a unless b", "a or b", "and c", "or c"],
        "metric renamed": ["a_renamed", "b_renamed", "c_renamed"],
        "for": ['"1m"', '"4m"', '"0s"'],
    },
    "job:errors:rate5m": {
        "aggregation": ["avg by (job)", "max by (job)"],
        "grouping label dropped": ["sum  (rate"],
        "function": ["(increase(", "(irate("],
        "window": ["[2m30s]", "[10m]"],
        "metric renamed": ["errors_total_renamed"],
    },
}


@pytest.fixture
def source(write) -> Source:
    return read_source(write("rules.yml", RULES))


def of(source: Source, rule: str) -> dict[str, list[Mutant]]:
    found: dict[str, list[Mutant]] = {}
    for mutant in source.mutants:
        if mutant.rule.name == rule:
            found.setdefault(mutant.operator, []).append(mutant)
    return found


@pytest.mark.parametrize("rule", EXPECTED)
def test_each_operator_changes_what_it_says(source, rule):
    found = of(source, rule)
    assert {name: len(mutants) for name, mutants in found.items()} == {
        name: len(changes) for name, changes in EXPECTED[rule].items()
    }
    for name, changes in EXPECTED[rule].items():
        diffs = [source.diff(mutant) for mutant in found[name]]
        for change in changes:
            assert sum(change in diff for diff in diffs) >= 1, (name, change, diffs)


def test_nothing_is_left_out_and_nothing_refused(source):
    assert source.unread == ()
    assert [mutant.operator for mutant in source.mutants if mutant.refused] == []


def test_no_two_mutants_are_the_same_and_none_is_the_rule(source):
    texts = [source.mutated(mutant) for mutant in source.mutants]
    assert len({*texts, RULES}) == len(texts) + 1
    assert len({mutant.key for mutant in source.mutants}) == len(texts)


def test_everything_but_the_rule_stays_as_it_is(source):
    for mutant in source.mutants:
        text, rule = source.mutated(mutant), mutant.rule
        assert text.startswith(RULES[: rule.start])
        assert text.endswith(RULES[rule.end :])
        assert text.count("# kept") == 2


def test_every_mutated_file_is_yaml_with_all_other_rules_unchanged(source):
    def rules(text: str) -> list[dict[str, object]]:
        return list(YAML(typ="safe", pure=True).load(text)["groups"][0]["rules"])

    before = rules(RULES)
    for mutant in source.mutants:
        changed = [
            n
            for n, (a, b) in enumerate(zip(before, rules(source.mutated(mutant)), strict=True))
            if a != b
        ]
        assert changed == [mutant.rule.index]


def test_diffs_have_the_line_numbers_of_the_file(source):
    (mutant, *_) = of(source, "Ratio")["threshold"]
    header, *lines = source.diff(mutant).splitlines()
    number = int(header.split()[1].lstrip("-").split(",")[0])
    assert [line[1:] for line in lines if line[0] in " -"] == RULES.splitlines()[
        number - 1 : number - 1 + sum(line[0] in " -" for line in lines)
    ]


def test_hints_name_the_alert(source):
    assert all("{alert}" not in mutant.hint for mutant in source.mutants)
    (mutant, *_) = of(source, "Ratio")["for"]
    assert mutant.hint == (
        "an alert_rule_test of Ratio between 5m and 10m after its condition began"
    )


def test_a_comment_that_folding_moves_is_said_and_the_other_rules_are_mutated(write):
    source = read_source(
        write(
            "rules.yml",
            "groups: \n"
            "  - name: g\n"
            "    rules:\n"
            "      - alert: Folded\n"
            "        expr: >\n"
            "          a > 1  # swallows the rest\n"
            "          and b\n"
            "      - alert: Other\n"
            "        expr: a > 1\n",
        )
    )
    assert [rule.rule for rule in source.unread] == ["Folded"]
    assert "comments" in source.unread[0].why
    assert {mutant.rule.name for mutant in source.mutants} == {"Other"}


def test_an_anchor_from_elsewhere_is_said(write):
    source = read_source(
        write(
            "rules.yml",
            "groups:\n"
            "  - name: g\n"
            "    rules:\n"
            "      - alert: First\n"
            "        expr: a > 1\n"
            "        labels: &shared {severity: page}\n"
            "      - alert: Second\n"
            "        expr: b > 1\n"
            "        labels: *shared\n",
        )
    )
    assert [(rule.rule, rule.line) for rule in source.unread] == [("Second", 7)]
    assert {mutant.rule.name for mutant in source.mutants} == {"First"}


def test_a_broken_rule_file_is_wrong_usage(write):
    with pytest.raises(UsageError, match=r"rules\.yml:4"):
        read_source(
            write("rules.yml", "groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'a >'}\n")
        )


def test_the_shipped_rules_are_mutated_completely(pytestconfig):
    source = read_source(pytestconfig.rootpath / "monitoring" / "alerts.yml")
    assert source.unread == ()
    assert not any(mutant.refused for mutant in source.mutants)
    assert len(source.mutants) >= 150
