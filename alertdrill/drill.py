"""A drill: what is broken, under which load, and what the monitoring must then say."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from alertdrill.checks.expected import Failing, HealthExpected, LogLine, Span
from alertdrill.errors import UsageError
from alertdrill.faults.contract import Fault
from alertdrill.faults.nothing import Nothing
from alertdrill.load.plan import Load
from alertdrill.verdict import Finding, Verdict


def _declared_at() -> tuple[str, int]:
    """File and line of the table row being built, for errors that point at it."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename in ("<string>", __file__):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


@dataclass(frozen=True)
class Drill:
    """One row of a table of expectations.

    ``fires``        must fire, arrive at their receivers, resolve after the fault and say so
    ``labels``       labels that an alert must carry in this drill, by its name, beside those
                     that ``alertdrill.toml`` asks for
    ``fires_again``  those of ``fires`` that must end and fire a second time, and that be told,
                     while the fault comes and goes; its cycle is then an ``operation_s``
    ``inhibited``    must fire in Prometheus and be held back by Alertmanager
    ``may_fire``     collateral: may fire, and must resolve if it did
    ``stays_quiet``  must not fire. Every alert not named above must stay quiet anyway; naming
                     one here says that this drill is about its silence
    ``spares_users`` the fault is of the monitoring alone: no request of the load meets it, and
                     none may fail
    ``met_by``       a counter of the system's own, as PromQL: what met the fault, where the fault
                     itself can't count and no request fails of it
    ``health``       what the health document says under the fault; None: nothing is asserted
    ``clients``      by user class, the share of requests that fails under the fault
    ``logs``         a line that must be logged under the fault
    ``logs_arrive``  the fault is on the way of logs: each line that the target wrote since then
                     must be in the log store once all is well again
    ``blames``       the span that traces of failed requests must blame
    ``notifications_at_most``  how often one alert series may be notified as firing to a receiver,
                     for faults that come and go
    ``operation_s``  how long the slowed operation lasts, in real seconds: a histogram shows it
                     only when it ends, so this is added to every deadline
    ``nightly``      for the probe of every night: it takes time and breaks what a gate's drill
                     breaks as well, in another way
    """

    title: str
    fault: Fault
    load: Load
    fires: frozenset[str] = frozenset()
    fires_again: frozenset[str] = frozenset()
    inhibited: frozenset[str] = frozenset()
    may_fire: frozenset[str] = frozenset()
    stays_quiet: frozenset[str] = frozenset()
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    spares_users: bool = False
    met_by: str | None = None
    health: HealthExpected | None = None
    clients: Mapping[str, Failing] = field(default_factory=dict)
    logs: LogLine | None = None
    logs_arrive: bool = False
    blames: Span | None = None
    notifications_at_most: int | None = None
    operation_s: float = 0.0
    nightly: bool = False
    declared_at: tuple[str, int] = field(default_factory=_declared_at, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("fires", "fires_again", "inhibited", "may_fire", "stays_quiet"):
            names: Iterable[str] = getattr(self, name)
            object.__setattr__(self, name, frozenset(names))
        never = sorted(self.fires_again - self.fires)
        if never:
            file, line = self.declared_at
            raise UsageError(
                f"{self.title!r} expects {', '.join(never)} to fire again and not to fire",
                file=file,
                line=line,
            )
        strangers = sorted(self.clients.keys() - self.load.rates.keys())
        if strangers:
            file, line = self.declared_at
            raise UsageError(
                f"{self.title!r} expects something of {', '.join(strangers)}, which its load has "
                f"not; it has {', '.join(sorted(self.load.rates))}",
                file=file,
                line=line,
            )

    def __str__(self) -> str:
        return self.title

    @property
    def id(self) -> str:
        """The title as a file name and a fragment: ``postgresql-refuses-connections``."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    @property
    def is_control(self) -> bool:
        """Whether nothing is broken."""
        return isinstance(self.fault, Nothing)

    @property
    def named_alerts(self) -> frozenset[str]:
        named = self.fires | self.inhibited | self.may_fire | self.stays_quiet
        return named | frozenset(self.labels)


@dataclass(frozen=True)
class Traffic:
    """Requests that the load finished under the fault, and how much met it (``unit`` says
    what was counted). ``met_fault`` is None when there was no fault to meet."""

    requests: int = 0
    met_fault: int | None = None
    unit: str = "requests"


@dataclass(frozen=True)
class AlertOutcome:
    """What became of one alert. Times are seconds from injection; None: it didn't happen.

    ``signal_s`` is when its expression was first true, at the resolution of scrapes;
    ``resolved_s`` is when the resolved notification arrived; ``deadline_s`` and
    ``resolve_deadline_s`` (counted from healing) are the times allowed for both notifications.
    """

    name: str
    expected: str
    signal_s: float | None = None
    pending_s: float | None = None
    firing_s: float | None = None
    notified_s: float | None = None
    inhibited_s: float | None = None
    inactive_s: float | None = None
    resolved_s: float | None = None
    deadline_s: float | None = None
    resolve_deadline_s: float | None = None
    receivers: tuple[str, ...] = ()


@dataclass(frozen=True)
class DrillResult:
    """The verdict of one drill and all that led to it.

    ``heal_s`` is when healing began and ``healed_s`` when it was proven, in seconds from
    injection; a killed container needs the time between them to boot. ``recovered_s`` is how
    long after ``healed_s`` clients were served as before. ``checks`` say what was measured beside
    the alerts. ``set_aside`` are the
    findings of earlier attempts, which the machine was too slow for.
    """

    id: str
    title: str
    fault: str
    findings: tuple[Finding, ...]
    traffic: Traffic
    alerts: tuple[AlertOutcome, ...]
    heal_s: float | None
    healed_s: float | None
    wall_s: float
    stack: str
    recovered_s: float | None = None
    checks: tuple[Mapping[str, Any], ...] = ()
    set_aside: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        if not self.findings:
            return Verdict.PASS
        return Verdict.worst(finding.verdict for finding in self.findings)

    @property
    def reason(self) -> str | None:
        """The reason of the first finding that is as bad as the verdict."""
        for finding in self.findings:
            if finding.verdict is self.verdict:
                return finding.reason.value
        return None

    def document(self) -> dict[str, Any]:
        """The drill's entry in ``verdict.json``."""
        return {
            "id": self.id,
            "title": self.title,
            "fault": self.fault,
            "verdict": self.verdict.word,
            "reason": self.reason,
            "findings": [finding.document() for finding in self.findings],
            "set_aside": [finding.document() for finding in self.set_aside],
            "traffic": asdict(self.traffic),
            "alerts": [asdict(alert) for alert in self.alerts],
            "checks": [dict(check) for check in self.checks],
            "heal_s": self.heal_s,
            "healed_s": self.healed_s,
            "recovered_s": self.recovered_s,
            "wall_s": self.wall_s,
            "stack": self.stack,
        }


def refuse_unknown_alerts(drill: Drill, known: Iterable[str]) -> None:
    """Raise UsageError when ``drill`` names an alert that is not in ``known``."""
    unknown = sorted(drill.named_alerts - set(known))
    if unknown:
        file, line = drill.declared_at
        raise UsageError(
            f"{drill.title!r} names {', '.join(unknown)}, which no rule defines; "
            f"the rules define {', '.join(sorted(known))}",
            file=file,
            line=line,
        )
