"""The pieces that the examples of checks are made of."""

from __future__ import annotations

METRICS = """\
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.5"} 5
http_request_duration_seconds_bucket{le="2.5"} 7
http_request_duration_seconds_bucket{le="+Inf"} 8
http_request_duration_seconds_sum 9
http_request_duration_seconds_count 8
# TYPE http_requests_total counter
http_requests_total{status="200"} 7
http_requests_total{status="503"} 1
"""

PROMETHEUS = """\
global: {scrape_interval: 30s, evaluation_interval: 1m}
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ['alertmanager:9093']}]}]}
scrape_configs:
  - job_name: app
    static_configs: [{targets: ['app:8000']}]
"""

ALERTMANAGER = """\
route: {receiver: team, group_by: [alertname], group_interval: 5m}
receivers:
  - name: team
    webhook_configs: [{url: 'http://receiver:8080/'}]
"""

P95 = "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))"

ERRORS = 'sum(rate(http_requests_total{status="503"}[5m]))'

ALL = "sum(rate(http_requests_total[5m]))"
SHARE_OF_ERRORS = f"{ERRORS} / {ALL}"


def example(expr: str) -> str:
    """A rule file with one alert that has nothing else wrong with it."""
    return f"""\
groups:
  - name: example
    rules:
      - alert: Example
        expr: {expr}
        for: 10m
        labels: {{severity: critical}}
        annotations:
          summary: Something is wrong
          runbook_url: https://runbooks.example.org/example
"""
