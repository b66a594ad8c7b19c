"""Gives doses of a fault to a running stack under load, one after the other, and looks."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from alertdrill import steady
from alertdrill.bench import Bench
from alertdrill.errors import DeadlineExceeded
from alertdrill.faults.contract import Exposure, Fault
from alertdrill.faults.proof import EFFECTIVE_S, HEALED_S, bites_within, healed_within
from alertdrill.faults.world import leftovers
from alertdrill.load.session import LoadSession
from alertdrill.load.window import LoadHealth
from alertdrill.premises import late_since
from alertdrill.rules.deadline import Deadline, scrape_s
from alertdrill.shield import signals_deferred, undone
from alertdrill.signals.alerts import AlertState, AlertWatch
from alertdrill.timeline import unix_of
from alertdrill.trip.axis import DURATION, Axis, duration_axis
from alertdrill.trip.result import Pair
from alertdrill.trip.search import Probe, Reading, Unmeasured, Value
from alertdrill.trip.threshold import Threshold, threshold_of
from alertdrill.verdict import Reason
from alertdrill.wait import eventually

LOAD_NAME = "trip"
STARTED_S = 30.0
STEADY_S = 30.0
STEADY_WINDOW_S = 2.0
# What of a deadline isn't needed to know that an expression never became true.
_AFTER_TRUE = ("for", "group_wait", "group_interval", "margin")


def longest_duration(pair: Pair, bench: Bench, resolution_s: float | None) -> Axis:
    """The axis of durations: up to the rule's own deadline, in seconds on the real clock.

    No finer than a scrape and an evaluation: when these come, within their intervals, is chance.
    """
    factor = bench.config.clock.factor
    longest_s = bench.fire_deadline(pair.alert, pair.drill.operation_s).total_s * factor
    rule = bench.monitoring.alerts[pair.alert]
    chance_s = scrape_s(rule, bench.monitoring) + bench.monitoring.interval_s(rule)
    return duration_axis(longest_s, chance_s * factor if resolution_s is None else resolution_s)


@contextlib.contextmanager
def live_probe(pair: Pair, axis: Axis, bench: Bench) -> Iterator[Probe]:
    """A probe of ``pair`` on ``bench``, with the drill's load running all the while.

    What it raises: Unmeasured where a dose proved nothing, AlertdrillError.
    """
    if pair.alert in bench.unsound:
        raise Unmeasured(Reason.NOT_ON_THIS_CLOCK, f"{pair.alert}: {bench.unsound[pair.alert]}")
    left = leftovers(bench.stack)
    if left:
        raise Unmeasured(Reason.PRECONDITION_UNMET, "faults are already active: " + "; ".join(left))
    load = bench.load(pair.drill.load, LOAD_NAME)
    load.wait_started(timeout_s=STARTED_S)
    threshold = threshold_of(bench.monitoring.alerts[pair.alert].expr)
    with AlertWatch(bench.alerts, bench.notifications) as watch:
        yield _Prober(pair, axis, bench, watch, load, threshold).probe


@dataclass
class _Seen:
    """What came of one dose; times in monotonic seconds: when injection began, when it was done."""

    injected: float = 0.0
    in_force: float = 0.0
    fired: float | None = None
    ended: float = 0.0
    value: Value | None = None
    met: int | None = None
    load: LoadHealth | None = None


@dataclass
class _Prober:
    pair: Pair
    axis: Axis
    bench: Bench
    watch: AlertWatch
    load: LoadSession
    threshold: Threshold | None
    count: int = 0
    told: str = ""

    def probe(self, dose: float) -> Reading:
        """Give ``dose`` until the alert fires or surely won't, and heal; repeated where the
        machine was too slow."""
        late: list[str] = []
        for _ in range(1 + self.bench.config.gate.repeats):
            self.count += 1
            self._await_calm(dose)
            since_unix = time.time()
            reading = self._give(dose)
            late = late_since(since_unix, self.bench, broken=self.pair.drill.fault.touches)
            if not late:
                fired = reading.fired
                self.bench.timeline.add(LOAD_NAME, "probed", dose=reading.dose, fired=fired)
                return reading
        raise Unmeasured(
            Reason.MACHINE_TOO_SLOW, f"at {self.axis.words(dose)} monitoring was late: {late[0]}"
        )

    # --- one dose --------------------------------------------------------------------------

    def _await_calm(self, dose: float) -> None:
        """No alert is active, the load fares well, and no window remembers the last dose."""
        deadlines = [self.bench.resolve_deadline(a, 0.0) for a in self.bench.monitoring.alerts]
        last = "nothing was asked"

        def calm() -> bool:
            nonlocal last
            now = time.monotonic()
            recent = max(self._whole_since, now - STEADY_WINDOW_S)
            last = (
                steady.target_down(self.bench)
                or steady.alert_active(self.bench)
                or steady.unsteady(self.pair.drill, self.load, recent)
                or ""
            )
            self._tell(dose, "awaiting calm")
            return not last and now - self._whole_since >= self._settled_s

        longest_s = max(deadline.total_s for deadline in deadlines) + self._settled_s + STEADY_S
        try:
            eventually(calm, timeout_s=longest_s, what="calm before a dose", interval_s=0.2)
        except DeadlineExceeded as error:
            raise Unmeasured(Reason.PRECONDITION_UNMET, f"{error}: {last}") from error

    def _give(self, dose: float) -> Reading:
        fault, lasts_s = self.pair.drill.fault, math.inf
        if self.axis.unit == DURATION:
            lasts_s = dose / self._factor
        else:
            fault = fault.dosed(dose)
        fault = fault.seeded(self.bench.config.gate.seed)
        before = fault.exposure(self.bench.stack)
        seen = _Seen()

        def give() -> None:
            seen.injected = time.monotonic()
            with signals_deferred():  # the engine would go on with half an injection
                fault.inject(self.bench.stack)
            seen.in_force = time.monotonic()
            self._prove(fault, dose)
            self._observe(dose, seen, lasts_s)
            seen.fired = self._fired_at(seen.injected)
            seen.value = self._value(seen.in_force)
            seen.met = self._met(fault, before, seen.injected)
            seen.load = self.load.validity(seen.injected, time.monotonic())

        def heal() -> None:
            seen.ended = self._heal(fault)

        undone(give, heal)
        assert seen.load is not None
        if not seen.load.valid:
            raise Unmeasured(Reason.LOAD_INVALID, seen.load.why)
        if seen.fired is None and lasts_s < math.inf:
            seen.fired = self._remembered(dose, seen.injected, seen.ended)
        if seen.fired is None and seen.met == 0 and dose >= self.axis.own:
            raise Unmeasured(
                Reason.NO_TRAFFIC, f"no traffic met {fault.name} at {self.axis.words(dose)}"
            )
        if lasts_s < math.inf:
            until = min(seen.ended, seen.fired or seen.ended)
            # What fires while it is being injected has met it since some time after the begin.
            since = seen.in_force if seen.in_force < until else seen.injected
            dose = self._on_the_real_clock(until, since)
        after_s = seen.fired and self._on_the_real_clock(seen.fired, seen.injected)
        return Reading(dose, seen.fired is not None, after_s, seen.value, seen.met)

    def _on_the_real_clock(self, at: float, since: float) -> float:
        return round((at - since) * self._factor, 1)

    def _prove(self, fault: Fault, dose: float) -> None:
        evidence = bites_within(fault, self.bench.stack, EFFECTIVE_S)
        if not evidence.holds:
            raise Unmeasured(
                Reason.FAULT_NOT_PROVEN,
                f"{fault.name} was not seen to bite at {self.axis.words(dose)}: {evidence.seen}",
            )

    def _observe(self, dose: float, seen: _Seen, lasts_s: float) -> None:
        """Until the alert fires, or surely won't; or until the fault has lasted long enough."""
        longest_s = min(lasts_s, self._deadline.total_s)

        def decided() -> bool:
            since = time.monotonic() - seen.in_force
            self._tell(dose, f"+{since:.0f} s, {self._state()}")
            if self._fired_at(seen.injected) is not None or since >= longest_s:
                return True
            return lasts_s == math.inf and self._is_inactive() and since >= self._certain_s

        eventually(decided, timeout_s=longest_s + 10.0, what="the alert to be decided")

    def _remembered(self, dose: float, injected: float, ended: float) -> float | None:
        """When it fires after the fault has ended: its window may still hold enough of it."""
        longest_s = self._deadline.total_s + self._settled_s

        def decided() -> bool:
            since = time.monotonic() - ended
            self._tell(dose, f"healed, +{since:.0f} s, {self._state()}")
            if self._fired_at(injected) is not None or since >= longest_s:
                return True
            return self._is_inactive() and since >= self._settled_s

        eventually(decided, timeout_s=longest_s + 10.0, what="the alert to be decided")
        return self._fired_at(injected)

    def _heal(self, fault: Fault) -> float:
        """Heal, whatever it takes; when the fault had ended, in monotonic seconds."""
        healing = healed_within(fault, self.bench.stack, HEALED_S)
        if not healing.evidence.holds:
            raise Unmeasured(
                Reason.FAULT_NOT_HEALED,
                f"{fault.name} is still there after {HEALED_S:.0f} s of healing: "
                f"{healing.evidence.seen}",
            )
        self.bench.whole_since = time.monotonic()
        # What is only booting still breaks its clients.
        if fault.breaks or healing.undone is None:
            return self.bench.whole_since
        return healing.undone

    # --- what is read ----------------------------------------------------------------------

    def _value(self, in_force: float) -> Value | None:
        """The expression over the end of the stretch, when its window was full of the fault."""
        if self.threshold is None:
            return None
        now, interval_s = time.monotonic(), self._interval_s
        since = min(in_force + self._settled_s, now - 2 * interval_s)
        seen = self.bench.metrics.history(
            self.threshold.worst, unix_of(since), unix_of(now), interval_s
        )
        numbers = [value for value in seen if math.isfinite(value)]
        if not numbers:
            return None
        return Value(sum(numbers) / len(numbers), min(numbers), max(numbers))

    def _met(self, fault: Fault, before: Exposure | None, injected: float) -> int | None:
        after = fault.exposure(self.bench.stack)
        if before is None or after is None:
            return self.load.since(injected).failed + self.load.stuck()
        return after.count - before.count

    def _fired_at(self, injected: float) -> float | None:
        return self.watch.first(self.pair.alert, AlertState.FIRING, injected)

    def _state(self) -> str:
        return self.watch.states()[self.pair.alert].name.lower()

    def _is_inactive(self) -> bool:
        return self.watch.states()[self.pair.alert] is AlertState.INACTIVE

    @property
    def _whole_since(self) -> float:
        """When the load began, or the last fault was over; monotonic seconds."""
        return max(self.bench.whole_since, self.load.started_at or 0.0)

    # --- pieces ----------------------------------------------------------------------------

    @property
    def _factor(self) -> float:
        return self.bench.config.clock.factor

    @cached_property
    def _interval_s(self) -> float:
        return self.bench.monitoring.interval_s(self.bench.monitoring.alerts[self.pair.alert])

    @cached_property
    def _deadline(self) -> Deadline:
        return self.bench.fire_deadline(self.pair.alert, self.pair.drill.operation_s)

    @cached_property
    def _settled_s(self) -> float:
        """How long until every evaluation sees nothing but the present: a window, two scrapes and
        two evaluations, and the slowed operation."""
        return sum(seconds for name, seconds in self._deadline.parts if name not in _AFTER_TRUE)

    @cached_property
    def _certain_s(self) -> float:
        """How long until an alert that isn't pending surely won't fire: it had its `for` of seeing
        nothing but the fault, for near the threshold a value wavers."""
        return self._settled_s + self.bench.monitoring.alerts[self.pair.alert].for_s

    def _tell(self, dose: float, what: str) -> None:
        news = f"dose {self.count}, {self.axis.words(dose)}: {what}"
        if news != self.told:
            self.told = news
            self.bench.tell(news)
