"""How much traffic met a fault: what the fault counts, a counter of the system's, or the load."""

from __future__ import annotations

from alertdrill.bench import Bench
from alertdrill.drill import Drill
from alertdrill.errors import SignalError
from alertdrill.faults.contract import Exposure
from alertdrill.load.session import LoadSession


def exposure(drill: Drill, bench: Bench) -> Exposure | None:
    """What has met the fault so far; None: neither the fault nor the drill says how to count.

    Raises SignalError when Prometheus hasn't got the drill's counter.
    """
    counter = drill.met_by
    if counter is None:
        return drill.fault.exposure(bench.stack)
    count = bench.metrics.value(f"sum({counter})")
    if count is None:
        raise SignalError(f"Prometheus has no {counter}, which counts what meets the fault")
    return Exposure(round(count), counter)


def met_since(
    before: Exposure | None,
    drill: Drill,
    bench: Bench,
    load: LoadSession,
    injected: float,
    effective: float,
    now: float,
) -> int:
    """How much has met the fault since it was ``injected``, when there was ``before`` of it.

    Where nobody counts: the requests that failed or hang. Those that fail while something else is
    put in its place haven't met what then answers: where the fault ``answers``, what counts is the
    requests that began after it was seen to be ``effective`` and were answered, if any were.
    Times are monotonic seconds.
    """
    after = exposure(drill, bench)
    if before is not None and after is not None:
        return after.count - before.count
    if drill.fault.answers:
        answered = sum(
            one.status > 0 and one.start >= effective for one in load.requests(effective, now)
        )
        if answered:
            return answered
    return load.since(injected, now).failed + load.stuck()
