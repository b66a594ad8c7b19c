"""What ships in monitoring/, and the guide's version of it, which every check here must catch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alertdrill.assemble import unsound_rules
from alertdrill.config import load_config
from alertdrill.errors import UsageError
from alertdrill.rules.compress import compress
from alertdrill.rules.model import (
    AlertRule,
    Monitoring,
    load_monitoring,
    load_prometheus,
    load_rules,
)
from alertdrill.rules.promql import look_back_ms, metric_name, parse, selectors

SEVERITIES = {"critical": "oncall", "warning": "team", "none": "deadmansswitch"}
HEARTBEAT = "Watchdog"
METRICS = {
    "sync_operations_total",
    "sync_duration_seconds_bucket",
    "db_connection_pool_in_use",
    "db_connection_pool_limit",
    "upstream_requests_total",
    "http_requests_total",
    "http_request_duration_seconds_bucket",
    "db_replication_lag_seconds",
    "app_time_seconds",
    "elasticsearch_index_stats_indexing_index_total",
    "log_records_written_total",
    "scrape_samples_post_metric_relabeling",
    "up",
}


@pytest.fixture
def shipped(project) -> Monitoring:
    folder = project / "monitoring"
    return load_monitoring(folder / "prometheus.yml", folder / "alertmanager.yml")


@pytest.fixture
def guide(project) -> dict[str, AlertRule]:
    (group,) = load_rules(project / "tests" / "data" / "guide" / "alerts.yml").groups
    return {rule.name: rule for rule in group.rules if isinstance(rule, AlertRule)}


# Defects that need no running system to be seen; each takes a rule and names what is wrong.


def no_severity(rule: AlertRule, root: Path) -> str:
    return "" if rule.labels.get("severity") in SEVERITIES else "no severity"


def no_runbook(rule: AlertRule, root: Path) -> str:
    runbook = rule.annotations.get("runbook_url", "")
    return "" if runbook and (root / runbook).is_file() else "no runbook"


def no_units(rule: AlertRule, root: Path) -> str:
    """A bare number is no description of a measurement."""
    description = rule.annotations.get("description", "")
    return "" if description and not re.search(r"\{\{ *\$value *\}\}", description) else "no units"


def quantile_of_no_rate(rule: AlertRule, root: Path) -> str:
    """A quantile needs the rates of buckets; without them it has nothing to compute."""
    if "histogram_quantile" not in rule.expr:
        return ""
    buckets = all((metric_name(s) or "").endswith("_bucket") for s in selectors(parse(rule.expr)))
    return "" if buckets and look_back_ms(parse(rule.expr)) else "quantile of no rate"


def rate_for_a_ratio(rule: AlertRule, root: Path) -> str:
    """Errors per second depend on the traffic: a share needs a division by all of it."""
    if 'status="error"' not in rule.expr:
        return ""
    return "" if "/" in rule.expr else "a rate for a ratio"


def size_for_use(rule: AlertRule, root: Path) -> str:
    names = {metric_name(selector) for selector in selectors(parse(rule.expr))}
    return "the pool's size, not its use" if "db_connection_pool_size" in names else ""


DEFECTS = [
    no_severity,
    no_runbook,
    no_units,
    quantile_of_no_rate,
    rate_for_a_ratio,
    size_for_use,
]

GUIDE_DEFECTS = {
    "HighErrorRate": {no_severity, no_runbook, no_units, rate_for_a_ratio},
    "SyncLatencyHigh": {no_severity, no_runbook, no_units, quantile_of_no_rate},
    "DatabaseConnectionPoolExhausted": {no_severity, no_runbook, no_units, size_for_use},
    "APIUnavailable": {no_severity, no_runbook, no_units},
}


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("name", GUIDE_DEFECTS)
def test_the_guide_s_alert_is_caught_and_the_shipped_one_is_clean(
    guide, shipped, project, name, defect
):
    assert bool(defect(guide[name], project)) is (defect in GUIDE_DEFECTS[name])
    assert not defect(shipped.alerts[name], project)


@pytest.mark.parametrize("defect", DEFECTS)
def test_no_shipped_alert_has_a_known_defect(shipped, project, defect):
    assert {
        rule.name: words for rule in shipped.alerts.values() if (words := defect(rule, project))
    } == {}


def test_the_guide_s_four_alerts_all_ship(guide, shipped):
    assert set(guide) == set(GUIDE_DEFECTS)
    assert set(guide) <= set(shipped.alerts)


def test_the_guide_s_prometheus_yml_is_refused(project):
    path = project / "tests" / "data" / "guide" / "prometheus.yml"
    with pytest.raises(UsageError, match="unknown key 'alert_rules'") as caught:
        load_prometheus(path)
    assert path.read_text().splitlines()[caught.value.line - 1] == "alert_rules:"


def test_with_its_key_mended_it_still_finds_no_rules_and_tells_nobody(project, tmp_path):
    guide = project / "tests" / "data" / "guide"
    (tmp_path / "alerts.yml").write_text((guide / "alerts.yml").read_text())
    mended = tmp_path / "prometheus.yml"
    # As mounted in the container: alerts.yml beside prometheus.yml, no folder monitoring/.
    mended.write_text((guide / "prometheus.yml").read_text().replace("alert_rules", "rule_files"))
    with pytest.raises(UsageError, match=r"no rule file matches 'monitoring/alerts\.yml'"):
        load_prometheus(mended)
    mended.write_text(mended.read_text().replace("monitoring/alerts", "alerts"))
    with pytest.raises(UsageError, match="no alerting section"):
        load_prometheus(mended)


def test_targets_are_other_hosts_not_localhost(shipped, project):
    loopback = {
        job.name
        for job in shipped.prometheus.jobs
        if any(target.startswith(("localhost", "127.")) for target in job.targets)
    }
    assert loopback == {"prometheus"}
    assert {"bakhmach-app", "docker", "node"} <= {job.name for job in shipped.prometheus.jobs}
    guide = (project / "tests" / "data" / "guide" / "prometheus.yml").read_text()
    assert re.findall(r"targets: \['(\w+):\d+'\]", guide) == ["localhost"] * 3


def test_alerts_are_sent_to_alertmanager(shipped):
    assert shipped.prometheus.alertmanagers == ("alertmanager:9093",)


def test_every_alert_reaches_the_receiver_of_its_severity(shipped):
    for rule in shipped.alerts.values():
        (receiver,) = shipped.alertmanager.receiver_for(rule.alert_labels)
        assert receiver == SEVERITIES[rule.labels["severity"]]
        (hook,) = shipped.alertmanager.receiver(receiver).webhooks
        assert hook.url == f"http://receiver:8080/notify/{receiver}"
        assert hook.send_resolved is (rule.name != HEARTBEAT)


def test_every_receiver_has_something_to_hear(shipped):
    heard = {shipped.alertmanager.receiver_for(r.alert_labels) for r in shipped.alerts.values()}
    assert heard == {(receiver,) for receiver in SEVERITIES.values()}


def test_news_of_a_group_is_never_slower_than_an_alert(shipped):
    for rule in shipped.alerts.values():
        _, group_interval_s, _ = shipped.alertmanager.timing_for(rule.alert_labels)
        assert group_interval_s < rule.for_s or rule.name == HEARTBEAT
        assert shipped.alertmanager.groups_alone(rule.alert_labels)


def test_two_heartbeats_may_be_lost_and_no_more(shipped, project):
    """Alertmanager repeats a notification at the end of a group_interval, if it is due by then."""
    heartbeat = shipped.alerts[HEARTBEAT].alert_labels
    wait_s, interval_s, repeat_s = shipped.alertmanager.timing_for(heartbeat)
    assert (wait_s, interval_s) == (0, 60)
    assert repeat_s <= interval_s / 2, "else a slow delivery makes every other one fall out"
    config = load_config(project)
    patience_s = config.load_stack().durations["heartbeat_patience_s"]
    assert 2 * interval_s < patience_s <= 3 * interval_s
    # Without Prometheus an alert lives for four resend delays (1 m).
    assert config.alerts["DeadMansSwitch"].within_s >= 4 * 60 + patience_s


def test_symptoms_stay_quiet_while_the_api_is_down(shipped):
    down = shipped.alerts["APIUnavailable"].alert_labels
    muted = {
        rule.name
        for rule in shipped.alerts.values()
        if shipped.alertmanager.inhibited_by(rule.alert_labels, [down])
    }
    assert muted == {
        *("HighErrorRate", "SyncLatencyHigh", "NoSuccessfulSyncs"),
        *("ApiErrorRateHigh", "ApiLatencyHigh"),
    }
    assert not any(
        shipped.alertmanager.inhibited_by(rule.alert_labels, []) for rule in shipped.alerts.values()
    )


def test_what_inhibits_fires_before_and_resolves_after_its_symptoms(shipped):
    """Else a symptom would slip out before it is inhibited, or as soon as it no longer is."""
    down = shipped.alerts["APIUnavailable"]
    assert list(shipped.alerts)[-1] == "APIUnavailable"
    assert {rule.group for rule in shipped.alerts.values()} == {down.group}
    symptoms = [r for r in shipped.alerts.values() if r.name not in (down.name, HEARTBEAT)]
    assert all(down.for_s < rule.for_s for rule in symptoms)


def test_alerts_use_only_metrics_that_are_exported(shipped):
    used = {metric_name(s) for rule in shipped.alerts.values() for s in selectors(parse(rule.expr))}
    assert used == METRICS


def test_every_shipped_rule_can_be_compressed_soundly(project):
    folder = project / "monitoring"
    config = load_config(project)
    result = compress(folder / "prometheus.yml", folder / "alertmanager.yml", 60)
    assert (unsound_rules(config, result), result.notes) == ([], ())
    # The analysis can't tell a difference of clocks from an age; alertdrill.toml says which it is.
    assert {rule.rule for rule in result.unsound} == {"ClockSkewed"}
    silent = {n: a.model_copy(update={"any_clock": None}) for n, a in config.alerts.items()}
    config = config.model_copy(update={"alerts": silent})
    assert {rule.rule for rule in unsound_rules(config, result)} == {"ClockSkewed"}


SECTIONS = [
    "What it means",
    "Impact",
    "First checks",
    "Mitigation",
    "Escalation",
    "Confirm recovery",
]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert(shipped, project):
    folder = project / "monitoring" / "runbooks"
    alerts = {*shipped.alerts, *load_config(project).switches}
    assert {path.stem for path in folder.glob("*.md")} == alerts
    for name in alerts:
        lines = (folder / f"{name}.md").read_text().splitlines()
        assert lines[0] == f"# {name}"
        assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == SECTIONS


def test_the_queries_in_runbooks_are_promql(project):
    for path in (project / "monitoring" / "runbooks").glob("*.md"):
        queries = re.findall(r"```promql\n(.*?)```", path.read_text(), re.DOTALL)
        assert queries, path
        for query in queries:
            parse(query)
