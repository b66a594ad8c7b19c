"""The shipped monitoring, through the real thing, against alertdrill.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertdrill.config import load_config
from alertdrill.rules.model import load_monitoring
from alertdrill.rules.programs import Program
from alertdrill.rules.routing.run import Question, answer
from alertdrill.verdict import Verdict
from tests.rules_routing.conftest import ROOT


@pytest.mark.docker
def test_every_shipped_alert_goes_where_it_belongs(program: Program, promtool_path: Path) -> None:
    config = load_config(ROOT)
    monitoring = load_monitoring(
        config.path(config.monitoring.prometheus), config.path(config.monitoring.alertmanager)
    )
    report = answer(
        Question(
            rule_files=monitoring.files,
            alertmanager=monitoring.alertmanager.path,
            table=config.alerts,
            complete=True,
            factor=7_200,
        ),
        lambda: program,
        lambda: promtool_path,
    )
    failing = [f.message for judged in report.alerts for f in judged.findings if f.verdict]
    assert report.verdict is Verdict.PASS, [*failing, *report.findings]
    assert {judged.firing.rule.name for judged in report.alerts} == set(monitoring.alerts)
    inhibited = {judged.firing.rule.name for judged in report.alerts if judged.inhibited_by}
    assert inhibited == {
        *("HighErrorRate", "SyncLatencyHigh", "NoSuccessfulSyncs"),
        *("ApiErrorRateHigh", "ApiLatencyHigh"),
    }
