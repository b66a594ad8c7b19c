"""Reading what is under test: everything wrong is named with its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertdrill.errors import UsageError
from alertdrill.rules.model import (
    AlertRule,
    RecordingRule,
    load_alertmanager,
    load_monitoring,
    load_prometheus,
    load_rules,
)


def refused(call, path: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        call(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return caught.value


def test_reads_rules_with_their_positions(write):
    folder = write(
        """\
groups:
  - name: g
    interval: 1m30s
    labels: {team: hub}
    rules:
      - record: job:x:rate5m
        expr: sum by (job) (rate(x[5m]))
      - alert: A
        expr: |
          job:x:rate5m > 5
        for: 1h
        keep_firing_for: 2m
        labels: {severity: critical}
        annotations: {summary: "{{ $value }}"}
"""
    )
    (group,) = load_rules(folder / "alerts.yml").groups
    recording, alert = group.rules
    assert group.interval_s == 90
    assert isinstance(recording, RecordingRule)
    assert (recording.name, recording.line) == ("job:x:rate5m", 6)
    assert isinstance(alert, AlertRule)
    assert (alert.name, alert.line, alert.group) == ("A", 8, "g")
    assert (alert.for_s, alert.keep_firing_for_s) == (3600, 120)
    assert alert.labels == {"team": "hub", "severity": "critical"}
    assert alert.alert_labels == {"alertname": "A", "team": "hub", "severity": "critical"}
    assert alert.annotations == {"summary": "{{ $value }}"}


RULE = "groups:\n  - name: g\n    rules:\n"

BAD_RULES = {
    "empty": ("", None, "is empty"),
    "only a comment": ("# nothing\n", None, "is empty"),
    "two documents": ("groups: []\n---\ngroups: []\n", 2, "more than one YAML document"),
    "a Helm template": ("{{- if .Values.x }}\ngroups: []\n{{- end }}\n", 1, "a template"),
    "too deep": ("a: " + "[" * 3000, None, "nested too deeply"),
    "a list as a key": ("groups: []\n[a]: b\n", 2, "a key of the top level must be a text"),
    "a list": ("- a\n", 1, "must be a mapping"),
    "no YAML": ("groups: [\n", 2, "stream end"),
    "no groups": ("groups: []\n", 1, "no groups"),
    "an unknown key at the top": ("groups: []\nrules: []\n", 2, "unknown key 'rules'"),
    "an unknown key in a group": (RULE + "    every: 5m\n", 4, "unknown key 'every'"),
    "an unknown key in a rule": (RULE + "      - alert: A\n        exp: x\n", 5, "'exp'"),
    "a key given twice": (
        RULE + "      - alert: A\n        expr: x\n        expr: y\n",
        6,
        "given twice",
    ),
    "bad PromQL": (RULE + "      - alert: A\n        expr: rate(x[5m]\n", 5, "not PromQL"),
    "bad PromQL in a block": (
        RULE + "      - alert: A\n        expr: |\n          a +\n",
        5,
        "PromQL",
    ),
    "another database's PromQL": (
        RULE + '      - alert: A\n        expr: x{a="b" or c="d"}\n',
        5,
        "`or` between matchers",
    ),
    "an empty expression": (RULE + "      - alert: A\n        expr: ''\n", 5, "empty"),
    "no expression": (RULE + "      - alert: A\n", 4, "needs an expr"),
    "a bad duration": (RULE + "      - alert: A\n        expr: x\n        for: 5\n", 6, "duration"),
    "alert and record": (
        RULE + "      - alert: A\n        record: b\n        expr: x\n",
        4,
        "either",
    ),
    "a recording with for": (
        RULE + "      - record: b\n        expr: x\n        for: 1m\n",
        6,
        "for",
    ),
    "a bad label": (
        RULE + "      - alert: A\n        expr: x\n        labels: {a-b: c}\n",
        6,
        "'a-b'",
    ),
    "two groups of one name": ("groups:\n  - name: g\n  - name: g\n", 3, "two groups"),
}


@pytest.mark.parametrize(("text", "line", "words"), BAD_RULES.values(), ids=BAD_RULES)
def test_a_bad_rule_file_is_refused(write, text, line, words):
    error = refused(load_rules, write(alerts=text) / "alerts.yml")
    assert (error.line, words in str(error)) == (line, True), str(error)


def test_merge_keys_are_followed_and_own_keys_win(write):
    text = (
        RULE + "      - &a\n        alert: A\n        expr: a > 1\n        for: 5m\n"
        "        labels: &l {severity: critical, team: hub}\n"
        "      - <<: *a\n        alert: B\n        labels: {<<: *l, severity: warning}\n"
    )
    (group,) = load_rules(write(alerts=text) / "alerts.yml").groups
    first, second = group.rules
    assert (second.name, second.expr, second.for_s) == ("B", first.expr, first.for_s)
    assert dict(second.labels) == {"severity": "warning", "team": "hub"}
    assert dict(first.labels) == {"severity": "critical", "team": "hub"}


@pytest.mark.parametrize(
    "expr", ["(" * 500 + "x" + ")" * 500, "-".join(["x"] * 500), "(" * 30_000 + "x" + ")" * 30_000]
)
def test_what_is_nested_too_deeply_is_not_read(write, expr):
    text = RULE + f"      - alert: A\n        expr: {expr}\n"
    (unread,) = load_rules(write(alerts=text) / "alerts.yml").unread
    assert "deep" in unread.why
    fair = RULE + f"      - alert: A\n        expr: {' or '.join(['x'] * 100)}\n"
    assert load_rules(write(alerts=fair) / "alerts.yml").unread == ()


def test_a_rule_in_newer_promql_concerns_no_other(write):
    newer = (
        "      - alert: New\n        expr: x > 1_000\n      - record: a:b\n        expr: new(x)\n"
    )
    folder = write(alerts=RULE + newer + "      - alert: Old\n        expr: x > 1000\n")
    (group,) = (file := load_rules(folder / "alerts.yml")).groups
    assert [rule.name for rule in group.rules] == ["New", "a:b", "Old"]
    assert [(rule.name, rule.is_alert, rule.line) for rule in file.unread] == [
        ("New", True, 4),
        ("a:b", False, 6),
    ]
    paths = folder / "prometheus.yml", folder / "alertmanager.yml"
    error = refused(lambda _: load_monitoring(*paths), folder)
    assert (error.line, "not understood here" in str(error)) == (4, True), str(error)
    assert list(load_monitoring(*paths, may_have_unread=True).alerts) == ["Old"]


def test_a_missing_file_is_refused(tmp_path):
    assert "No such file" in str(refused(load_rules, tmp_path / "alerts.yml"))


def test_reads_prometheus(write):
    config = load_prometheus(write() / "prometheus.yml")
    assert (config.scrape_interval_s, config.evaluation_interval_s) == (15, 30)
    assert [(j.name, j.targets, j.scrape_interval_s) for j in config.jobs] == [
        ("app", ("app:80",), 15),
        ("slow", ("slow:80",), 60),
    ]
    assert config.alertmanagers == ("alertmanager:9093",)
    assert [file.name for file in config.rule_files] == ["alerts.yml"]


def test_prometheus_own_defaults(write):
    config = load_prometheus(write(prometheus=FILES + ALERTING) / "prometheus.yml")
    assert (config.scrape_interval_s, config.evaluation_interval_s) == (60, 60)


ALERTING = "alerting: {alertmanagers: [{static_configs: [{targets: [a]}]}]}\n"
FILES = "rule_files: [alerts.yml]\n"

BAD_PROMETHEUS = {
    "an unknown key": (FILES + ALERTING + "alert_rules: []\n", 3, "unknown key 'alert_rules'"),
    "an unknown global key": (FILES + ALERTING + "global: {scrape: 5s}\n", 3, "'scrape'"),
    "an unknown job key": (
        FILES + ALERTING + "scrape_configs:\n  - job_name: a\n    target: b\n",
        5,
        "'target'",
    ),
    "no alerting": (FILES, 1, "no alerting section"),
    "alerting nobody": (FILES + "alerting: {alertmanagers: []}\n", 2, "names no Alertmanager"),
    "no rule files": (ALERTING, 1, "no rule_files"),
    "a pattern that finds nothing": (
        "rule_files:\n  - a.yml\n  - rules/*.yml\n" + ALERTING,
        2,
        "a.yml",
    ),
    "two jobs of one name": (
        FILES + ALERTING + "scrape_configs:\n  - job_name: a\n  - job_name: a\n",
        5,
        "two scrape jobs",
    ),
    "a timeout longer than the interval": (
        FILES
        + ALERTING
        + "scrape_configs:\n  - job_name: a\n    scrape_interval: 5s\n    scrape_timeout: 10s\n",
        6,
        "longer",
    ),
}


@pytest.mark.parametrize(("text", "line", "words"), BAD_PROMETHEUS.values(), ids=BAD_PROMETHEUS)
def test_a_bad_prometheus_yml_is_refused(write, text, line, words):
    error = refused(load_prometheus, write(prometheus=text) / "prometheus.yml")
    assert (error.line, words in str(error)) == (line, True), str(error)


TEAM = "receivers: [{name: team}]\n"

BAD_ALERTMANAGER = {
    "no route": (TEAM, 1, "no route"),
    "a receiver that doesn't exist": (TEAM + "route:\n  receiver: tam\n", 3, "'tam'"),
    "the same deep in the tree": (
        TEAM + "route:\n  receiver: team\n  routes:\n    - receiver: tam\n",
        5,
        "'tam'",
    ),
    "a root route with matchers": (
        TEAM + "route:\n  receiver: team\n  matchers: [a=b]\n",
        2,
        "root route",
    ),
    "a bad matcher": (
        TEAM
        + "route:\n  receiver: team\n  routes:\n    - matchers:\n        - severity critical\n",
        6,
        "not a matcher",
    ),
    "a bad regular expression": (
        TEAM + "route:\n  receiver: team\n  routes:\n    - match_re:\n        a: '('\n",
        6,
        "regular expression",
    ),
    "an unknown route key": (TEAM + "route:\n  receiver: team\n  group: [a]\n", 4, "'group'"),
    "an unknown integration": (
        "receivers:\n  - name: t\n    mail_configs: []\n",
        3,
        "mail_configs",
    ),
    "a webhook without url": (
        "receivers:\n  - name: t\n    webhook_configs:\n      - send_resolved: true\n",
        4,
        "url",
    ),
    "an inhibition that mutes everything": (
        TEAM + "route: {receiver: team}\ninhibit_rules:\n  - equal: [a]\n",
        4,
        "mute everything",
    ),
    "no group interval": (TEAM + "route:\n  receiver: team\n  group_interval: 0s\n", 4, "zero"),
}


@pytest.mark.parametrize(("text", "line", "words"), BAD_ALERTMANAGER.values(), ids=BAD_ALERTMANAGER)
def test_a_bad_alertmanager_yml_is_refused(write, text, line, words):
    if "route" not in text and words != "no route":
        text += "route: {receiver: t}\n"
    error = refused(load_alertmanager, write(alertmanager=text) / "alertmanager.yml")
    assert (error.line, words in str(error)) == (line, True), str(error)


def test_an_alert_defined_twice_is_refused(write):
    text = RULE + "      - alert: A\n        expr: x\n      - alert: A\n        expr: y\n"
    folder = write(alerts=text)
    with pytest.raises(UsageError, match=r"alerts\.yml:6: alert A is defined twice, first at .*:4"):
        load_monitoring(folder / "prometheus.yml", folder / "alertmanager.yml")


def test_the_whole_monitoring(write):
    folder = write()
    monitoring = load_monitoring(folder / "prometheus.yml", folder / "alertmanager.yml")
    assert list(monitoring.alerts) == ["A"]
    assert monitoring.interval_s(monitoring.alerts["A"]) == 30


def test_a_container_path_never_reads_the_machine_s_own_file(write, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "alerts.yml").write_text("groups: []\n")
    text = f"rule_files: [{elsewhere}/alerts.yml]\n{ALERTING}"
    config = load_prometheus(write(prometheus=text) / "prometheus.yml")
    assert config.rule_files == (tmp_path / "alerts.yml",)
