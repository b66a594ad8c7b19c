"""The test bench: a running stack, its monitoring as loaded, and everything that reads it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from alertdrill.config import Config
from alertdrill.drill import Drill
from alertdrill.errors import SignalError
from alertdrill.load.plan import Load
from alertdrill.load.session import LoadSession
from alertdrill.rules.deadline import (
    Deadline,
    fire_deadline,
    promised_deadline,
    resolve_deadline,
)
from alertdrill.rules.model import Monitoring
from alertdrill.signals.alerts import Alerts
from alertdrill.signals.metrics import Metrics
from alertdrill.signals.notifications import Notifications
from alertdrill.stack.run import Stack
from alertdrill.timeline import Timeline
from alertdrill.verdict import Finding, Reason

SEGMENTS = "segments"
# Compressed durations are rounded to a millisecond each.
ROUNDING_S = 0.02


@dataclass
class Bench:
    """What a drill runs on; a context manager that starts a stack, and leaves none behind.

    ``profile``     the profile that its stack is of
    ``start``       gives a running stack of a profile, each time a new one
    ``settle``      waits until the bench sees all of a stack, and writes down what it is
    ``monitoring``  what the stack's Prometheus and Alertmanager really loaded, so every deadline
                    derived from it is on the stack's own clock
    ``unsound``     by alert, why that clock can't show what the rule does on the real one
    ``whole_since`` when (monotonic seconds) the stack was last seen to be whole
    ``is_whole``    whether the stack was seen to be as before the last drill, or is fresh
    """

    config: Config
    profile: str
    start: Callable[[str], Stack]
    settle: Callable[[Bench], None]
    monitoring: Monitoring
    unsound: Mapping[str, str]
    run_dir: Path
    timeline: Timeline
    tell: Callable[[str], None] = lambda _: None
    stack: Stack = field(init=False)
    metrics: Metrics = field(init=False)
    alerts: Alerts = field(init=False)
    notifications: Notifications = field(init=False)
    whole_since: float = field(init=False)
    is_whole: bool = field(default=True, init=False)
    _session: LoadSession | None = field(default=None, init=False)
    _recordings: dict[str, tuple[Drill, tuple[float, float], tuple[float, float]]] = field(
        default_factory=dict, init=False
    )

    def __enter__(self) -> Bench:
        self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close(save=error is None)

    def renew(self, profile: str) -> None:
        """Put a fresh stack of ``profile`` in the place of one that can't be trusted any more, or
        hasn't what is needed."""
        self.is_whole = False  # also where no stack can be started
        self._close(save=True)
        self.profile = profile
        self._open()

    def _open(self) -> None:
        self.stack = self.start(self.profile)
        try:
            prometheus = self.stack.url("prometheus")
            self.metrics = Metrics(prometheus)
            self.alerts = Alerts(prometheus, self.stack.url("alertmanager"))
            self.notifications = Notifications(self.stack.url("receiver"))
            self.whole_since, self.is_whole = time.monotonic(), True
            self.settle(self)
        except BaseException:
            self.stack.stop()
            raise

    def _close(self, *, save: bool) -> None:
        try:
            self.end_load()
            if save:
                self.save_segments()
            self.metrics.close()
            self.alerts.close()
            self.notifications.close()
        finally:
            self.stack.stop()

    def load(self, load: Load, name: str) -> LoadSession:
        """``load`` against the target, running; its requests are written below ``load/name``.

        It goes on from drill to drill until another one is asked for: a generator takes seconds
        to start, and a system that is under load already is steady sooner.
        """
        folder = self.run_dir / "load" / name
        session = self._session
        if session is not None and session.load == load and session.is_sound():
            session.write_to(folder)
            return session
        self.end_load()
        target = self.config.target
        self._session = LoadSession(
            load,
            host=self.stack.url(target.component, target.port),
            out_dir=folder,
            project_root=self.config.root,
            seed=self.config.gate.seed,
        )
        self._session.start()
        return self._session

    def end_load(self) -> None:
        """Stop the load, if one runs."""
        if self._session is not None:
            self._session.stop()
            self._session = None

    def record(
        self, drill: Drill, healthy: tuple[float, float], broken: tuple[float, float]
    ) -> None:
        """Have every series of two stretches (Unix seconds) saved later, for replay."""
        self._recordings[drill.id] = (drill, healthy, broken)

    def save_segments(self) -> None:
        """Save what was recorded below ``segments``. Not during a drill: reading thousands of
        series takes a processor that the systems under test need.

        What Prometheus no longer tells is noted in the timeline.
        """
        # Brings numerics along, for which no other command should wait.
        from alertdrill.rules.replay.segments import record_drill

        factor = self.config.clock.factor
        shortest_s = min(job.scrape_interval_s for job in self.monitoring.prometheus.jobs)
        while self._recordings:
            _, (drill, healthy, broken) = self._recordings.popitem()
            try:
                record_drill(
                    self.stack.url("prometheus"),
                    drill=drill.id,
                    fault=drill.fault.name,
                    interval_s=round(shortest_s * factor, 3),
                    factor=factor,
                    healthy=healthy,
                    broken=broken,
                    folder=self.run_dir / SEGMENTS,
                )
            except SignalError as error:
                self.timeline.add(drill.id, "not recorded", why=str(error))

    @property
    def drillable(self) -> list[str]:
        """Every alert that a drill is judged by."""
        return self.config.drillable(self.monitoring.alerts)

    @property
    def promised_only(self) -> frozenset[str]:
        """Alerts of whose times no rule says anything: heartbeats and dead man's switches."""
        switches = self.config.switches
        return frozenset((*switches, *switches.values()))

    def fire_deadline(self, alert: str, operation_s: float) -> Deadline:
        """What follows from the rule and its route; what was promised of heartbeats, and of a
        dead man's switch, which has neither."""
        if alert in self.promised_only:
            return self.promised_deadline(alert, operation_s)
        return fire_deadline(
            self.monitoring.alerts[alert], self.monitoring, operation_s=operation_s
        )

    def promised_deadline(self, alert: str, operation_s: float) -> Deadline:
        """What the project promises for the alert, whatever its rule says."""
        within_s = self.config.expectation(alert).within_s / self.config.clock.factor
        return promised_deadline(within_s, operation_s=operation_s)

    def broken_promises(self, alert: str) -> list[str]:
        """Where rule and route need longer than the project promises; no margin is granted."""
        expectation, factor = self.config.expectation(alert), self.config.clock.factor
        pairs = (
            (expectation.within, expectation.within_s, self.fire_deadline(alert, 0.0)),
            (
                expectation.resolved_within,
                expectation.resolved_within_s,
                self.resolve_deadline(alert, 0.0),
            ),
        )
        return [
            f"it needs {needed.without_margin()} on the run's clock, and {text} are promised "
            f"(÷{factor:g} = {promised_s / factor:.2f} s)"
            for text, promised_s, needed in pairs
            if needed.without_margin().total_s > promised_s / factor + ROUNDING_S
        ]

    def inhibition_findings(self, alert: str) -> list[Finding]:
        """Where Alertmanager's configuration lets others hold ``alert`` back, and the project
        doesn't say so; or the other way round."""
        target = self.monitoring.alerts.get(alert)
        if target is None:
            return []
        rules = self.monitoring.alertmanager.inhibit_rules
        findings = []
        for source in self.monitoring.alerts.values():
            if source.name == alert:
                continue
            does = any(r.inhibits(source.alert_labels, target.alert_labels) for r in rules)
            wanted = self.config.alerts.get(source.name)
            should = wanted is not None and alert in wanted.inhibits
            if does != should:
                reason = Reason.UNEXPECTED_INHIBITION if does else Reason.NOT_INHIBITED
                words = "lets" if does else "doesn't let"
                said = "doesn't name it" if does else "names it"
                findings.append(
                    Finding(
                        reason,
                        f"{alert}: alertmanager.yml {words} {source.name} hold it back, and "
                        f"`inhibits` of [alerts.{source.name}] {said}",
                    )
                )
        return findings

    def resolve_deadline(self, alert: str, operation_s: float) -> Deadline:
        """As ``fire_deadline``, after the end of the fault."""
        if alert in self.promised_only:
            within_s = self.config.expectation(alert).resolved_within_s / self.config.clock.factor
            return promised_deadline(within_s, operation_s=operation_s)
        return resolve_deadline(
            self.monitoring.alerts[alert], self.monitoring, operation_s=operation_s
        )
