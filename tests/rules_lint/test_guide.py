"""The guide's files as written give every expected code; what ships and what is idiomatic none."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import generate_latest

from alertdrill.rules.lint.finding import Severity
from alertdrill.rules.lint.run import Given, lint
from hub.metrics import Metrics
from tests.rules_lint.files import GUIDE, MIXINS, MONITORING, REPOSITORY

# What the hub exposes of the pool, with the guide's own metric.
POOL = """\
# TYPE db_connection_pool_size gauge
db_connection_pool_size 20
# TYPE db_connection_pool_limit gauge
db_connection_pool_limit 20
"""
# The guide's histogram, which has no bucket at 0.2 s.
HISTOGRAM = """\
# TYPE sync_duration_seconds histogram
sync_duration_seconds_bucket{le="0.1"} 1
sync_duration_seconds_bucket{le="0.5"} 2
sync_duration_seconds_bucket{le="10.0"} 3
sync_duration_seconds_bucket{le="+Inf"} 3
sync_duration_seconds_count 3
sync_duration_seconds_sum 3
"""

# What the guide gets wrong, as far as it lies in configuration: file, line, code.
DEFECTS = [
    ("alert_rules is no key of Prometheus", "prometheus.yml", 6, "AD105"),
    ("so no rule file is loaded", "prometheus.yml", 2, "AD111"),
    ("no alerting section, no receiver", "prometheus.yml", 2, "AD114"),
    ("the hub's target is localhost", "prometheus.yml", 12, "AD115"),
    ("Docker's target is localhost", "prometheus.yml", 17, "AD115"),
    ("the node exporter's target is localhost", "prometheus.yml", 21, "AD115"),
    ("HighErrorRate compares a rate with a ratio's threshold", "alerts.yml", 8, "AD305"),
    ("SyncLatencyHigh has no rate of buckets", "alerts.yml", 16, "AD201"),
    ("the pool alert compares the pool's size", "alerts.yml", 24, "AD313"),
    *(
        (f"{name} has no severity", "alerts.yml", line, "AD401")
        for name, line in (
            ("HighErrorRate", 6),
            ("SyncLatencyHigh", 14),
            ("DatabaseConnectionPoolExhausted", 22),
            ("APIUnavailable", 29),
        )
    ),
    *(
        (f"{name} has no runbook", "alerts.yml", line, "AD402")
        for name, line in (
            ("HighErrorRate", 6),
            ("SyncLatencyHigh", 14),
            ("DatabaseConnectionPoolExhausted", 22),
            ("APIUnavailable", 29),
        )
    ),
]


@pytest.mark.parametrize(
    ("file", "line", "code"), [d[1:] for d in DEFECTS], ids=[d[0] for d in DEFECTS]
)
def test_the_guide_s_defect_is_found(file: str, line: int, code: str) -> None:
    found = {(f.file.name, f.spot.line, f.code) for f in lint([GUIDE]).findings}
    assert (file, line, code) in found


def test_nothing_else_is_said_of_the_guide() -> None:
    found = {(f.file.name, f.spot.line, f.code) for f in lint([GUIDE]).findings}
    assert found == {defect[1:] for defect in DEFECTS}


def test_with_its_key_mended_the_guide_s_path_finds_no_file(tmp_path: Path) -> None:
    text = (GUIDE / "prometheus.yml").read_text(encoding="utf-8")
    (tmp_path / "prometheus.yml").write_text(text.replace("alert_rules", "rule_files"))
    (tmp_path / "alerts.yml").write_bytes((GUIDE / "alerts.yml").read_bytes())
    found = {f.code for f in lint([tmp_path]).findings}
    assert {"AD112", "AD113", "AD114"} <= found


def test_metrics_show_that_a_pool_of_20_never_reaches_95(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.txt"
    metrics.write_text(POOL)
    report = lint([GUIDE / "alerts.yml"], Given(metrics=(str(metrics),)))
    assert ("AD205", "DatabaseConnectionPoolExhausted") in {
        (f.code, f.rule) for f in report.findings
    }


def test_metrics_show_that_200_ms_is_no_bucket(tmp_path: Path) -> None:
    metrics, rules = tmp_path / "metrics.txt", tmp_path / "rules.yml"
    metrics.write_text(HISTOGRAM)
    for bound, expected in (("0.2", {"AD206"}), ("0.5", set()), ("10", set())):
        rules.write_text(
            "groups:\n  - name: slo\n    rules:\n      - record: job:fast:ratio_rate5m\n"
            f'        expr: sum(rate(sync_duration_seconds_bucket{{le="{bound}"}}[5m])) / '
            "sum(rate(sync_duration_seconds_count[5m]))\n"
        )
        report = lint([rules], Given(metrics=(str(metrics),)))
        assert {f.code for f in report.findings} == expected, bound


def test_what_ships_is_clean() -> None:
    report = lint([MONITORING])
    assert [f"{f.where} {f.code} {f.message}" for f in report.findings] == []
    assert report.rules >= 6
    assert report.files == 3


def test_what_ships_asks_for_what_the_hub_and_the_log_store_expose(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.txt"
    metrics.write_bytes(generate_latest(Metrics().registry))
    given = Given(metrics=(str(metrics), str(REPOSITORY / "tests/data/elasticsearch_exporter.txt")))
    found = {f.code for f in lint([MONITORING], given).findings}
    assert found.isdisjoint({"AD201", "AD204", "AD205", "AD206", "AD301", "AD302"})
    # The same with one name misspelt: the detector looks.
    rules = tmp_path / "alerts.yml"
    text = (MONITORING / "alerts.yml").read_text(encoding="utf-8")
    rules.write_text(text.replace('outcome!~"success|not_modified"', 'outcome="failure"'))
    assert "AD206" in {f.code for f in lint([rules], given).findings}


def test_idiomatic_rules_have_no_errors() -> None:
    report = lint([MIXINS])
    errors = [f for f in report.findings if f.severity is Severity.ERROR]
    assert [f"{f.where} {f.code} {f.message}" for f in errors] == []
    assert report.rules >= 15
