"""Trip points: the shortest fault, and the smallest share of one, at which an alert fires."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from alertdrill.rules.replay.model import History, Kind, LabelSet, Values
from alertdrill.rules.replay.targets import metric_name
from alertdrill.rules.replay.tile import increments


def smallest(fires: Callable[[int], bool], largest: int) -> int:
    """The smallest number from 1 to ``largest`` for which ``fires`` holds, by bisection.

    ``fires`` must hold for ``largest`` and for everything above the smallest.
    """
    below, at = 0, largest
    while at - below > 1:
        middle = (below + at) // 2
        if fires(middle):
            at = middle
        else:
            below = middle
    return at


def can_be_diluted(
    healthy: History, faulty: History, kinds: Mapping[str, Kind], metrics: Collection[str]
) -> bool:
    """Whether a share of the fault is something that could have been.

    It is for counters that stay present: a share of the traffic met the fault, and what was
    counted is a mixture. Half an ``up`` or half a vanished series is nothing.
    """
    wanted = {labels for labels in faulty.series if metric_name(labels) in metrics}
    return bool(wanted) and all(
        kinds.get(metric_name(labels)) is Kind.COUNTER
        and not np.isnan(faulty.series[labels]).any()
        and not (increments(faulty.series[labels])[1]).any()
        for labels in wanted
        if labels in healthy.series and not np.isnan(healthy.series[labels]).all()
    )


def diluted(healthy: History, faulty: History, kinds: Mapping[str, Kind], share: float) -> History:
    """``faulty`` with only ``share`` (0 to 1) of its traffic meeting the fault.

    Both histories are of the same length. Counters grow by the mixture of both; everything else
    is as in ``faulty``.
    """
    series: dict[LabelSet, Values] = {}
    for labels, values in faulty.series.items():
        if kinds.get(metric_name(labels)) is not Kind.COUNTER:
            series[labels] = values
            continue
        calm = healthy.series.get(labels)
        grown = share * increments(values)[0]
        if calm is not None:
            grown = grown + (1 - share) * increments(calm)[0]
        series[labels] = np.where(np.isnan(values), np.nan, np.cumsum(grown))
    return History(faulty.interval_s, series, faulty.stretches)
