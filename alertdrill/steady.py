"""What must hold before a drill and after it: every target up, no alert active, no request failing.

Each question answers with a complaint in words, or with None when all is well.
"""

from __future__ import annotations

import time

from alertdrill.bench import Bench
from alertdrill.drill import Drill
from alertdrill.load.session import LoadSession
from alertdrill.signals.alerts import AlertState

STEADY_FAILED_RATIO = 0.01
FAILED_DELIVERIES = (
    "alertmanager_notification_requests_failed_total",
    "prometheus_notifications_errors_total",
    "prometheus_notifications_dropped_total",
)


def target_down(bench: Bench) -> str | None:
    """A scrape job that is missing, or a target that isn't up. Raises SignalError."""
    files = bench.config.monitoring
    targets = bench.metrics.targets()
    missing = sorted(set(files.jobs) - {target.job for target in targets})
    if missing:
        return f"Prometheus has no scrape job {', '.join(missing)}"
    down = [
        f"{t.job} at {t.url}: {t.error or 'not scraped yet'}"
        for t in targets
        if t.health != "up" and t.job not in files.optional_jobs
    ]
    return "scrape targets are down: " + "; ".join(down) if down else None


def alert_active(bench: Bench) -> str | None:
    """A rule that can't be or hasn't been evaluated, or an alert that is active; a heartbeat
    is meant to be.

    Raises SignalError.
    """
    rules = bench.alerts.rules()
    broken = [f"{r.name}: {r.error}" for r in rules if r.error]
    if broken:
        return "rules can't be evaluated: " + "; ".join(broken)
    evaluated = {rule.name for rule in rules if rule.evaluated}
    missing = sorted(set(bench.monitoring.alerts) - evaluated)
    if missing:
        return f"Prometheus hasn't evaluated {', '.join(missing)}"
    active = [
        f"{r.name} is {r.state.name.lower()} with value {r.value}"
        for r in rules
        if r.state is not AlertState.INACTIVE and r.name in bench.drillable
    ]
    return "before anything was broken, " + "; ".join(active) if active else None


def unsteady(drill: Drill, load: LoadSession, since: float) -> str | None:
    """What the load sees since ``since`` (monotonic seconds) that it should not."""
    window = load.since(since)
    length_s = time.monotonic() - since
    for user, rps in drill.load.rates.items():
        # Three planned requests: so few that none of them ends is no chance.
        if rps * length_s >= 3 and not window.by_user.get(user):
            return f"no request of {user} finishing"
    if window.failed > STEADY_FAILED_RATIO * window.requests:
        common = ", ".join(f"{n} × {e}" for e, n in window.errors.most_common(3))
        return f"{window.failed} of {window.requests} requests failing: {common}"
    return None


def failed_deliveries(bench: Bench) -> dict[str, float]:
    """Deliveries that failed so far, by the metric that counts them, where it is scraped."""
    values = {name: bench.metrics.value(f"sum({name})") for name in FAILED_DELIVERIES}
    return {name: value for name, value in values.items() if value is not None}
