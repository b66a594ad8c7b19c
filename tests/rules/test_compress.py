"""The files of a monitoring on a faster clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertdrill.errors import UsageError
from alertdrill.rules.compress import Compressed, compress
from alertdrill.rules.model import load_monitoring
from tests.rules.folders import compress_directory

FILES = ("prometheus.yml", "alerts.yml", "alertmanager.yml")


def compressed(folder: Path, factor: float = 60) -> Compressed:
    return compress(folder / "prometheus.yml", folder / "alertmanager.yml", factor)


ODD_LAYOUT = """\
# 5m in a comment
groups:
- name: "5m"          # a name, not a duration
  interval: &every '30s'
  query_offset: 1m
  rules:
  - {alert: Flow, expr: 'rate(x{a="5m"}[5m]) > 1', for: *every, labels: {window: 5m}}
  - alert: Folded
    expr: >-
      sum(rate(x[5m]))
        > 300

    keep_firing_for: "10m"
    annotations: {summary: "over [5m] offset 5m"}
  - alert: Plain
    expr: rate(x[5m])
      > 5
  - record: x:rate5m
    expr: |
      # don't touch [5m] here
      rate(x[5m])  # nor here: [5m]
"""

ODD_LAYOUT_AT_60 = """\
# 5m in a comment
groups:
- name: "5m"          # a name, not a duration
  interval: &every '500ms'
  query_offset: 1s
  rules:
  - {alert: Flow, expr: "rate(x{a=\\"5m\\"}[5s]) > 1", for: *every, labels: {window: 5m}}
  - alert: Folded
    expr: >-
      sum(rate(x[5s]))
        > 300

    keep_firing_for: "10s"
    annotations: {summary: "over [5m] offset 5m"}
  - alert: Plain
    expr: rate(x[5s])
      > 5
  - record: x:rate5m
    expr: |
      # don't touch [5m] here
      rate(x[5s])  # nor here: [5m]
"""


def test_durations_change_and_the_layout_stays(write):
    assert compressed(write(alerts=ODD_LAYOUT)).texts["alerts.yml"] == ODD_LAYOUT_AT_60


def test_dividing_twice_is_dividing_once(write, tmp_path):
    src = write(alerts=ODD_LAYOUT)
    half = tmp_path / "half"
    compress_directory(src, half, 5)
    assert compressed(half, 12).texts == compressed(src, 60).texts


def test_factor_1_is_the_files_byte_for_byte(write, tmp_path):
    src = write(alerts=ODD_LAYOUT.replace("\n", "\r\n"))
    result = compress_directory(src, tmp_path / "same", 1)
    for name in FILES:
        assert (tmp_path / "same" / name).read_bytes() == (src / name).read_bytes()
    assert result.flags == {"--rules.alert.resend-delay": "1m", "--query.lookback-delta": "5m"}
    assert (result.unsound, result.notes) == ((), ())


def test_the_compressed_monitoring_is_the_original_on_a_faster_clock(write, tmp_path):
    src = write(alerts=ODD_LAYOUT)
    result = compress_directory(src, tmp_path / "fast", 60)
    fast = load_monitoring(
        tmp_path / "fast" / "prometheus.yml", tmp_path / "fast" / "alertmanager.yml"
    )
    slow = load_monitoring(src / "prometheus.yml", src / "alertmanager.yml")
    assert fast.prometheus.scrape_interval_s == 0.25
    assert fast.prometheus.evaluation_interval_s == 0.5
    assert [job.scrape_interval_s for job in fast.prometheus.jobs] == [0.25, 1]
    # Alertmanager's defaults are divided too, though the file doesn't mention them.
    assert fast.alertmanager.timing_for({}) == (0.5, 5, 240)
    assert slow.alertmanager.timing_for({}) == (30, 300, 14_400)
    for name, alert in slow.alerts.items():
        assert fast.alerts[name].for_s == alert.for_s / 60
        assert fast.alerts[name].keep_firing_for_s == alert.keep_firing_for_s / 60
        assert fast.alerts[name].labels == alert.labels
        assert fast.alerts[name].annotations == alert.annotations
    assert result.flags == {"--rules.alert.resend-delay": "1s", "--query.lookback-delta": "5s"}
    assert result.resend_delay_s == 1


ALERTING = (
    "rule_files: [alerts.yml]\nalerting: {alertmanagers: [{static_configs: [{targets: [a]}]}]}\n"
)

GLOBALS = {
    "absent": ("", "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"),
    "empty": ("global:\n", "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"),
    "flow": (
        "global: {scrape_interval: 30s}\n",
        "global: {evaluation_interval: 1s, scrape_interval: 500ms}\n",
    ),
    "empty flow": ("global: {}\n", "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"),
    "block": (
        "global:\n  # hm\n  evaluation_interval: 30s\n",
        "global:\n  # hm\n  scrape_interval: 1s\n  evaluation_interval: 500ms\n",
    ),
    # A timeout is no part of the clock, but may not exceed the interval.
    "a timeout": (
        "global: {scrape_interval: 15s, evaluation_interval: 15s, scrape_timeout: 10s}\n",
        "global: {scrape_interval: 250ms, evaluation_interval: 250ms, scrape_timeout: 250ms}\n",
    ),
    "a short timeout": (
        "global: {scrape_interval: 5m, evaluation_interval: 15s, scrape_timeout: 3s}\n",
        "global: {scrape_interval: 5s, evaluation_interval: 250ms, scrape_timeout: 3s}\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), GLOBALS.values(), ids=GLOBALS)
def test_what_prometheus_yml_leaves_unsaid_is_written(write, before, after):
    assert compressed(write(prometheus=before + ALERTING)).texts["prometheus.yml"] == (
        after + ALERTING
    )


def test_nested_routes_are_divided_and_the_root_s_defaults_written(write):
    text = """\
route:
  receiver: team
  group_wait: 10s
  routes:
    - matchers: [a="30s"]
      group_interval: 2m
      repeat_interval: 1h
global: {resolve_timeout: 5m}
receivers: [{name: team}]
"""
    result = compressed(write(alertmanager=text)).texts["alertmanager.yml"]
    assert (
        result
        == """\
route:
  group_interval: 5s
  repeat_interval: 4m
  receiver: team
  group_wait: 166ms
  routes:
    - matchers: [a="30s"]
      group_interval: 2s
      repeat_interval: 1m
global: {resolve_timeout: 5s}
receivers: [{name: team}]
"""
    )


def alert(expr: str, name: str = "A") -> str:
    return f"  - alert: {name}\n    expr: |\n      {expr}\n"


UNSOUND = {
    "increase(x[5m]) > 10": "increase()",
    "sum(increase(x[5m])) by (job) >= 10": "increase()",
    "10 < increase(x[5m])": "increase()",
    "count_over_time(x[5m]) < 3": "count_over_time()",
    "sum_over_time(x[5m]) > 3": "sum_over_time()",
    "changes(x[1h]) > 5": "changes()",
    "resets(x[1h]) > 5": "resets()",
    "delta(x[1h]) > 5": "delta()",
    "time() - x > 300": "time()",
    "x > 5 and on() hour() > 9": "hour()",
    "x and on() day_of_week() == 6": "day_of_week()",
    "predict_linear(x[1h], 4 * 3600) < 0": "predict_linear()",
    "increase(x[5m]) / 2 > 1": "increase()",
    "max_over_time(increase(x[5m])[1h:]) > 5": "increase()",
    "x:increase5m > 5": "increase()",
    "twice > 5": "increase()",
    "increase(x[5m]) > y": "increase()",
    "round(increase(x[5m])) > 1": "increase()",
}

SOUND = [
    "rate(x[5m]) > 0.05",
    "increase(x[5m]) / increase(y[5m]) > 0.05",
    "sum(increase(x[5m])) / sum(rate(x[5m])) > sum(increase(y[5m])) / sum(rate(y[5m]))",
    "increase(x[5m]) > 0",
    "0 == changes(x[5m])",
    "increase(x[5m]) > increase(y[5m])",
    "histogram_quantile(0.95, sum by (le) (increase(x_bucket[5m]))) > 5",
    "avg_over_time(x[5m]) > 5",
    "sum_over_time(x[5m]) / count_over_time(x[5m]) > 5",
    "count(increase(x[5m]) > 0) > 3",
    "absent_over_time(x[5m]) == 1",
    "deriv(x[5m]) > 1",
    "x:rate5m > 5",
    "time() - x > 0",
]

RECORDINGS = """\
groups:
- name: g
  rules:
  - record: twice
    expr: 2 * x:increase5m
  - record: x:increase5m
    expr: increase(x[5m])
  - record: x:rate5m
    expr: rate(x[5m])
"""


@pytest.mark.parametrize(("expr", "cause"), UNSOUND.items())
def test_a_rule_that_means_something_else_is_reported(write, expr, cause):
    found = compressed(write(alerts=RECORDINGS + alert(expr))).unsound
    assert [(one.rule, cause in one.why) for one in found] == [("A", True)]
    assert "numbers kept" in found[0].done


@pytest.mark.parametrize("expr", SOUND)
def test_a_rule_that_means_the_same_is_not(write, expr):
    assert compressed(write(alerts=RECORDINGS + alert(expr))).unsound == ()


PAGING_HOURS = """\
groups:
- name: g
  rules:
  - record: working
    expr: vector(1) and on() (hour() > 8)
  - record: paging
    expr: working
"""


@pytest.mark.parametrize("expr", ["x > 5 and on() paging", "x > 5 and on() working"])
def test_who_reads_the_hour_through_recordings_depends_on_it(write, expr):
    found = compressed(write(alerts=PAGING_HOURS + alert(expr))).unsound
    assert [(one.rule, one.calendar) for one in found if "hour()" in one.why] == [
        ("working", True),
        ("paging", True),
        ("A", True),
    ]


def test_each_recording_of_a_name_counts(write):
    always = PAGING_HOURS.replace(
        "expr: working", "expr: working\n  - record: paging\n    expr: up"
    )
    found = compressed(write(alerts=always + alert("x > 5 and on() paging"))).unsound
    assert "A" in [one.rule for one in found]


def test_the_time_of_day_is_no_matter_of_numbers(write):
    expr = "x > 5 unless on() vector(time() % 86400 - 72000) > 0"
    (found,) = compressed(write(alerts=RECORDINGS + alert(expr))).unsound
    assert "time() % … tells the time of day" in found.why
    assert found.calendar
    numbers = compressed(write(alerts=RECORDINGS + alert("time() - x > 300"))).unsound
    assert [one.calendar for one in numbers] == [False], "the twin, which `any_clock` may excuse"


def test_an_unsound_rule_is_left_alone_when_nothing_is_compressed(write):
    folder = write(alerts=RECORDINGS + alert("increase(x[5m]) > 10"))
    assert compressed(folder, 1).unsound == ()
    assert len(compressed(folder, 2).unsound) == 1


def test_scrapes_that_become_too_fast_are_noted(write):
    folder = write()
    assert compressed(folder, 60).notes == ()
    assert compressed(folder, 300).notes == (
        "job app is scraped every 50 ms: late scrapes are likely",
    )


def test_time_intervals_are_noted(write):
    text = "route: {receiver: t}\nreceivers: [{name: t}]\ntime_intervals: [{name: nights}]\n"
    (note,) = compressed(write(alertmanager=text)).notes
    assert "time intervals" in note


def test_a_duration_below_a_millisecond_is_refused(write):
    folder = write(alerts=RECORDINGS + alert("rate(x[10s]) > 1"))
    assert compressed(folder, 10_000).texts["alerts.yml"].count("[1ms]") == 1
    with pytest.raises(UsageError, match=r"alerts\.yml:11: .*less than a millisecond"):
        compressed(folder, 10_001)


@pytest.mark.parametrize("factor", [0, 0.5, -60])
def test_a_clock_can_t_be_slowed_down(write, factor):
    with pytest.raises(UsageError, match="1 or more"):
        compressed(write(), factor)


def test_a_layout_that_can_t_be_kept_is_refused(write):
    # In a folded scalar the comment reaches to the end of the expression.
    text = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: >\n      x # c\n      [5m]\n"
    with pytest.raises(UsageError, match="layout"):
        compressed(write(alerts=text))


def test_the_same_anchor_as_text_and_as_duration_is_refused(write):
    text = (
        "groups:\n- name: g\n  rules:\n"
        "  - {alert: A, expr: x, for: &five 5m, labels: {window: *five}}\n"
    )
    with pytest.raises(UsageError, match="used as a duration and as something else"):
        compressed(write(alerts=text))
