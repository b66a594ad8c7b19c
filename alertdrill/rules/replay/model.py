"""What replay speaks of: segments that were recorded, histories built of them, alert timelines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

# A series' whole identity: (name, value) pairs sorted by name, ``__name__`` among them.
LabelSet = tuple[tuple[str, str], ...]
# One value per scrape slot; NaN: the series had no sample there (absent, or its target was down).
Values = NDArray[np.float64]


class Kind(StrEnum):
    """How a series may be continued. Histogram buckets, sums and counts are counters."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True)
class Segment:
    """Every series of a stack during one stretch of a live drill, one sample per scrape slot.

    ``name``        ``healthy`` or the fault's name
    ``drill``       the drill that recorded it
    ``interval_s``  the scrape interval that the rules were written for (real clock), in seconds
    ``factor``      what the live clock was divided by: slots were ``interval_s / factor`` apart
    """

    name: str
    drill: str
    interval_s: float
    factor: float
    series: Mapping[LabelSet, Values]
    kinds: Mapping[str, Kind]

    @property
    def slots(self) -> int:
        return len(next(iter(self.series.values()), ()))


@dataclass(frozen=True)
class Stretch:
    """``duration_s`` seconds (real clock) of the segment called ``segment``."""

    segment: str
    duration_s: float


@dataclass(frozen=True)
class History:
    """Series of any length, tiled from segments; slot ``i`` is at ``i * interval_s`` seconds."""

    interval_s: float
    series: Mapping[LabelSet, Values]
    stretches: tuple[Stretch, ...]

    @property
    def slots(self) -> int:
        return len(next(iter(self.series.values()), ()))

    @property
    def duration_s(self) -> float:
        return self.slots * self.interval_s


class State(StrEnum):
    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True)
class Span:
    """An alert's series was in ``state`` at every evaluation from ``start_s`` to before ``end_s``
    (seconds of the history; ``end_s`` is the first evaluation at which it no longer was)."""

    state: State
    start_s: float
    end_s: float


@dataclass(frozen=True)
class AlertTimeline:
    """One alert over a whole history: the spans of each of its label sets, in order.

    Label sets are without ``alertname``; an alert that never was active has no label sets.
    ``phase_s`` is the first evaluation; evaluations are ``interval_s`` apart.
    """

    alert: str
    phase_s: float
    interval_s: float
    spans: Mapping[LabelSet, tuple[Span, ...]]

    def first(self, state: State, since_s: float = 0.0) -> float | None:
        """When any label set first was in ``state`` at or after ``since_s``."""
        times = (
            max(span.start_s, since_s)
            for spans in self.spans.values()
            for span in spans
            if span.state is state and span.end_s > since_s
        )
        return min(times, default=None)
