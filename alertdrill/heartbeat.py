"""Heartbeats: alerts that always fire, so that their silence says that the monitoring is dead."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise

from alertdrill.bench import Bench
from alertdrill.drill import Drill
from alertdrill.judge import wrong_arrivals
from alertdrill.signals.alerts import AlertState, AlertWatch, RuleStatus
from alertdrill.verdict import Finding, Reason


def unheard(bench: Bench) -> str | None:
    """A heartbeat that doesn't fire or doesn't arrive, or a dead man's switch that fires.

    Raises SignalError. What the receiver tells of is read: for use while no watch is open.
    """
    rules = {rule.name: rule for rule in bench.alerts.rules()}
    bench.notifications.new()
    complaints = (
        _unheard(bench, switch, heartbeat, rules.get(heartbeat))
        for switch, heartbeat in bench.config.switches.items()
    )
    return "; ".join(complaint for complaint in complaints if complaint) or None


def _unheard(bench: Bench, switch: str, heartbeat: str, rule: RuleStatus | None) -> str:
    if rule is None or rule.state is not AlertState.FIRING:
        state = "no rule defines it" if rule is None else f"it is {rule.state.name.lower()}"
        return f"{heartbeat} must always fire, and {state}"
    last, alarm = (bench.notifications.latest.get(name) for name in (heartbeat, switch))
    belongs = bench.config.expectation(heartbeat).receiver
    allowed = bench.fire_deadline(heartbeat, 0.0)
    if last is None or last.receiver != belongs or time.monotonic() - last.at > allowed.total_s:
        where = f", but at {last.receiver}" if last and last.receiver != belongs else ""
        return f"no {heartbeat} arrived at {belongs} in the last {allowed}{where}"
    if alarm is not None and alarm.status == "firing":
        return f"{switch} fires, although {heartbeat} arrives"
    return ""


def silenced(drill: Drill, bench: Bench) -> bool:
    """Whether a dead man's switch may fire in ``drill``: then nothing need arrive under it."""
    return not bench.config.switches.keys().isdisjoint(drill.fires | drill.may_fire)


def findings(
    drill: Drill, bench: Bench, watch: AlertWatch, *, injected: float, healed: float | None
) -> Iterator[Finding]:
    """What was wrong with the heartbeats from the fault to now (monotonic seconds). One whose
    switch the drill expects must only be back in time. Raises SignalError."""
    now = time.monotonic()
    for switch, heartbeat in bench.config.switches.items():
        heard = watch.received(heartbeat, "firing", injected)
        rule = bench.monitoring.alerts.get(heartbeat)
        routed = bench.monitoring.alertmanager.receiver_for(rule.alert_labels) if rule else ()
        yield from wrong_arrivals(heartbeat, heard, routed, bench.config.expectation(heartbeat))
        if switch not in drill.fires | drill.may_fire:
            allowed = bench.fire_deadline(heartbeat, 0.0)
            silence_s = longest_silence_s([injected, *(n.at for n in heard), now])
            when = ""
        elif healed is not None:
            allowed = bench.resolve_deadline(heartbeat, 0.0)
            silence_s = min((n.at for n in heard if n.at >= healed), default=now) - healed
            when = " after healing"
        else:
            continue
        if silence_s > allowed.total_s:
            yield Finding(
                Reason.HEARTBEAT_STOPPED,
                f"no {heartbeat} arrived for {silence_s:.1f} s{when} (at most {allowed})",
            )


def longest_silence_s(times: Sequence[float]) -> float:
    """The longest time between two of ``times``, which are in order; 0 with fewer than two."""
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)
