"""The experiment: seven steps from a steady state through a fault and back, judged on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from alertdrill import heartbeat, steady
from alertdrill.aftermath import is_broken, left_behind
from alertdrill.bench import Bench
from alertdrill.cases import case_of, signals_of
from alertdrill.checks.contract import View
from alertdrill.checks.panel import Panel, checks_of
from alertdrill.drill import Drill, DrillResult, Traffic, refuse_unknown_alerts
from alertdrill.errors import (
    AlertdrillError,
    DeadlineExceeded,
    SignalError,
    UsageError,
)
from alertdrill.exposure import exposure, met_since
from alertdrill.faults.contract import Exposure
from alertdrill.faults.proof import EFFECTIVE_S, HEALED_S, bites_within, healed_within
from alertdrill.faults.world import World, survey
from alertdrill.judge import AlertCase, Role
from alertdrill.load.session import LoadSession
from alertdrill.premises import SLOWNESS, late_since, reason_of, standing
from alertdrill.rules.deadline import recorded_windows, window_s
from alertdrill.shield import signals_deferred, undone
from alertdrill.signals.alerts import AlertState, AlertWatch, Suppression, Transition
from alertdrill.signals.notifications import Notification
from alertdrill.timeline import unix_of
from alertdrill.verdict import Finding, Reason
from alertdrill.wait import eventually

TARGETS_UP_S = 10.0
STILL_S = 3.0
TRAFFIC_S = 10.0
STEADY_S = 10.0
STEADY_AGAIN_S = 20.0
STEADY_WINDOW_S = 2.0


class _Ended(Exception):
    """The experiment can't go on; its finding says why."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.finding = Finding(reason, message)


def run_drill(drill: Drill, bench: Bench) -> DrillResult:
    """Run one drill and judge it; one that the machine was too slow for is repeated.

    Every attempt has a stack that is whole: one that isn't is replaced first. Whatever goes wrong
    on the way is a finding; the fault is healed in every case. Raises UsageError when the table
    names an alert that no rule defines, and what starting a stack raises.
    """
    refuse_unknown_alerts(drill, bench.drillable)
    seeded = replace(drill, fault=drill.fault.seeded(bench.config.gate.seed))
    attempts: list[DrillResult] = []
    while not attempts or (
        attempts[-1].reason == Reason.MACHINE_TOO_SLOW
        and len(attempts) <= bench.config.gate.repeats
    ):
        if not bench.is_whole:
            bench.tell("a fresh stack in the place of one that is not as it was")
            bench.renew(bench.profile)
        attempts.append(_Experiment(seeded, bench).run())
    *slow, last = attempts
    earlier = [finding for attempt in slow for finding in attempt.findings]
    # No machine is so slow that a fault leaves something behind.
    left = tuple(f for f in earlier if f.reason is Reason.FAULT_NOT_HEALED)
    set_aside = tuple(f for f in earlier if f not in left)
    return replace(last, findings=(*last.findings, *left), set_aside=set_aside)


@dataclass
class _Experiment:
    drill: Drill
    bench: Bench
    findings: list[Finding] = field(default_factory=list)
    cases: list[AlertCase] = field(default_factory=list)
    traffic: Traffic = field(default_factory=Traffic)
    begun: float = 0.0
    injected: float | None = None
    in_force: float | None = None
    effective: float | None = None
    healing: float | None = None
    healed: float | None = None
    recovered: float | None = None
    baseline_s: float = 0.0
    world: World | None = None
    undelivered: dict[str, float] = field(default_factory=dict)
    signals: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.panel = Panel(checks_of(self.drill, self.bench.config))

    @property
    def is_control(self) -> bool:
        return self.drill.is_control

    @property
    def _is_met_by_load(self) -> bool:
        """Whether requests of the load must meet the fault."""
        return not self.is_control and not self.drill.spares_users

    def _watch(self) -> AlertWatch:
        switches = self.bench.config.switches
        return AlertWatch(
            self.bench.alerts,
            self.bench.notifications,
            self._on_event,
            switches=switches.keys(),
            heartbeats=switches.values(),
        )

    # --- the seven steps -------------------------------------------------------------------

    def run(self) -> DrillResult:
        begun = self.begun = time.monotonic()
        self.bench.is_whole = False  # until it is seen that nothing is left
        self._log("begun", fault=self.drill.fault.name)
        try:
            # First of all: while it starts, the preconditions are looked at.
            load = self.bench.load(self.drill.load, self.drill.id)
            self._precondition()
            with self._watch() as watch:
                self._baseline(watch, load)
                self._break_observe_heal(watch, load)
                self._prove_clean(watch, load)
                for case in self.cases:
                    self.findings += case.findings_of_deliveries(self.healing)
                stopped = heartbeat.findings(
                    self.drill,
                    self.bench,
                    watch,
                    injected=self._injected_at,
                    healed=self.healed,
                )
                # First of all: it is why a dead man's switch did what it did.
                self.findings = [*stopped, *self.findings]
        except _Ended as ended:
            self.findings.append(ended.finding)
        except UsageError:
            raise
        except AlertdrillError as error:
            self.findings.append(Finding(reason_of(error), str(error)))
        self._record()
        findings = standing(self.findings, self._lateness(unix_of(begun)))
        findings += self._left_behind(findings)
        self.bench.is_whole = self.world is not None and not is_broken(findings)
        self._log("ended", findings=[f.reason.value for f in findings])
        return DrillResult(
            id=self.drill.id,
            title=self.drill.title,
            fault=self.drill.fault.name,
            findings=tuple(findings),
            traffic=self.traffic,
            alerts=tuple(
                replace(c.outcome(), signal_s=self.signals.get(c.alert))
                for c in self.cases
                if _is_of_interest(c)
            ),
            heal_s=self._since(self.injected, self.healing),
            healed_s=self._since(self.injected, self.healed),
            wall_s=round(time.monotonic() - begun, 2),
            stack=self.bench.stack.run_id,
            recovered_s=self._since(self.healed, self.recovered),
            checks=tuple(self.panel.documents()),
        )

    def _precondition(self) -> None:
        """Nothing broken, every target scraped, every rule evaluated, no alert active."""
        self.world = survey(self.bench.stack)
        left = self.world.wrong
        if left:
            raise _Ended(Reason.PRECONDITION_UNMET, "faults are already active: " + "; ".join(left))
        jobs = self.bench.monitoring.prometheus.jobs
        slowest_s = max((job.scrape_interval_s for job in jobs), default=0.0)
        self._await(steady.target_down, 2 * slowest_s + TARGETS_UP_S, Reason.TARGET_DOWN)
        quiet_s = max(
            (self.bench.resolve_deadline(a, 0.0).total_s for a in self.bench.drillable),
            default=0.0,
        )
        self._await(steady.alert_active, quiet_s, Reason.ALERT_WITHOUT_FAULT)
        self._await(heartbeat.unheard, quiet_s, Reason.HEARTBEAT_STOPPED)

    def _baseline(self, watch: AlertWatch, load: LoadSession) -> None:
        """The steady state under load, for as long as the longest window looks back.

        What was seen before this drill counts, from when the system was under load and whole.
        """
        load.wait_started(timeout_s=30.0)
        assert load.started_at is not None
        loaded = max(load.started_at, self.bench.whole_since)
        monitoring = self.bench.monitoring
        recorded = recorded_windows(monitoring)
        windows = (window_s(rule.expr, recorded) for rule in monitoring.alerts.values())
        length = self.baseline_s = max((STEADY_WINDOW_S, *windows))
        self._tell(f"baseline for {max(0.0, loaded + length - time.monotonic()):.0f} s")

        def is_steady() -> bool:
            now = time.monotonic()
            return (
                now - loaded >= length
                and self._is_quiet(watch, loaded)
                and steady.unsteady(self.drill, load, now - min(length, now - loaded)) is None
            )

        try:
            eventually(is_steady, timeout_s=3 * length + STEADY_S, what="the steady state")
        except DeadlineExceeded as error:
            self._demand_valid(load, time.monotonic() - length)
            why = (
                steady.unsteady(self.drill, load, time.monotonic() - length) or "alerts are pending"
            )
            raise _Ended(Reason.STEADY_STATE_LOST, f"no steady state under load: {why}") from error
        self._demand_valid(load, time.monotonic() - length)
        self._log("steady")

    def _demand_valid(self, load: LoadSession, since: float) -> None:
        health = load.validity(since, time.monotonic())
        if health.starved:
            # What was seen and isn't explained by that stands, and there is no second attempt.
            now = time.monotonic()
            seen = [f for case in self.cases for f in case.findings_of_deliveries(now)]
            self.findings += [finding for finding in seen if finding.reason not in SLOWNESS]
            raise _Ended(Reason.MACHINE_TOO_SLOW, f"the machine was too slow: {health.why}")
        if not health.valid:
            raise _Ended(Reason.LOAD_INVALID, health.why)

    def _is_quiet(self, watch: AlertWatch, since: float) -> bool:
        """No alert is pending; one that fired, now or after ``since``, ends the experiment."""
        states = {a: s for a, s in watch.states().items() if a in self.bench.drillable}
        firing = {alert for alert, state in states.items() if state is AlertState.FIRING}
        fired = sorted(firing | watch.fired_since(since) & states.keys())
        if fired:
            silent = not self.bench.config.switches.keys().isdisjoint(fired)
            raise _Ended(
                Reason.HEARTBEAT_STOPPED if silent else Reason.ALERT_WITHOUT_FAULT,
                f"{', '.join(fired)} fired under load before anything was broken",
            )
        return all(state is AlertState.INACTIVE for state in states.values())

    def _exposure_before(self, watch: AlertWatch) -> Exposure | None:
        """The traffic counted so far, read while all alerts are quiet: reading takes its time."""
        since = time.monotonic()
        before: Exposure | None = None

        def quiet() -> bool:
            nonlocal before
            before = exposure(self.drill, self.bench)
            return self._is_quiet(watch, since)

        try:
            eventually(quiet, timeout_s=STEADY_AGAIN_S, what="quiet before the fault")
        except DeadlineExceeded as error:
            raise _Ended(Reason.STEADY_STATE_LOST, "alerts go on being pending") from error
        return before

    def _break_observe_heal(self, watch: AlertWatch, load: LoadSession) -> None:
        fault, stack = self.drill.fault, self.bench.stack
        before = self._exposure_before(watch)
        self.undelivered = steady.failed_deliveries(self.bench)

        def break_and_observe() -> None:
            watch.look_away(fault.breaks)
            injected = self.injected = time.monotonic()
            with signals_deferred():  # the engine would go on with half an injection
                fault.inject(stack)
            in_force = self.in_force = time.monotonic()
            self._log("injected", at=injected)
            self.cases = [
                case_of(alert, self.drill, self.bench, watch, injected, in_force)
                for alert in sorted(self.bench.drillable)
            ]
            self._prove(Reason.FAULT_NOT_PROVEN)
            self._observe(load, before)
            self._judge(load, before)
            if not heartbeat.silenced(self.drill, self.bench):
                self._judge_deliveries("under the fault")
            self.findings += self.panel.under_fault(self._view(watch, load))

        def heal() -> None:
            self._heal()
            watch.look_again()

        undone(break_and_observe, heal)

    def _prove(self, reason: Reason) -> None:
        """Looked at from elsewhere, the fault bites."""
        evidence = bites_within(self.drill.fault, self.bench.stack, EFFECTIVE_S)
        if not evidence.holds:
            name = self.drill.fault.name
            raise _Ended(
                reason, f"{name} was not seen to bite within {EFFECTIVE_S:.0f} s: {evidence.seen}"
            )
        self.effective = self.effective or time.monotonic()
        self._log("effective", seen=evidence.seen)

    def _observe(self, load: LoadSession, before: Exposure | None) -> None:
        """Until every expectation is met or its deadline has passed."""
        longest = max((case.fire.total_s + case.hold_s for case in self.cases), default=0.0)
        met = not self._is_met_by_load

        def decided() -> bool:
            nonlocal met
            now = time.monotonic()
            since = now - self._injected_at
            if not met and now - self._in_force_at >= TRAFFIC_S + self.drill.operation_s:
                met = self._met(load, before, now) > 0
                if not met:
                    raise _Ended(
                        Reason.NO_TRAFFIC,
                        f"no traffic met {self.drill.fault.name} in {since:.1f} s",
                    )
            self._demand_valid(load, self._injected_at)
            undecided = [case for case in self.cases if not case.is_decided(now)]
            awaited = [case.alert for case in undecided if case.role is not Role.QUIET]
            if awaited:
                self._tell(f"+{since:.0f} s, awaiting {', '.join(awaited)}")
            elif undecided:
                self._tell(f"+{since:.0f} s, watching that nothing else fires")
            return not undecided

        eventually(
            decided, timeout_s=longest + 10.0, what="every alert to be decided", interval_s=0.1
        )

    def _judge(self, load: LoadSession, before: Exposure | None) -> None:
        now = time.monotonic()
        window = load.since(self._injected_at)
        met = self._met(load, before, now) if self._is_met_by_load else None
        unit = before.unit if before is not None else "requests"
        self.traffic = Traffic(window.requests, met, unit)
        if met is not None and met <= 0:
            self.findings.append(
                Finding(Reason.NO_TRAFFIC, f"no traffic met {self.drill.fault.name}")
            )
        for case in self.cases:
            self.findings += case.findings_under_fault(now)
        # A fault that went away by itself proved nothing while it was gone. One look may be
        # spoiled by a busy machine, which answers late without the fault as well.
        evidence = bites_within(self.drill.fault, self.bench.stack, STILL_S)
        if not evidence.holds:
            self.findings.append(
                Finding(
                    Reason.FAULT_NOT_PROVEN,
                    f"{self.drill.fault.name} no longer bites before healing: {evidence.seen}",
                )
            )

    def _heal(self) -> None:
        fault = self.drill.fault
        self.healing = time.monotonic()
        evidence = healed_within(fault, self.bench.stack, HEALED_S).evidence
        if not evidence.holds:
            self.findings.append(
                Finding(
                    Reason.FAULT_NOT_HEALED,
                    f"{fault.name} is still there after {HEALED_S:.0f} s of healing: "
                    f"{evidence.seen}",
                )
            )
            return
        self.healed = self.bench.whole_since = time.monotonic()
        self._log("healed", at=self.healed, seen=evidence.seen)

    def _prove_clean(self, watch: AlertWatch, load: LoadSession) -> None:
        """Alerts resolve and say so, and the steady state is back."""
        if self.healed is None:
            return
        healed = self.healed

        def settled() -> bool:
            now = time.monotonic()
            open_cases = [
                c for c in self.cases if not c.is_clean() and now - healed < c.resolve.total_s
            ]
            if open_cases:
                names = ", ".join(c.alert for c in open_cases)
                self._tell(f"healed, awaiting the resolution of {names}")
            return not open_cases

        longest = max((case.resolve.total_s for case in self.cases), default=0.0)
        eventually(settled, timeout_s=longest + 10.0, what="alerts to resolve", interval_s=0.1)
        now = time.monotonic()
        for case in self.cases:
            self.findings += case.findings_after_heal(healed, now)
        self._steady_again(load, healed)
        # An attempt that hangs is counted only when it is given up; so is one of "resolved".
        if not heartbeat.silenced(self.drill, self.bench):
            self._judge_deliveries("after healing")
        self.findings += self.panel.after(self._view(watch, load))
        self.signals = signals_of(self.cases, self.bench, self._injected_at)

    def _steady_again(self, load: LoadSession, healed: float) -> None:
        def is_steady() -> bool:
            since = time.monotonic() - STEADY_WINDOW_S
            # A shorter look might see no request at all, and so none that fails.
            return since >= healed and steady.unsteady(self.drill, load, since) is None

        try:
            eventually(is_steady, timeout_s=STEADY_AGAIN_S, what="the steady state")
        except DeadlineExceeded:
            why = steady.unsteady(self.drill, load, time.monotonic() - STEADY_WINDOW_S)
            self.findings.append(
                Finding(
                    Reason.STEADY_STATE_LOST,
                    f"{STEADY_AGAIN_S:.0f} s after healing the load still sees {why}",
                )
            )
        else:
            self.recovered = steady.recovered_at(self.drill, load, healed)
            self._log("steady again", at=self.recovered)

    def _left_behind(self, findings: Sequence[Finding]) -> list[Finding]:
        """Whatever ended the experiment. What is known to be broken is not compared."""
        injected, healed = self.injected is not None, self.healed is not None
        if self.world is None or self.world.wrong or (injected and not healed):
            return []
        return left_behind(self.world, self.bench.stack, findings, injected=injected)

    # --- pieces ----------------------------------------------------------------------------

    @property
    def _injected_at(self) -> float:
        assert self.injected is not None
        return self.injected

    @property
    def _in_force_at(self) -> float:
        assert self.in_force is not None
        return self.in_force

    def _view(self, watch: AlertWatch, load: LoadSession) -> View:
        return View(
            drill=self.drill,
            bench=self.bench,
            load=load,
            watch=watch,
            begun=self.begun,
            injected=self._injected_at,
            in_force=self._in_force_at,
        )

    def _met(self, load: LoadSession, before: Exposure | None, now: float) -> int:
        """How much traffic has met the fault since injection."""
        effective = self.effective or now
        return met_since(before, self.drill, self.bench, load, self._injected_at, effective, now)

    def _await(
        self, complaint: Callable[[Bench], str | None], timeout_s: float, reason: Reason
    ) -> None:
        """Ask ``complaint`` until it has none; its last one is the finding."""
        last = ""

        def silent() -> bool:
            nonlocal last
            last = complaint(self.bench) or ""
            return not last

        try:
            eventually(silent, timeout_s=timeout_s, what="the precondition", interval_s=0.1)
        except DeadlineExceeded as error:
            raise _Ended(reason, f"{last} (waited {timeout_s:.0f} s)") from error

    def _judge_deliveries(self, when: str) -> None:
        """Failures since the last look, the first of which was before the fault."""
        before, self.undelivered = self.undelivered, steady.failed_deliveries(self.bench)
        for name, value in self.undelivered.items():
            grown = value - before.get(name, 0.0)
            if grown > 0:
                self.findings.append(
                    Finding(Reason.DELIVERY_FAILED, f"{name} grew by {grown:.0f} {when}")
                )

    def _record(self) -> None:
        """Leave both stretches of the drill to be replayed, where Prometheus saw them."""
        if self.injected is None or self.healing is None or self._breaks_prometheus:
            return
        injected, healing = unix_of(self.injected), unix_of(self.healing)
        self.bench.record(self.drill, (injected - self.baseline_s, injected), (injected, healing))

    def _lateness(self, since_unix: float) -> list[str]:
        """Where the monitoring was late, if that could explain a finding."""
        if not any(finding.reason in SLOWNESS for finding in self.findings):
            return []
        if self._breaks_prometheus:
            return []  # of course it was late
        try:
            return late_since(since_unix, self.bench, broken=self.drill.fault.touches)
        except SignalError as error:
            self.findings.append(Finding(Reason.NO_DATA, str(error)))
            return []

    @property
    def _breaks_prometheus(self) -> bool:
        return "prometheus" in self.drill.fault.breaks

    def _since(self, earlier: float | None, later: float | None) -> float | None:
        return None if earlier is None or later is None else round(later - earlier, 2)

    def _on_event(self, event: Transition | Suppression | Notification) -> None:
        match event:
            case Transition():
                self._log(event.state.name.lower(), at=event.at, alert=event.alert)
            case Suppression():
                self._log("inhibited", at=event.at, alert=event.alert, by=list(event.by))
            case Notification():
                what = "notified" if event.status == "firing" else "resolved"
                self._log(what, at=event.at, alert=event.alert, receiver=event.receiver)

    def _log(self, what: str, at: float | None = None, **detail: object) -> None:
        self.bench.timeline.add(self.drill.id, what, at=at, **detail)
        if what in ("injected", "effective", "healed"):
            self._tell(what)

    def _tell(self, what: str) -> None:
        self.bench.tell(f"{self.drill.title}: {what}")


def _is_of_interest(case: AlertCase) -> bool:
    seen = case.outcome()
    return case.role is not Role.QUIET or any(
        at is not None for at in (seen.pending_s, seen.firing_s, seen.notified_s)
    )
