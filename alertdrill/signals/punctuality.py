"""Was the monitoring on time? What a machine that is too slow makes it say proves nothing.

A compressed clock scrapes several times a second, and a scrape may take no longer than its
interval. On a starved machine scrapes of a healthy system then time out, and alerts fire that
nobody would see at the real pace.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from alertdrill.signals.metrics import Metrics

# So many scrapes in a row may be lost: ranges and `for` are written to survive it.
SLOTS = 4
# A failed scrape that took this share of its interval ran out of time; one that was refused or
# found no such host ends at once.
TIMED_OUT_SHARE = 0.9
MISSED_EVALUATIONS = "prometheus_rule_group_iterations_missed_total"


@dataclass(frozen=True)
class Scrape:
    """``at`` in Unix seconds; ``took_s`` in seconds."""

    at: float
    up: bool
    took_s: float


def lateness(
    metrics: Metrics,
    since: float,
    until: float,
    *,
    intervals: Mapping[str, float],
    compressed: bool,
    broken: Collection[str] = (),
) -> list[str]:
    """Where Prometheus was late between two Unix times, in words; empty when it was on time.

    ``intervals``   the scrape interval in seconds by job
    ``compressed``  whether scrapes have less time than on the real clock; otherwise one that
                    ran out of time is what it seems
    ``broken``      hosts that the drill itself breaks: their scrapes prove nothing

    Raises SignalError.
    """
    took = {
        _target(labels): dict(samples)
        for labels, samples in metrics.samples("scrape_duration_seconds", since, until)
    }
    late = []
    for labels, samples in metrics.samples("up", since, until):
        job, instance = target = _target(labels)
        interval_s = intervals.get(job)
        if interval_s is None or instance.rpartition(":")[0] in broken:
            continue
        scrapes = [Scrape(at, up == 1, took.get(target, {}).get(at, 0.0)) for at, up in samples]
        longest_s = longest_loss_s(scrapes, interval_s, count_timeouts=compressed)
        if longest_s > SLOTS * interval_s:
            late.append(
                f"{job} at {instance} was not scraped for {longest_s:.2f} s "
                f"(one scrape each {interval_s:g} s, which is all the time it has)"
            )
    missed = sum(
        samples[-1][1] - samples[0][1]
        for _, samples in metrics.samples(MISSED_EVALUATIONS, since, until)
        if samples
    )
    if missed > 0:
        late.append(f"Prometheus missed {missed:.0f} evaluations of its rules")
    return late


def longest_loss_s(scrapes: Sequence[Scrape], interval_s: float, *, count_timeouts: bool) -> float:
    """The longest time in seconds between two scrapes that say something: that succeeded, or
    failed for a reason other than time. 0 with fewer than two."""
    telling = [
        scrape.at
        for scrape in scrapes
        if scrape.up or not count_timeouts or scrape.took_s < TIMED_OUT_SHARE * interval_s
    ]
    ends = _with_ends(telling, [scrape.at for scrape in scrapes])
    return max((later - earlier for earlier, later in pairwise(ends)), default=0.0)


def _with_ends(telling: Iterable[float], all_of_them: Sequence[float]) -> list[float]:
    """A loss may begin or end outside of what was looked at."""
    return sorted({*telling, *all_of_them[:1], *all_of_them[-1:]})


def _target(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels.get("job", ""), labels.get("instance", "")
