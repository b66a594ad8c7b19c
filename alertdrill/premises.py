"""Which findings stand: some prove nothing where the experiment itself lacked its premises."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from alertdrill.bench import Bench
from alertdrill.errors import (
    AlertdrillError,
    DeadlineExceeded,
    FaultError,
    LoadError,
    SignalError,
)
from alertdrill.signals.punctuality import lateness
from alertdrill.verdict import Finding, Reason

PREMISES = frozenset(
    {Reason.FAULT_NOT_PROVEN, Reason.NO_TRAFFIC, Reason.LOAD_INVALID, Reason.NO_DATA}
)
# Reasons that say that something did not happen. They prove nothing when the fault, the
# traffic or the load wasn't there, and give way to the reason for that.
ABSENCES = frozenset(
    {
        Reason.ALERT_DID_NOT_FIRE,
        Reason.ALERT_NOT_NOTIFIED,
        Reason.ALERT_DID_NOT_HOLD,
        Reason.NOT_INHIBITED,
        Reason.HEALTH_DID_NOT_TELL,
        Reason.CLIENTS_UNHARMED,
        Reason.LOG_MISSING,
        Reason.SPAN_MISSING,
    }
)
# What lost scrapes and missed evaluations can bring about in a system that is well.
SLOWNESS = frozenset(
    {
        *ABSENCES,
        Reason.ALERT_DID_NOT_RESOLVE,
        Reason.RESOLVED_NOT_NOTIFIED,
        Reason.LOG_NOT_STORED,
        Reason.ALERT_WITHOUT_FAULT,
        Reason.UNEXPECTED_ALERT,
        Reason.UNEXPECTED_INHIBITION,
        Reason.HEARTBEAT_STOPPED,
        Reason.TARGET_DOWN,
        Reason.STEADY_STATE_LOST,
        Reason.HEALTH_COMPLAINS,
        Reason.CLIENTS_HARMED,
        # A generator that starves writes answers down late, so they fall behind a scrape.
        Reason.METRICS_DISAGREE,
        Reason.BUDGET_CHARGED,
        Reason.ERROR_LOGGED,
        Reason.NOTIFICATION_STORM,
        Reason.LOAD_INVALID,
        Reason.NO_DATA,
    }
)


def standing(findings: Sequence[Finding], late: Sequence[str]) -> list[Finding]:
    """``findings`` without those that something else explains.

    ``late``: where the monitoring was late. The findings that this can bring about give way to
    one that says so, and quotes them.
    """
    explained = [finding for finding in findings if late and finding.reason in SLOWNESS]
    if explained:
        quoted = "; ".join(finding.message for finding in explained)
        slow = Finding(
            Reason.MACHINE_TOO_SLOW,
            f"the machine was too slow for this clock: {'; '.join(late)}; "
            f"so nothing follows from this: {quoted}",
        )
        return [*(f for f in findings if f not in explained), slow]
    if any(finding.reason in PREMISES for finding in findings):
        return [finding for finding in findings if finding.reason not in ABSENCES]
    return list(findings)


def late_since(since_unix: float, bench: Bench, *, broken: Collection[str]) -> list[str]:
    """Where the monitoring was late from ``since_unix`` to now, by jobs that are not optional;
    scrapes of what is ``broken`` may be. Raises SignalError."""
    intervals = {
        job.name: job.scrape_interval_s
        for job in bench.monitoring.prometheus.jobs
        if job.name not in bench.config.monitoring.optional_jobs
    }
    return lateness(
        bench.metrics,
        since_unix,
        time.time(),
        intervals=intervals,
        compressed=bench.config.clock.factor > 1,
        broken=broken,
    )


def reason_of(error: AlertdrillError) -> Reason:
    """What a drill lacks when ``error`` ended it."""
    match error:
        case LoadError():
            return Reason.LOAD_INVALID
        case SignalError() | DeadlineExceeded():
            return Reason.NO_DATA
        case FaultError():
            return Reason.FAULT_NOT_PROVEN
        case _:
            return Reason.STACK_BROKEN
