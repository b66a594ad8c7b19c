"""What a drill expects of each alert, put together from the drill, the rules and the promises."""

from __future__ import annotations

from collections.abc import Iterable

from alertdrill.bench import Bench
from alertdrill.drill import Drill
from alertdrill.judge import AlertCase, Role, role_of
from alertdrill.rules.deadline import hears_itself, scrape_s
from alertdrill.signals.alerts import AlertWatch
from alertdrill.timeline import unix_of
from alertdrill.verdict import Finding


def case_of(
    alert: str, drill: Drill, bench: Bench, watch: AlertWatch, injected: float, in_force: float
) -> AlertCase:
    """The case of ``alert`` in a drill whose fault was ``injected``, which had been done when it
    was ``in_force`` (monotonic seconds)."""
    role = role_of(drill, alert)
    operation_s = drill.operation_s
    rule = bench.monitoring.alerts.get(alert)
    derived = bench.fire_deadline(alert, operation_s)
    fire = derived
    promises: list[str] = []
    inhibitions: list[Finding] = []
    if role is Role.FIRES:
        promised = bench.promised_deadline(alert, operation_s)
        fire = min(derived, promised, key=lambda deadline: deadline.total_s)
        promises = bench.broken_promises(alert)
        inhibitions = bench.inhibition_findings(alert)
    held = ("promised", "for", "group_wait", "group_interval", "margin")
    once_more = ["evaluation", "group_wait", "group_interval"]
    if rule is not None and hears_itself(rule, bench.monitoring):
        once_more.append("window")
    return AlertCase(
        alert=alert,
        role=role,
        watch=watch,
        injected=injected,
        in_force=in_force,
        fire=fire,
        resolve=bench.resolve_deadline(alert, operation_s),
        settled_s=sum(seconds for name, seconds in derived.parts if name not in held),
        hold_s=sum(seconds for name, seconds in derived.parts if name in once_more),
        expectation=bench.config.alerts.get(alert),
        labels=drill.labels.get(alert, {}),
        routed=bench.monitoring.alertmanager.receiver_for(rule.alert_labels) if rule else (),
        broken_promises=promises,
        inhibitions=inhibitions,
        unsound=bench.unsound.get(alert),
        again=alert in drill.fires_again,
        may_inhibit=drill.may_fire if role is Role.MAY_FIRE else frozenset(),
        control=drill.is_control,
    )


def signals_of(cases: Iterable[AlertCase], bench: Bench, injected: float) -> dict[str, float]:
    """When the expression of each alert that got pending was first true, in seconds from
    injection: the data said it, and no rule yet. Raises SignalError."""
    since = unix_of(injected)
    signals: dict[str, float] = {}
    for case in cases:
        pending = case.outcome().pending_s
        rule = bench.monitoring.alerts.get(case.alert)
        if pending is None or rule is None:
            continue
        true_at = bench.metrics.first_true(
            rule.expr, since, since + pending, scrape_s(rule, bench.monitoring)
        )
        seen_s = pending if true_at is None else true_at - since
        signals[case.alert] = round(min(pending, seen_s), 2)
    return signals
