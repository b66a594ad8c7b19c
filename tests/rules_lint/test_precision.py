"""Expressions at the border: what each check must see, and what it must leave alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertdrill.rules.lint.examples import example
from tests.rules_lint.files import codes, judge, judge_expr

METRICS = """\
# HELP requests_total Requests.
# TYPE requests_total counter
requests_total{source="github",status="success"} 5
requests_total{source="github",status="error"} 1 1700000000000
requests_total{source="ai",status="success"} 9
# TYPE queue_length gauge
queue_length 4
# TYPE temperature_total gauge
temperature_total 3
# TYPE latency_seconds histogram
latency_seconds_bucket{le="0.5"} 1
latency_seconds_bucket{le="10"} 2
latency_seconds_bucket{le="+Inf"} 2 # {trace_id="abc"} 0.4
latency_seconds_sum 3
latency_seconds_count 2
# EOF
"""
PROMETHEUS = """\
global: {scrape_interval: 15s, evaluation_interval: 30s}
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ['am:9093']}]}]}
scrape_configs:
  - job_name: app
    static_configs: [{targets: ['app:1'], labels: {zone: a}}]
  - job_name: slow
    scrape_interval: 1m
    static_configs: [{targets: ['slow:1']}]
"""
ERRORS = 'sum(rate(requests_total{status="error"}[5m]))'
ALL = "sum(rate(requests_total[5m]))"

CAUGHT = [
    # quantiles
    ("AD201", "histogram_quantile(0.9, sum by (le) (rate(latency_seconds_sum[5m]))) > 1"),
    ("AD202", "histogram_quantile(0.9, sum by (le) (latency_seconds_bucket)) > 1"),
    ("AD203", "histogram_quantile(0.9, sum(rate(latency_seconds_bucket[5m]))) > 1"),
    ("AD203", "histogram_quantile(0.9, sum without (le) (rate(latency_seconds_bucket[5m]))) > 1"),
    ("AD205", "histogram_quantile(95, sum by (le) (rate(latency_seconds_bucket[5m]))) > 1"),
    # ranges of values
    ("AD205", "up == 2"),
    ("AD205", "up < 0"),
    ("AD205", "5 < up"),
    ("AD205", "sum(rate(requests_total[5m])) < 0"),
    ("AD205", f"1 - {ERRORS} / {ALL} > 95"),
    ("AD205", f"{ERRORS} / clamp_min({ALL}, 1) > 5"),
    ("AD205", "hour() > 24"),
    ("AD205", "absent(up) == 0"),
    ("AD205", "avg_over_time(up[10m]) > 1"),
    ("AD205", f"100 * {ERRORS} / {ALL} > 500"),
    ("AD205", "count_over_time(up[5m]) == 0"),
    ("AD205", "clamp(queue_length, 0, 5) > 10"),
    ("AD205", 'ALERTS{alertname="Other"} == 0'),
    ("AD205", "quantile_over_time(99, queue_length[5m]) > 1"),
    ("AD205", "quantile by (job) (95, queue_length) > 1"),
    ("AD205", "queue_length < 5 and queue_length > 30"),
    ("AD205", "queue_length > 30 < 5"),
    ("AD205", "up == 0 and on () (hour() > 22 and hour() < 6)"),
    ("AD205", "job:errors:ratio_rate5m > 5"),
    ("AD205", "node_filesystem_avail_bytes / node_filesystem_size_bytes > 10"),
    ("AD206", 'up{job="a", job="b"} == 0'),
    ("AD206", 'up{job="a", job=~"b|c"} == 0'),
    ("AD208", f"{ERRORS} / {ALL} > 14.4 * (1 - 0.9)"),
    ("AD208", "slo:errors:ratio_rate1h > 14.4 * 0.1"),
    ("AD311", "rate(requests_total[5m]) >= 0"),
    ("AD311", f"{ERRORS} / {ALL} <= 1"),
    ("AD311", f"{ALL} / {ALL} > 0.05"),
    ("AD311", f"100 * {ALL} / ({ALL} > 0) > 5"),
    ("AD311", "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 10"),
    # patterns
    ("AD210", 'rate(requests_total{code="5.."}[5m]) > 5'),
    ("AD210", 'rate(requests_total{code!="2.."}[5m]) > 5'),
    ("AD210", 'rate(requests_total{code="500|503"}[5m]) > 5'),
    ("AD210", 'up{job="api.*"} == 0'),
    # counters and gauges by name
    ("AD301", "requests_total > 5"),
    ("AD301", "sum by (job) (requests_total) > 5"),
    ("AD301", "requests_total > 5 and up == 1"),
    ("AD302", "rate(disk_used_ratio[5m]) > 1"),
    ("AD314", "rate(sum by (job) (requests_total)[5m:]) > 5"),
    ("AD315", "deriv(requests_total[5m]) > 5"),
    # two sides
    ("AD304", f"sum by (job) (rate(requests_total[5m])) / {ALL} > 0.5"),
    ("AD304", "sum by (job) (rate(a_total[5m])) > 1 and sum by (zone) (rate(b_total[5m])) > 1"),
    ("AD304", "sum(rate(a_total[5m])) / queue_length > 0.5"),
    ("AD304", "up == 0 unless sum by (job) (maintenance) > 0"),
    ("AD304", "sum by (job) (a) / on (job) sum(b) > 0.5"),
    ("AD304", "sum by (zone) (a) / on (job) b > 0.5"),
    ("AD304", 'up{job="a"} == 0 and up{job="b"} == 0'),
    ("AD304", 'rate(x_total{code="5"}[5m]) / sum by (code) (rate(x_total{code="2"}[5m])) > 0.5'),
    ("AD306", "sum by (a, b) (x) / on (a) sum by (a) (y) > 1"),
    ("AD306", "sum by (a) (x) / ignoring (c) sum by (a, c) (y) > 1"),
    # rates and shares
    ("AD305", 'sum(rate(requests_total{status="error"}[5m])) > 0.05'),
    ("AD305", '0.05 < rate(requests_total{code=~"5.."}[5m])'),
    ("AD310", f"{ERRORS} / {ALL} * 100 < 99"),
    ("AD312", "queue_length"),
    ("AD312", "queue_length > bool 5"),
    ("AD312", "absent(up) or queue_length"),
    ("AD312", "up == 0 or vector(0)"),
    ("AD313", "pg_max_connections > 90"),
]

LEFT_ALONE = [
    # native histograms and recorded buckets
    ("AD201", "histogram_quantile(0.9, sum(rate(native_latency_seconds[5m]))) > 1"),
    ("AD202", "histogram_quantile(0.9, job:latency_seconds_bucket:rate5m) > 1"),
    ("AD203", "histogram_quantile(0.9, sum without (job) (rate(latency_seconds_bucket[5m]))) > 1"),
    ("AD203", "histogram_quantile(0.9, sum(rate(native_latency_seconds[5m]))) > 1"),
    # values that can occur
    ("AD205", "up == 0"),
    ("AD205", f"100 * {ERRORS} / {ALL} > 5"),
    ("AD205", f"{ERRORS} / {ALL} > 0.05"),
    ("AD205", "sum(up) > 5"),
    ("AD205", "count(up == 0) > 5"),
    ("AD205", "sum(rate(errors_total[5m])) / sum(rate(requests_total[5m])) > 5"),
    ("AD205", "a / b > 5"),
    ("AD205", "queue_length < 0"),
    ("AD205", "round(up * 10, 7) > 12"),
    ("AD205", "(count(up == 1) or vector(0)) == 0"),
    ("AD205", "count_over_time(up[5m]) < 3"),
    ("AD205", "quantile_over_time(0.99, queue_length[5m]) > 1"),
    ("AD205", "queue_length > 5 < 30"),
    ("AD205", "queue_length > 5 and queue_length offset 5m < 5"),
    ("AD205", "queue_length < 5 or queue_length > 30"),
    ("AD205", "queue_length >= 5 and queue_length <= 5"),
    ("AD205", "up == 0 and on () (hour() > 8 and hour() < 17)"),
    ("AD205", "up == 0 and on () (hour() > 22 or hour() < 6)"),
    ("AD205", "job:errors:ratio_rate5m > 0.05"),
    ("AD205", "compression_ratio > 1.5"),
    ("AD205", "redis_memory_used_bytes / redis_memory_max_bytes > 1.1"),
    ("AD206", 'up{job=~"a.*", job!="ab"} == 0'),
    ("AD210", 'up{job="api", path="/v1.0/users/[id]"} == 0'),
    ("AD210", 'up{job=~"api.*"} == 0'),
    ("AD208", "slo:errors:ratio_rate1h > 14.4 * 0.001"),
    ("AD208", "queue_length > 60 * 60 * 0.5"),
    ("AD311", "count(up) > 0"),
    ("AD311", "absent(up) == 1"),
    ("AD311", "count_over_time(up[5m]) > 0"),
    ("AD311", 'sum(count_over_time(ALERTS{alertname="Other"}[1h])) > 0'),
    ("AD311", f"{ALL} / sum(rate(requests_total[5m] offset 1w)) > 0.5"),
    ("AD311", "a / on (job) group_left () a > 0.5"),
    ("AD311", "node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.1"),
    ("AD311", "up == 0 and rate(requests_total[5m]) >= 0"),
    # counters whose height doesn't matter
    ("AD301", "increase(requests_total[5m]) > 5"),
    ("AD301", "absent(requests_total) or up == 0"),
    ("AD301", "count by (job) (requests_total) > 100"),
    ("AD301", "up == 0 and on (job) requests_total"),
    ("AD301", "requests_total - requests_total offset 5m > 5"),
    ("AD301", "requests_total == 0"),
    ("AD301", "max_over_time(rate(requests_total[5m])[1h:]) > 5"),
    ("AD302", "rate(process_cpu_seconds_total[5m]) > 0.9"),
    ("AD314", "max_over_time(sum(rate(requests_total[5m]))[1h:]) > 5"),
    # sides that match
    ("AD304", "sum by (job) (a) / on () group_left () sum(b) > 0.5"),
    ("AD304", "sum by (job) (a) / scalar(sum(b)) > 0.5"),
    ("AD304", "sum by (job, zone) (a) / on (job) group_left () sum by (job) (b) > 0.5"),
    ("AD304", "sum by (job) (a) / on (job) b > 0.5"),
    ("AD304", 'up{job="a"} == 0 and on (instance) up{job="b"} == 0'),
    ("AD304", 'up{job="a"} == 0 or up{job="b"} == 0'),
    ("AD304", 'x{code="5"} / ignoring (code) x{code="2"} > 0.5'),
    ("AD304", 'sum by (job) (x{code="5"}) / sum by (job) (x{code="2"}) > 0.5'),
    ("AD304", 'label_replace(x{zone="a"}, "zone", "b", "", "") / y{zone="b"} > 0.5'),
    ("AD304", "sum by (a, b) (x) / sum by (b, a) (y) > 1"),
    ("AD304", "sum by (job, instance) (x) / y > 1"),
    ("AD304", "sum by (job) (x) / job:y:sum > 1"),
    ("AD304", "sum(x) or vector(0) > 1"),
    ("AD304", "sum by (a) (x) > 1 and on () sum(y) > 1"),
    ("AD306", "sum by (a, b) (x) / on (a) group_left () sum by (a) (y) > 1"),
    ("AD306", "sum by (a) (x) * on (a) group_left (v) max by (a, v) (info) > 1"),
    ("AD306", "x / on (a) sum by (a) (y) > 1"),
    # rates that may be compared
    ("AD305", 'sum(rate(requests_total{status="error"}[5m])) > 0'),
    ("AD305", 'sum(rate(requests_total{status="error"}[5m])) > 5'),
    ("AD305", 'rate(cpu_seconds_total{state="busy"}[5m]) > 0.9'),
    ("AD305", "rate(requests_total[5m]) > 0.5"),
    ("AD305", "rate(etcd_network_peer_sent_failures_total[5m]) > 0.01"),
    ("AD305", f"{ERRORS} / {ALL} > 0.05"),
    ("AD310", f"{ERRORS} / ({ALL} > 0) < 0.99"),
    ("AD310", f"{ERRORS} / {ALL} < 0.99 or absent(requests_total)"),
    ("AD310", f"{ERRORS} / {ALL} > 0.05"),
    ("AD310", "free_bytes / size_bytes < 0.1"),
    ("AD312", "vector(1)"),
    ("AD312", "absent(up)"),
    ("AD312", "sum(up == 0)"),
    ("AD312", "queue_length unless on (job) maintenance"),
    ("AD313", "connections / pg_max_connections > 0.9"),
]


@pytest.mark.parametrize(("code", "expr"), CAUGHT)
def test_it_is_caught(code: str, expr: str, tmp_path: Path) -> None:
    assert code in judge_expr(tmp_path, expr)


@pytest.mark.parametrize(("code", "expr"), LEFT_ALONE)
def test_it_is_left_alone(code: str, expr: str, tmp_path: Path) -> None:
    found = judge_expr(tmp_path, expr)
    assert code not in found
    assert "AD107" not in found  # the expression itself is right


WITH_METRICS_CAUGHT = [
    ("AD204", "histogram_quantile(0.9, sum by (le) (rate(latency_seconds_bucket[5m]))) > 10"),
    (
        "AD204",
        "histogram_quantile(0.9, sum by (le) (rate(latency_seconds_bucket[5m]))) * 1000 > 10000",
    ),
    ("AD206", 'rate(requests_total{status="failure"}[5m]) > 1'),
    ("AD206", 'rate(requests_total{status=~"fail.*"}[5m]) > 1'),
    ("AD206", 'rate(requests_total{source="ai",status="error"}[5m]) > 1'),
    ("AD206", 'rate(requests_total{outcome="error"}[5m]) > 1'),
    ("AD206", "rate(request_total[5m]) > 1"),
    ("AD206", 'rate(latency_seconds_bucket{le="0.2"}[5m]) > 1'),
    ("AD302", "rate(queue_length[5m]) > 1"),
    ("AD302", "rate(temperature_total[5m]) > 1"),
    ("AD201", "histogram_quantile(0.9, sum by (le) (rate(latency_seconds[5m]))) > 1"),
]
WITH_METRICS_LEFT_ALONE = [
    ("AD204", "histogram_quantile(0.9, sum by (le) (rate(latency_seconds_bucket[5m]))) >= 10"),
    ("AD206", 'rate(requests_total{status="error",job="app",instance="x"}[5m]) > 1'),
    ("AD206", 'rate(requests_total{status!="failure"}[5m]) > 1'),
    ("AD206", 'rate(requests_total{outcome=""}[5m]) > 1'),
    ("AD206", 'rate(latency_seconds_bucket{le="10.0"}[5m]) > 1'),
    ("AD206", "absent(requests_gone_total)"),
    ("AD206", 'up{job="app"} == 0'),
    ("AD206", "job:requests:rate5m > 1 or example_recorded > 1"),
    ("AD301", "temperature_total > 5"),
    ("AD302", "rate(requests_total[5m]) > 1"),
]
RECORDED = """\
groups:
  - name: recorded
    rules:
      - record: job:requests:rate5m
        expr: sum by (job) (rate(requests_total[5m]))
      - record: example_recorded
        expr: max(queue_length)
"""


@pytest.mark.parametrize(("code", "expr"), WITH_METRICS_CAUGHT)
def test_it_is_caught_by_what_is_exposed(code: str, expr: str, tmp_path: Path) -> None:
    assert code in judge_expr(tmp_path, expr, METRICS)


@pytest.mark.parametrize(("code", "expr"), WITH_METRICS_LEFT_ALONE)
def test_what_is_exposed_is_left_alone(code: str, expr: str, tmp_path: Path) -> None:
    assert code not in judge_expr(tmp_path, expr, METRICS, recorded=RECORDED)


WITH_PROMETHEUS_CAUGHT = [
    ("AD207", 'up{job="apps"} == 0'),
    ("AD209", "rate(x_total[20s]) > 1"),
    ("AD209", 'rate(x_total{job="slow"}[1m30s]) > 1'),
    ("AD303", "increase(x_total[45s]) > 1"),
    ("AD303", 'rate(x_total{job="slow"}[3m]) > 1'),
]
WITH_PROMETHEUS_LEFT_ALONE = [
    ("AD207", 'up{job="slow"} == 0'),
    ("AD207", 'job:x:rate5m{job="elsewhere"} == 0'),
    ("AD209", "rate(x_total[30s]) > 1"),
    ("AD303", "rate(x_total[1m]) > 1"),
    ("AD303", "max_over_time(x[15s]) > 1"),
]


@pytest.mark.parametrize(("code", "expr"), WITH_PROMETHEUS_CAUGHT)
def test_it_is_caught_by_prometheus_yml(code: str, expr: str, tmp_path: Path) -> None:
    assert code in judge_expr(tmp_path, expr, prometheus=PROMETHEUS)


@pytest.mark.parametrize(("code", "expr"), WITH_PROMETHEUS_LEFT_ALONE)
def test_prometheus_yml_lets_it_be(code: str, expr: str, tmp_path: Path) -> None:
    assert code not in judge_expr(tmp_path, expr, prometheus=PROMETHEUS)


FAILURES = "rate(sent_failures_total[5m]) > 0.01"
OF_ERRORS = 'rate(requests_total{status="error"}[5m]) > 0.05'
TEXTS = [
    ("AD305", FAILURES, "{{ $value | humanizePercentage }} of the messages fail", True),
    ("AD305", FAILURES, "more than 1 % of the messages fail", True),
    ("AD305", FAILURES, '{{ printf "%.2f" $value }} messages fail in each second', False),
    ("AD305", FAILURES, "messages fail", False),
    ("AD305", FAILURES, "high failure rate", True),
    ("AD305", OF_ERRORS, "Error rate is {{ $value }}", True),
    ("AD305", OF_ERRORS, "{{ $value | humanize }} errors/s", False),
    ("AD305", OF_ERRORS, "{{ $value | humanize }} errors per second", False),
    ("AD307", 'absent(up{job="app"})', "{{ $labels.instance }}", True),
    ("AD404", 'absent(up{job="app"})', "{{ $labels.instance }}", False),
    ("AD307", 'up{job="app"} == 0 or absent(up{job="app"})', "{{ $labels.instance }}", True),
    ("AD307", 'up == 0 or absent(up{job="app"})', "{{ $labels.job }}", False),
    (
        "AD307",
        'up == 0 or absent(up{job="app"})',
        "{{ with $labels.instance }}{{ . }}: {{ $labels.instance }}{{ end }}",
        False,
    ),
    ("AD404", "sum by (job) (x) > 1 or absent(x)", "{{ $labels.zone }}", True),
    ("AD404", "sum by (job) (x) > 1", '{{ index $labels "zone" }}', True),
    ("AD404", "sum by (job) (x) > 1", "{{ .Labels.zone }}", True),
    ("AD404", "sum by (job) (x) > 1", "{{ $labels.job }} {{ $labels }}", False),
    ("AD404", "x / on (zone) group_left (owner) y > 1", "{{ $labels.owner }}", False),
    ("AD404", "sum by (zone) (x) / on (zone) sum by (zone) (y) > 1", "{{ $labels.zone }}", False),
    ("AD404", "x / on (zone) y > 1", "{{ $labels.instance }}", True),
    ("AD404", "count_values by (job) ('v', x) > 1", "{{ $labels.v }}", False),
    ("AD404", "label_replace(sum(x), 'a', '$1', 'b', '.*') > 1", "{{ $labels.a }}", False),
    ("AD404", "topk by (job) (3, x) > 1", "{{ $labels.instance }}", False),
    ("AD405", "x > 1", "{{ $value | humanise }}", True),
    ("AD405", "x > 1", "{{ $labels.a", True),
    ("AD405", "x > 1", "{{ if $value }}yes", True),
    ("AD405", "x > 1", "{{ $v }}", True),
    ("AD405", "x > 1", "{{ end }}", True),
    (
        "AD405",
        "x > 1",
        "{{ $v := 1e6 }}{{ if gt $value $v }}a{{ else if lt 1 2 }}b{{ end }}",
        False,
    ),
    ("AD405", "x > 1", "{{ range query `up` }}{{ .Labels.job }} {{ . | value }}{{ end }}", False),
    ("AD405", "x > 1", "{{- /* words */ -}} {{ printf `%.2f` $value }}", False),
    ("AD405", "x > 1", "{{ reReplaceAll `a(.*)` `$1` $labels.job | toUpper }}", False),
]


@pytest.mark.parametrize(("code", "expr", "text", "caught"), TEXTS)
def test_texts(code: str, expr: str, text: str, caught: bool, tmp_path: Path) -> None:
    rules = example(f'"{expr}"' if '"' not in expr else f"'{expr}'")
    rules = rules.replace("Something is wrong", "|-\n            " + text)
    assert (code in codes(judge(tmp_path, rules=rules))) == caught


LABELS = [
    ("AD406", '"{{ $value }}"', True),
    ("AD406", '"{{ if gt $value 90.0 }}critical{{ else }}warning{{ end }}"', False),
    ("AD406", '"{{ $labels.severity }}"', False),
]


@pytest.mark.parametrize(("code", "label", "caught"), LABELS)
def test_labels(code: str, label: str, caught: bool, tmp_path: Path) -> None:
    rules = example("x > 1").replace("{severity: critical}", f"{{severity: {label}}}")
    assert (code in codes(judge(tmp_path, rules=rules))) == caught


def test_many_exposed_values_are_high_cardinality(tmp_path: Path) -> None:
    metrics = "".join(f'x{{shard="{number}",job="app"}} 1\n' for number in range(200))
    assert "AD407" in judge_expr(tmp_path, "x > 1", metrics)
    assert "AD407" not in judge_expr(tmp_path, "sum by (job) (x) > 1", metrics)
    fewer = "".join(metrics.splitlines(keepends=True)[:100])
    assert "AD407" not in judge_expr(tmp_path, "x > 1", fewer)


ROUTES = """\
route:
  receiver: team
  group_interval: 1m
  routes:
    - matchers: [severity="critical"]
      receiver: team
    - matchers: [namespace="shop"]
      receiver: team
receivers:
  - name: team
    webhook_configs: [{url: 'http://receiver:8080/'}]
"""


def test_a_route_that_the_alert_may_take_is_not_missed(tmp_path: Path) -> None:
    rules = example("x > 1").replace("critical", "warning")
    # The alert may have the namespace: nobody knows before it fires.
    assert codes(judge(tmp_path, rules=rules, alertmanager=ROUTES)) == set()
    by_severity = ROUTES.replace('namespace="shop"', 'severity="page"')
    assert codes(judge(tmp_path, rules=rules, alertmanager=by_severity)) == {"AD116"}


def test_an_alert_without_severity_is_an_error_where_routes_need_it(tmp_path: Path) -> None:
    rules = example("x > 1").replace("{severity: critical}", "{team: app}")
    for files, severity in (({}, "warning"), ({"alertmanager": ROUTES}, "error")):
        report = judge(tmp_path, rules=rules, **files)
        assert [f.severity for f in report.findings if f.code == "AD401"] == [severity]


def test_the_same_alert_twice(tmp_path: Path) -> None:
    one = example("x > 1")
    same = one.replace("name: example", "name: other").replace("x > 1", "x   >  1")
    report = judge(tmp_path, rules=one, more=same)
    assert [(f.code, f.severity, f.file.name) for f in report.findings] == [
        ("AD408", "error", "rules.yml")
    ]
    report = judge(tmp_path, rules=one, more=same.replace("1\n", "2\n"))
    assert [(f.code, f.severity) for f in report.findings] == [("AD408", "warning")]
    assert codes(judge(tmp_path, rules=one, more=same.replace("critical", "warning"))) == set()
