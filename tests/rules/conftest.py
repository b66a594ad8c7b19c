"""A small but complete monitoring to vary: each test writes the file that it is about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

PROMETHEUS = """\
global:
  scrape_interval: 15s
  evaluation_interval: 30s
rule_files: [/etc/prometheus/alerts.yml]
alerting:
  alertmanagers:
    - static_configs:
        - targets: ['alertmanager:9093']
scrape_configs:
  - job_name: app
    static_configs:
      - targets: ['app:80']
  - job_name: slow
    scrape_interval: 60s
    static_configs:
      - targets: ['slow:80']
"""

ALERTS = """\
groups:
  - name: g
    rules:
      - alert: A
        expr: rate(x[5m]) > 1
        for: 5m
        labels: {severity: critical}
"""

ALERTMANAGER = """\
route:
  receiver: team
  group_by: [alertname]
receivers:
  - name: team
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the three files, any of them replaced, into a folder, and return it."""

    def _write(
        alerts: str = ALERTS, prometheus: str = PROMETHEUS, alertmanager: str = ALERTMANAGER
    ) -> Path:
        (tmp_path / "alerts.yml").write_text(alerts)
        (tmp_path / "prometheus.yml").write_text(prometheus)
        (tmp_path / "alertmanager.yml").write_text(alertmanager)
        return tmp_path

    return _write


@pytest.fixture
def project() -> Path:
    """The root of the repository."""
    return Path(__file__).parents[2]
