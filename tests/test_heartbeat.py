"""Heartbeats and dead man's switches: as configured, before a drill, and over its whole length."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from alertdrill import heartbeat
from alertdrill.assemble import clock_values
from alertdrill.config import Config, load_config
from alertdrill.drill import Drill
from alertdrill.errors import UsageError
from alertdrill.faults.nothing import Nothing
from alertdrill.load.plan import Load
from alertdrill.rules.compress import compress
from alertdrill.rules.deadline import Deadline
from alertdrill.rules.model import Monitoring, load_monitoring
from alertdrill.signals.alerts import AlertState, RuleStatus
from alertdrill.signals.notifications import Notification
from alertdrill.verdict import Reason

ROOT = Path(__file__).parents[1]
ALLOWED_S = 5.0
CONTROL = Drill("nothing", fault=Nothing(), load=Load("x.py", {"User": 1.0}, name="x"))


def notification(alert: str, at: float, receiver: str, **more: Any) -> Notification:
    labels = {"alertname": alert, "severity": more.pop("severity", "none")}
    return Notification(at, receiver, alert, more.pop("status", "firing"), labels, {})


def beats(*times: float, receiver: str = "deadmansswitch", **more: Any) -> list[Notification]:
    return [notification("Watchdog", at, receiver, **more) for at in times]


@dataclass
class Bench:
    """What ``heartbeat`` asks of a bench, and of a watch."""

    config: Config
    monitoring: Monitoring
    state: AlertState | None = AlertState.FIRING
    arrived: list[Notification] = field(default_factory=list)

    @property
    def alerts(self) -> Bench:
        return self

    @property
    def notifications(self) -> Bench:
        return self

    @property
    def latest(self) -> dict[str, Notification]:
        return {n.alert: n for n in self.arrived}

    def new(self) -> None:
        pass

    def rules(self) -> list[RuleStatus]:
        if self.state is None:
            return []
        return [RuleStatus("Watchdog", self.state, True, 0.0, 0.0, "1", "")]

    def fire_deadline(self, alert: str, operation_s: float) -> Deadline:
        return Deadline((("promised", ALLOWED_S),))

    def resolve_deadline(self, alert: str, operation_s: float) -> Deadline:
        return Deadline((("promised", ALLOWED_S),))

    def received(self, alert: str, status: str, since: float) -> list[Notification]:
        return [n for n in self.arrived if (n.alert, n.status) == (alert, status)]


@pytest.fixture(scope="module")
def shipped() -> Bench:
    folder = ROOT / "monitoring"
    monitoring = load_monitoring(folder / "prometheus.yml", folder / "alertmanager.yml")
    return Bench(load_config(ROOT), monitoring)


def alarm(status: str, at: float) -> Notification:
    return notification("DeadMansSwitch", at, "oncall", status=status, severity="critical")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda now: {"arrived": beats(now - 1)}, None),
        (
            lambda now: {"arrived": [alarm("firing", now), *beats(now), alarm("resolved", now)]},
            None,
        ),
        (lambda now: {"arrived": []}, "no Watchdog arrived at deadmansswitch"),
        (lambda now: {"arrived": beats(now - 2 * ALLOWED_S)}, "no Watchdog arrived"),
        (lambda now: {"arrived": beats(now, receiver="team")}, "but at team"),
        (lambda now: {"state": None, "arrived": beats(now)}, "no rule defines it"),
        (lambda now: {"state": AlertState.INACTIVE, "arrived": beats(now)}, "it is inactive"),
        (
            lambda now: {"arrived": [*beats(now), alarm("firing", now)]},
            "DeadMansSwitch fires, although Watchdog arrives",
        ),
    ],
    ids=["heard", "ended", "never", "no more", "elsewhere", "no rule", "inactive", "alarm"],
)
def test_a_heartbeat_must_be_heard_before_a_drill(
    shipped: Bench, change: Callable[[float], dict[str, Any]], complaint: str | None
) -> None:
    said = heartbeat.unheard(replace(shipped, **change(time.monotonic())))  # type: ignore[arg-type]
    assert said is None if complaint is None else complaint in (said or "")


def reasons(
    bench: Bench, drill: Drill, arrived: list[Notification], since_s: float = 9.0, **more: float
) -> list[Reason]:
    heard = replace(bench, arrived=arrived)
    now = time.monotonic()
    healed = now - more["healed_s"] if more else None
    found = heartbeat.findings(
        drill,
        heard,  # type: ignore[arg-type]
        heard,  # type: ignore[arg-type]
        injected=now - since_s,
        healed=healed,
    )
    return [finding.reason for finding in found]


def test_a_heartbeat_that_stops_in_a_drill_is_found(shipped: Bench) -> None:
    now = time.monotonic()
    steady = beats(now - 8, now - 4, now)
    assert reasons(shipped, CONTROL, steady) == []
    assert reasons(shipped, CONTROL, steady[::2]) == [Reason.HEARTBEAT_STOPPED]
    assert reasons(shipped, CONTROL, []) == [Reason.HEARTBEAT_STOPPED]


def test_a_heartbeat_that_is_silenced_on_purpose_must_come_back(shipped: Bench) -> None:
    now = time.monotonic()
    silent = replace(CONTROL, fires=frozenset({"DeadMansSwitch"}))
    assert reasons(shipped, silent, []) == [], "nothing was healed, which is found elsewhere"
    assert reasons(shipped, silent, beats(now - 3), healed_s=7.0) == []
    before_only, late = beats(now - 8), beats(now - 8, now - 1)
    assert reasons(shipped, silent, before_only, healed_s=7.0) == [Reason.HEARTBEAT_STOPPED]
    assert reasons(shipped, silent, late, healed_s=7.0) == [Reason.HEARTBEAT_STOPPED]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"receiver": "team"}, Reason.WRONG_RECEIVER),
        ({"severity": "critical"}, Reason.WRONG_LABELS),
    ],
    ids=["receiver", "labels"],
)
def test_a_heartbeat_that_arrives_wrong_is_found(
    shipped: Bench, more: dict[str, str], reason: Reason
) -> None:
    assert reasons(shipped, CONTROL, beats(time.monotonic(), **more), since_s=1.0) == [reason]


@pytest.mark.parametrize(("factor", "patience"), [(1, "180"), (60, "3"), (45, "4")])
def test_the_switch_s_patience_is_on_the_run_s_clock(
    shipped: Bench, factor: float, patience: str
) -> None:
    folder = ROOT / "monitoring"
    compressed = compress(folder / "prometheus.yml", folder / "alertmanager.yml", factor)
    values = clock_values(shipped.config.load_stack(), compressed)
    assert values["heartbeat_patience_s"] == patience
    assert values["rules_alert_resend_delay"] == {1: "1m", 60: "1s", 45: "1s333ms"}[factor]


# --- alertdrill.toml ----------------------------------------------------------------------------


def configured(tmp_path: Path, edit: Callable[[str], str]) -> Config:
    text = (ROOT / "alertdrill.toml").read_text(encoding="utf-8")
    (tmp_path / "alertdrill.toml").write_text(edit(text), encoding="utf-8")
    return load_config(tmp_path)


def test_switches_are_drilled_and_heartbeats_are_not(shipped: Bench) -> None:
    names = shipped.config.drillable(shipped.monitoring.alerts)
    assert "DeadMansSwitch" in names
    assert "Watchdog" not in names
    assert {*names, "Watchdog"} == {*shipped.monitoring.alerts, "DeadMansSwitch"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('watches = "Watchdog"', 'watches = "Heartbeat"', "watches Heartbeat: it needs a rule"),
        ("[alerts.DeadMansSwitch]", "[alerts.Second]", None),
        (
            "[alerts.HighErrorRate]",
            '[alerts.HighErrorRate]\nwatches = "Watchdog"',
            "a rule defines",
        ),
        ("[alerts.Watchdog]", "[alerts.Watchdogs]", "no rule defines Watchdogs"),
    ],
)
def test_a_switch_that_watches_nothing_is_refused(
    shipped: Bench, tmp_path: Path, old: str, new: str, words: str | None
) -> None:
    config = configured(tmp_path, lambda text: text.replace(old, new))
    if words is None:
        config.refuse_unknown_alerts(shipped.monitoring.alerts)
        return
    with pytest.raises(UsageError, match=words) as caught:
        config.refuse_unknown_alerts(shipped.monitoring.alerts)
    assert caught.value.line is not None
