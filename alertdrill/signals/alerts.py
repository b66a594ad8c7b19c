"""Alerts on their way: watched in Prometheus, in Alertmanager and at the receiver, at once."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any

from alertdrill.errors import SignalError
from alertdrill.signals.http import JsonApi
from alertdrill.signals.notifications import Notification, Notifications
from alertdrill.timeline import monotonic_of

POLL_INTERVAL_S = 0.1
# After this long without a whole look at its sources, the watch is blind, and says so.
BLIND_S = 5.0


class AlertState(Enum):
    """Prometheus' three states, in the order of their severity."""

    INACTIVE = 0
    PENDING = 1
    FIRING = 2


@dataclass(frozen=True)
class Transition:
    """A rule changed its state at ``at`` (monotonic seconds, as the rule's evaluation says)."""

    at: float
    alert: str
    state: AlertState
    value: str


@dataclass(frozen=True)
class RuleStatus:
    """An alerting rule as Prometheus last evaluated it; ``evaluated`` False: not even once."""

    name: str
    state: AlertState
    evaluated: bool
    active_since: float | None
    evaluated_at: float
    value: str
    error: str


@dataclass(frozen=True)
class Suppression:
    """Alertmanager holds an alert back: first seen at ``at``, because of ``by``."""

    at: float
    alert: str
    by: tuple[str, ...]


class Alerts:
    """Prometheus' rules and Alertmanager's alerts, read on request."""

    def __init__(self, prometheus_url: str, alertmanager_url: str) -> None:
        self._prometheus = JsonApi(prometheus_url)
        self._alertmanager = JsonApi(alertmanager_url)

    def rules(self) -> list[RuleStatus]:
        """Every alerting rule; several rules of one name are one, in the worst of their states."""
        data = self._prometheus.get("/api/v1/rules", {"type": "alert"})["data"]
        merged: dict[str, RuleStatus] = {}
        for group in data["groups"]:
            for rule in group["rules"]:
                status = _status(rule)
                other = merged.get(status.name)
                if other is None or status.state.value > other.state.value:
                    merged[status.name] = status
        return list(merged.values())

    def suppressed(self) -> list[tuple[str, tuple[str, ...]]]:
        """Alerts that Alertmanager inhibits, each with the names of those that inhibit it."""
        alerts = self._alertmanager.get("/api/v2/alerts")
        names = {a["fingerprint"]: a["labels"].get("alertname", "") for a in alerts}
        return [
            (names[a["fingerprint"]], tuple(names.get(f, f) for f in a["status"]["inhibitedBy"]))
            for a in alerts
            if a["status"]["inhibitedBy"]
        ]

    def close(self) -> None:
        self._prometheus.close()
        self._alertmanager.close()


class AlertWatch:
    """Follows every alert from evaluation to delivery, in a thread, until it is closed.

    ``on_event`` is called, from the watch's thread, with each new Transition, Suppression and
    Notification. While the watch is blind (its last whole look at all sources is more than
    ``BLIND_S`` old, for whatever reason), reading what it saw raises SignalError: old states
    must not pass for new ones. A closed watch is history and may be read for ever.

    ``switches``    alerts that no rule defines: their notifications say what state they are in
    ``heartbeats``  alerts that always fire: their notifications are no events
    """

    def __init__(
        self,
        alerts: Alerts,
        notifications: Notifications,
        on_event: Callable[[Transition | Suppression | Notification], None] = lambda _: None,
        *,
        switches: Collection[str] = (),
        heartbeats: Collection[str] = (),
    ) -> None:
        self._alerts = alerts
        self._notifications = notifications
        self._on_event = on_event
        self._switches = frozenset(switches)
        self._heartbeats = frozenset(heartbeats)
        self._unasked: frozenset[str] = frozenset()
        self._polling = threading.Lock()
        self._lock = threading.Lock()
        self._rules: dict[str, RuleStatus] = {}
        self._transitions: list[Transition] = []
        self._suppressions: dict[str, Suppression] = {}
        self._received: list[Notification] = []
        self._looked_at = time.monotonic()
        self._last_error = "its thread has ended"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alert-watch", daemon=True)

    def __enter__(self) -> AlertWatch:
        self._notifications.new()  # what came before the watch is not this drill's
        for name in self._switches:
            last = self._notifications.latest.get(name)
            self._rules[name] = _as_told(name, last)
        self._poll()
        with self._lock:
            self._transitions.clear()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=15)

    def look_away(self, components: Collection[str]) -> None:
        """Ask ``prometheus`` or ``alertmanager`` nothing, if they are among ``components``: they
        are about to be broken. States that only they know are unknown from now on."""
        with self._polling, self._lock:
            self._unasked = frozenset(components)
            if "prometheus" in self._unasked:
                self._rules = {n: r for n, r in self._rules.items() if n in self._switches}

    def look_again(self) -> None:
        """Ask all of them again; what they don't say in time makes the watch blind."""
        with self._polling:
            self._unasked = frozenset()
            self._looked_at = time.monotonic()

    # --- what was seen ---------------------------------------------------------------------

    def states(self) -> Mapping[str, AlertState]:
        """The state of every alert at the last poll, where it is known. Raises SignalError."""
        with self._checked():
            return {name: rule.state for name, rule in self._rules.items()}

    def value(self, alert: str) -> str:
        """The value that the alert's expression last had, for people."""
        with self._checked():
            return self._rules[alert].value if alert in self._rules else ""

    def first(self, alert: str, state: AlertState, since: float) -> float | None:
        """When ``alert`` first entered ``state`` after ``since`` (monotonic seconds)."""
        with self._checked():
            times = (t.at for t in self._transitions if t.alert == alert and t.state is state)
            return min((at for at in times if at >= since), default=None)

    def fired_since(self, since: float) -> set[str]:
        """Alerts that began to fire after ``since``."""
        with self._checked():
            return {
                t.alert for t in self._transitions if t.state is AlertState.FIRING and t.at >= since
            }

    def received(self, alert: str, status: str, since: float) -> list[Notification]:
        """Notifications of ``alert`` after ``since``, in order of arrival."""
        with self._checked():
            return [
                n
                for n in self._received
                if n.alert == alert and n.status == status and n.at >= since
            ]

    def suppression(self, alert: str, since: float) -> Suppression | None:
        """The first time after ``since`` that Alertmanager held ``alert`` back."""
        with self._checked():
            found = self._suppressions.get(alert)
            return found if found is not None and found.at >= since else None

    # --- the thread ------------------------------------------------------------------------

    def _checked(self) -> threading.Lock:
        blind_s = time.monotonic() - self._looked_at
        if blind_s > BLIND_S and not self._stop.is_set():
            raise SignalError(f"the alerts were not seen for {blind_s:.1f} s: {self._last_error}")
        return self._lock

    def _run(self) -> None:
        while not self._stop.wait(POLL_INTERVAL_S):
            try:
                with self._polling:
                    self._poll()
            except SignalError as error:
                self._last_error = str(error)

    def _poll(self) -> None:
        news: list[Transition | Suppression | Notification] = []
        if "prometheus" not in self._unasked:
            news += self._new_transitions(self._asked_rules())
        if "alertmanager" not in self._unasked and self._is_any_firing():
            news += self._new_suppressions(self._alerts.suppressed())
        arrived = self._notifications.new()
        with self._lock:
            self._received += arrived
        told = [notification for notification in arrived if notification.alert in self._switches]
        for notification in told:
            news += self._new_transitions([_as_told(notification.alert, notification)])
        news += [n for n in arrived if n.alert not in self._heartbeats]
        for event in news:
            self._on_event(event)
        self._looked_at = time.monotonic()

    def _is_any_firing(self) -> bool:
        return any(
            rule.state is AlertState.FIRING and rule.name not in self._heartbeats
            for rule in self._rules.values()
        )

    def _asked_rules(self) -> list[RuleStatus]:
        rules = self._alerts.rules()
        broken = [f"{rule.name}: {rule.error}" for rule in rules if rule.error]
        if broken:
            # Such a rule keeps its old state: its silence says nothing.
            raise SignalError("rules can't be evaluated: " + "; ".join(broken))
        return rules

    def _new_transitions(self, rules: Iterable[RuleStatus]) -> list[Transition]:
        changes = []
        with self._lock:
            for rule in rules:
                before = self._rules.get(rule.name)
                was = AlertState.INACTIVE if before is None else before.state
                if rule.state is not was:
                    changes.append(_transition(rule))
                # A value of an inactive rule is empty: keep the last one that was seen.
                keep = before.value if before is not None and not rule.value else rule.value
                self._rules[rule.name] = replace(rule, value=keep)
            self._transitions += changes
        return changes

    def _new_suppressions(
        self, suppressed: Iterable[tuple[str, tuple[str, ...]]]
    ) -> list[Suppression]:
        news = []
        with self._lock:
            for alert, by in suppressed:
                last = self._suppressions.get(alert)
                if last is None or last.by != by:
                    self._suppressions[alert] = Suppression(time.monotonic(), alert, by)
                    news.append(self._suppressions[alert])
        return news


def _as_told(alert: str, last: Notification | None) -> RuleStatus:
    """The state of an alert that no rule defines, from the last notification of it."""
    firing = last is not None and last.status == "firing"
    return RuleStatus(
        name=alert,
        state=AlertState.FIRING if firing else AlertState.INACTIVE,
        evaluated=True,
        active_since=None,
        evaluated_at=0.0 if last is None else last.at,
        value="",
        error="",
    )


def _transition(rule: RuleStatus) -> Transition:
    at = rule.evaluated_at
    if rule.state is AlertState.PENDING and rule.active_since is not None:
        at = rule.active_since
    return Transition(at, rule.name, rule.state, rule.value)


def _status(rule: dict[str, Any]) -> RuleStatus:
    active = [alert for alert in rule["alerts"] if alert["state"] == rule["state"]]
    return RuleStatus(
        name=rule["name"],
        evaluated=rule["health"] != "unknown",
        state=AlertState[str(rule["state"]).upper()]
        if rule["state"] != "unknown"
        else AlertState.INACTIVE,
        active_since=min((_monotonic(a["activeAt"]) for a in active), default=None),
        evaluated_at=_monotonic(rule["lastEvaluation"]),
        value=active[0]["value"] if active else "",
        error=rule.get("lastError", ""),
    )


def _monotonic(rfc3339: str) -> float:
    # Prometheus writes nanoseconds; Python reads at most microseconds.
    trimmed = re.sub(r"(\.\d{6})\d+", r"\1", rfc3339)
    return monotonic_of(datetime.fromisoformat(trimmed).timestamp())
