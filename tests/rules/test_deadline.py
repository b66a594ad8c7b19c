"""Deadlines: every part comes from a file, and the sum says so."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from alertdrill.rules.deadline import (
    Deadline,
    fire_deadline,
    hears_itself,
    recorded_windows,
    resolve_deadline,
    scrape_s,
    window_s,
)
from alertdrill.rules.model import load_monitoring
from tests.rules.folders import compress_directory

WINDOWS = [
    ("up == 0", 0),
    ("rate(x[5m]) > 1", 300),
    ("rate(x[5m] offset 1h) > 1", 3_900),
    ("x offset 10m", 600),
    ("x offset -10m", 0),
    ("rate(x[5m]) / rate(y[30m])", 1_800),
    ("max_over_time(rate(x[5m])[1h:1m] offset 10m)", 4_500),
    ("histogram_quantile(0.95, sum by (le) (rate(x_bucket[5m])))", 300),
    ("a or topk(5, b offset 1m)", 60),
    ("rate(x[100ms])", 0.1),
    ("r > 1", 330),
    ('{__name__="r"} > 1', 330),
    ("avg_over_time(r[10m])", 930),
]


@pytest.mark.parametrize(("expr", "seconds"), WINDOWS)
def test_the_window_is_the_longest_look_back(expr, seconds):
    assert window_s(expr, {"r": 330}) == seconds


RULES = """\
groups:
  - name: slow
    interval: 1m
    rules:
      - record: second
        expr: max_over_time(first[10m])
  - name: fast
    rules:
      - record: first
        expr: rate(x[5m])
      - alert: A
        expr: rate(x{job="app"}[5m]) > 1
        for: 2m
        keep_firing_for: 3m
        labels: {severity: critical}
      - alert: B
        expr: second > 1
"""

ROUTES = """\
route:
  receiver: team
  group_by: [alertname]
  group_wait: 20s
  group_interval: 1m
  routes:
    - matchers: [severity="critical"]
      group_wait: 10s
receivers: [{name: team}]
"""


@pytest.fixture
def folder(write):
    return write(alerts=RULES, alertmanager=ROUTES)


@pytest.fixture
def monitoring(folder):
    return load_monitoring(folder / "prometheus.yml", folder / "alertmanager.yml")


def test_fire(monitoring):
    deadline = fire_deadline(monitoring.alerts["A"], monitoring, operation_s=6)
    assert deadline.parts == (
        ("window", 300),
        ("for", 120),
        ("query_offset", 0),
        ("evaluation", 60),
        ("scrape", 30),
        ("group_wait", 10),
        ("operation", 6),
        ("margin", pytest.approx(3 + 52.6)),
    )
    assert deadline.total_s == pytest.approx(581.6)
    assert str(deadline) == (
        "581.6 s = window 300 + for 120 + evaluation 60 + scrape 30 + group_wait 10"
        " + operation 6 + margin 55.6"
    )


def test_resolve(monitoring):
    deadline = resolve_deadline(
        monitoring.alerts["A"], monitoring, operation_s=6, resend_delay_s=60, margin_s=1
    )
    assert deadline.parts == (
        ("window", 300),
        ("keep_firing_for", 180),
        ("query_offset", 0),
        ("evaluation", 60),
        ("scrape", 30),
        ("group_interval", 60),
        ("resend", 60),
        ("operation", 6),
        ("margin", 1),
    )


def test_recorded_series_bring_their_windows_and_their_delay(monitoring):
    # 5 min and an evaluation at 30 s; 10 min more and an evaluation at 1 min.
    assert recorded_windows(monitoring) == {"first": 330, "second": 990}
    assert dict(fire_deadline(monitoring.alerts["B"], monitoring).parts)["window"] == 990


def test_a_group_that_is_shared_may_have_to_wait_for_its_interval(write):
    folder = write(alerts=RULES, alertmanager=ROUTES.replace("[alertname]", "[severity]"))
    monitoring = load_monitoring(folder / "prometheus.yml", folder / "alertmanager.yml")
    parts = dict(fire_deadline(monitoring.alerts["A"], monitoring).parts)
    assert parts["group_interval"] == 60
    assert "group_wait" not in parts


@pytest.mark.parametrize(
    ("old", "new", "offset_s"),
    [
        ("- name: fast", "- name: fast\n    query_offset: 90s", 90),
        ("- name: slow", "- name: slow\n    query_offset: 90s", 0),
    ],
)
def test_a_rule_that_looks_at_older_data_is_later(write, old, new, offset_s):
    folder = write(alerts=RULES.replace(old, new), alertmanager=ROUTES)
    monitoring = load_monitoring(folder / "prometheus.yml", folder / "alertmanager.yml")
    for deadline in (fire_deadline, resolve_deadline):
        assert dict(deadline(monitoring.alerts["A"], monitoring).parts)["query_offset"] == offset_s


def test_only_the_jobs_that_a_rule_names_are_waited_for(monitoring):
    assert scrape_s(monitoring.alerts["A"], monitoring) == 15
    assert scrape_s(monitoring.alerts["B"], monitoring) == 60
    unknown = replace(monitoring.alerts["A"], expr='up{job="unknown"}')
    assert scrape_s(unknown, monitoring) == 60


def test_on_a_compressed_clock_everything_but_the_operation_shrinks(folder, monitoring, tmp_path):
    compress_directory(folder, tmp_path / "fast", 60)
    fast = load_monitoring(
        tmp_path / "fast" / "prometheus.yml", tmp_path / "fast" / "alertmanager.yml"
    )
    slow_s = fire_deadline(monitoring.alerts["A"], monitoring, operation_s=0, margin_s=0).total_s
    fast_s = fire_deadline(fast.alerts["A"], fast, operation_s=6, margin_s=0).total_s
    assert fast_s == pytest.approx(slow_s / 60 + 6, abs=0.01)


def test_nothing_to_wait_for():
    assert str(Deadline(())) == "0.0 s = nothing"


HEARD = [
    ("rate(x[5m]) > 1", False),
    ("innocent > 1", False),
    ('x > 1 unless on() (ALERTS{alertname="A"} offset 4m)', True),
    ('{__name__=~"ALERTS.*"} > 0', True),
    ("rate(alertmanager_notifications_total[5m]) > 1", True),
    ("second_hand > 1", True),
]


@pytest.mark.parametrize(("expr", "heard"), HEARD)
def test_a_rule_that_reads_its_own_firing_is_known(tmp_path, expr, heard):
    (tmp_path / "prometheus.yml").write_text(
        "rule_files: [alerts.yml]\n"
        "alerting: {alertmanagers: [{static_configs: [{targets: [a]}]}]}\n"
    )
    (tmp_path / "alertmanager.yml").write_text("route: {receiver: a}\nreceivers: [{name: a}]\n")
    (tmp_path / "alerts.yml").write_text(
        "groups:\n- name: g\n  rules:\n"
        "  - {record: own, expr: count(ALERTS)}\n"
        '  - {record: second_hand, expr: "max_over_time(own[5m])"}\n'
        '  - {record: innocent, expr: "rate(x[5m])"}\n'
        f"  - {{alert: A, expr: {json.dumps(expr)}}}\n"
    )
    monitoring = load_monitoring(tmp_path / "prometheus.yml", tmp_path / "alertmanager.yml")
    assert hears_itself(monitoring.alerts["A"], monitoring) is heard
