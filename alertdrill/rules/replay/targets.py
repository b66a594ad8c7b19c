"""Scrape targets inside a segment: which series are whose, and when somebody scraped them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alertdrill.rules.replay.model import LabelSet, Segment, Values

# How long Prometheus shows the last sample of a series that nobody scraped again, in seconds:
# the default of --query.lookback-delta.
LOOKBACK_S = 300.0
# As many scrapes may be missing at either end of a segment without meaning anything.
_LOST_AT_AN_END = 2


def metric_name(labels: LabelSet) -> str:
    return dict(labels)["__name__"]


def target_of(labels: LabelSet) -> LabelSet:
    """``job`` and ``instance`` of a series; empty for one that no scrape brought."""
    return tuple(pair for pair in labels if pair[0] in ("instance", "job"))


def up_of(target: LabelSet) -> LabelSet:
    """The series that says whether ``target`` answered."""
    return tuple(sorted((("__name__", "up"), *target)))


def scraped_last(up: Values, interval_s: float) -> NDArray[np.intp]:
    """For each slot, the slot whose scrape it shows; -1: the target wasn't there.

    ``up`` is NaN both where a scrape didn't happen (late, or a job of a longer interval) and
    where the target was not known; only the second ends its series. So a gap that closes again
    shows the scrape before it, for as long as Prometheus looks back; a gap at an end does when
    it is no longer than those that closed, or two slots.
    """
    slots = np.arange(len(up))
    at = slots[~np.isnan(up)]
    if not len(at):
        return np.full(len(up), -1)
    source = np.maximum.accumulate(np.where(np.isnan(up), -1, slots))
    lookback = max(1, round(LOOKBACK_S / interval_s))
    lost = min(lookback, max(_LOST_AT_AN_END, int(np.diff(at).max(initial=1)) - 1))
    source = np.where(slots - source > lookback, -1, source)
    if at[0] <= lost:
        source[: at[0]] = at[0]
    else:
        source[: at[0]] = -1
    if len(up) - 1 - at[-1] > lost:
        source[at[-1] + 1 :] = -1
    return source


def missed_scrapes(segment: Segment) -> list[str]:
    """A sentence for each target that was not scraped as regularly as it seems to be meant."""
    found = []
    for labels, up in segment.series.items():
        if metric_name(labels) != "up":
            continue
        at = np.flatnonzero(~np.isnan(up))
        if not len(at):
            continue
        gaps = np.diff(at)
        step = max(1, round(float(np.median(gaps)))) if len(gaps) else 1
        between = int(np.rint(gaps / step - 1).sum())
        missed = between + int(at[0]) // step + (len(up) - 1 - int(at[-1])) // step
        if missed:
            where = ", ".join(f"{key}={value}" for key, value in target_of(labels))
            found.append(
                f"{where or 'a target'} was not scraped in {missed} of "
                f"{len(up) // step} scrapes of {segment.name}"
            )
    return found
