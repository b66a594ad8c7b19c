"""How much counters grew, from their samples as stored: nothing is extrapolated, and what a
restart may have swallowed is said.

PromQL's ``increase`` extrapolates to the edges of its range, so it can't be compared with a count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from alertdrill.signals.metrics import Metrics

Samples = Sequence[tuple[float, float]]
Stretch = tuple[float, float]


@dataclass(frozen=True)
class Growth:
    """``grown``  how much each selector's counters grew, together
    ``unsure``  stretches (Unix seconds) in which an event may or may not have been counted: the
                first and the last are the edges of what was looked at; the others are restarts,
                from the last sample before to the first one after
    """

    grown: tuple[float, ...]
    unsure: tuple[Stretch, ...]


def growth(metrics: Metrics, selectors: Sequence[str], since: float, until: float) -> Growth | None:
    """The growth of each of ``selectors`` between two Unix times; None without any sample.

    Raises SignalError.
    """
    found = [metrics.samples(selector, since, until) for selector in selectors]
    by_target: defaultdict[tuple[str, str], list[Samples]] = defaultdict(list)
    for labels, samples in chain.from_iterable(found):
        by_target[_target(labels)].append(samples)
    if not by_target:
        return None
    begins = {target: min(s[0][0] for s in series) for target, series in by_target.items()}
    ends = {target: max(s[-1][0] for s in series) for target, series in by_target.items()}
    restarts = {target: _restarts(series) for target, series in by_target.items()}
    return Growth(
        grown=tuple(
            sum(
                _grown(samples, begins[_target(labels)], restarts[_target(labels)])
                for labels, samples in rows
            )
            for rows in found
        ),
        unsure=(
            (min(begins.values()), max(begins.values())),
            *sorted(set(chain.from_iterable(restarts.values()))),
            (min(ends.values()), max(ends.values())),
        ),
    )


def _restarts(series: Sequence[Samples]) -> set[Stretch]:
    """A process begins at zero: between two samples of which the later is smaller, it restarted."""
    return {
        (before[0], after[0])
        for samples in series
        for before, after in pairwise(samples)
        if after[1] < before[1]
    }


def _grown(samples: Samples, begin: float, restarts: Collection[Stretch]) -> float:
    # A counter that appears later than others of its target was incremented for the first time.
    total = samples[0][1] if samples[0][0] > begin else 0.0
    for before, after in pairwise(samples):
        restarted = any(before[0] <= a and b <= after[0] for a, b in restarts)
        total += after[1] if restarted else after[1] - before[1]
    return total


def _target(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels.get("job", ""), labels.get("instance", "")
