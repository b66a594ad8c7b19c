"""From evaluations to alerts: Prometheus' state machine of ``for`` and ``keep_firing_for``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from alertdrill.rules.model import AlertRule
from alertdrill.rules.replay.model import LabelSet, Span, State

# Evaluations, counted from 0 in order, at which something had a value.
Indices = NDArray[np.int64]

_REFERENCE = re.compile(
    r"\{\{-?\s*(?:\$labels|\.Labels|(?P<external>\$externalLabels|\.ExternalLabels))"
    r"\.(?P<label>\w+)\s*-?\}\}"
)


class NotTemplated(ValueError):
    """A label's template does more than name a label: only Prometheus knows what comes of it."""


def alert_labels(
    rule: AlertRule, metric: Mapping[str, str], external: Mapping[str, str]
) -> LabelSet:
    """The labels of the alert that ``metric`` raises, without ``alertname``.

    Raises NotTemplated for a template other than ``{{ $labels.name }}``.
    """
    labels = {name: value for name, value in metric.items() if name != "__name__"}
    for name, template in rule.labels.items():
        labels[name] = _expand(template, metric, external)
    labels.pop("alertname", None)
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def _expand(template: str, metric: Mapping[str, str], external: Mapping[str, str]) -> str:
    def replaced(match: re.Match[str]) -> str:
        return (external if match["external"] else metric).get(match["label"], "")

    if "{{" in _REFERENCE.sub("", template):
        raise NotTemplated(template)
    return _REFERENCE.sub(replaced, template)


def spans(
    present: Indices,
    *,
    interval_ms: int,
    phase_ms: int,
    for_ms: int,
    keep_firing_for_ms: int,
    count: int,
) -> tuple[Span, ...]:
    """The states of one label set whose expression had a value at the evaluations ``present``
    (ascending), of ``count`` in all.

    An alert fires at the first evaluation at least ``for_ms`` after the one that began it, at
    once without ``for``. ``keep_firing_for`` counts from the first evaluation without a value.
    """
    to_firing = -(-for_ms // interval_ms)
    kept = -(-keep_firing_for_ms // interval_ms)

    def span(state: State, start: int, end: int) -> Span:
        times = ((phase_ms + index * interval_ms) / 1000 for index in (start, end))
        return Span(state, *times)

    found: list[Span] = []
    firing_since: int | None = None
    firing_until = 0
    for first, last in _runs(present):
        if firing_since is not None and first > firing_until:
            found.append(span(State.FIRING, firing_since, firing_until))
            firing_since = None
        if firing_since is None:
            fires = first + to_firing
            if fires > first:
                found.append(span(State.PENDING, first, min(fires, last + 1)))
            if fires > last:
                continue
            firing_since = fires
        # The evaluation at this index would be the first one not to fire.
        firing_until = last + 1 + kept
    if firing_since is not None:
        found.append(span(State.FIRING, firing_since, min(firing_until, count)))
    return tuple(found)


def _runs(present: Indices) -> Iterator[tuple[int, int]]:
    """First and last index of every stretch without a gap."""
    if not len(present):
        return
    breaks = np.flatnonzero(np.diff(present) > 1)
    firsts = np.concatenate(([0], breaks + 1))
    lasts = np.concatenate((breaks, [len(present) - 1]))
    yield from zip(present[firsts].tolist(), present[lasts].tolist(), strict=True)


def merged(parts: Sequence[Indices]) -> Indices | None:
    """The indices of several series that became one label set; None where two met at one
    evaluation, which Prometheus refuses."""
    together = np.sort(np.concatenate(parts))
    if len(together) > 1 and not np.diff(together).all():
        return None
    return together
