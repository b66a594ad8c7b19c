"""What the load saw: the events of the generator, kept in order, and questions about a window.

Times are ``time.monotonic()`` seconds; a window is ``since <= t < until``.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from alertdrill.load.protocol import Broken, Event, Finished, Heartbeat

SILENCE_S = 2.0
"""Without a heartbeat for so long, the load counts as stopped."""
USUAL_SILENCE_S = 0.5
"""Heartbeats come every 0.25 s; a generator that says nothing for longer had no processor."""
SHORTEST_JUDGED_S = 2.0
"""Shorter windows hold too few slots to compare with a plan."""
LEAST_PLANNED = 4.0
"""Nor are so few planned requests of a user class."""
LEAST_SHARE = 0.5
"""A user class that starts less than this share of its plan makes the load invalid."""
STUCK_S = 1.0
"""A user class of whose waiting requests none ends for so long is stuck."""


@dataclass(frozen=True)
class Tally:
    requests: int
    failed: int


@dataclass(frozen=True)
class Latency:
    """Response times in milliseconds of finished requests, failed ones included.

    Quantiles by nearest rank. Measured from the actual start by a closed model: see
    ``alertdrill.load.pacing`` for what they can't show.
    """

    p50: float
    p95: float
    p99: float
    worst: float

    @staticmethod
    def of(ms: Iterable[float]) -> Latency | None:
        """None when there is nothing to measure."""
        ordered = sorted(ms)
        if not ordered:
            return None

        def rank(quantile: float) -> float:
            return ordered[math.ceil(quantile * len(ordered)) - 1]

        return Latency(rank(0.50), rank(0.95), rank(0.99), ordered[-1])


@dataclass(frozen=True)
class Window:
    """The requests that finished in a stretch of time.

    ``errors``        label -> how often
    ``first, last``   when the first and the last of them ended, None without any
    ``acknowledged``  idempotency keys of the requests that succeeded: writes that the system
                      has promised to keep
    ``uncertain``     idempotency keys of which every request failed: done or not done
    ``repeated``      idempotency keys of more than one request

    Each key stands once, however often it was sent.
    """

    requests: int
    failed: int
    by_user: Mapping[str, Tally]
    by_name: Mapping[str, Tally]
    errors: Counter[str]
    latency: Latency | None
    first: float | None
    last: float | None
    acknowledged: tuple[str, ...]
    uncertain: tuple[str, ...]
    repeated: tuple[str, ...]

    @staticmethod
    def of(finished: Sequence[Finished]) -> Window:
        failed = [one for one in finished if not one.ok]
        sent = Counter(one.key for one in finished if one.key is not None)
        acknowledged = dict.fromkeys(one.key for one in finished if one.ok and one.key is not None)
        return Window(
            requests=len(finished),
            failed=len(failed),
            by_user=_tallies((one.user, one.ok) for one in finished),
            by_name=_tallies((one.name, one.ok) for one in finished),
            errors=Counter(one.error or "unknown" for one in failed),
            latency=Latency.of(one.ms for one in finished),
            first=finished[0].end if finished else None,
            last=finished[-1].end if finished else None,
            acknowledged=tuple(acknowledged),
            uncertain=tuple(key for key in sent if key not in acknowledged),
            repeated=tuple(key for key, times in sent.items() if times > 1),
        )


@dataclass(frozen=True)
class UserCounts:
    """Counters of one user class since the start; ``started``, ``inflight`` and ``missed`` are
    as old as the last heartbeat."""

    started: int
    finished: int
    failed: int
    inflight: int
    missed: int


@dataclass(frozen=True)
class LoadSnapshot:
    """The load at this moment. ``heartbeat_age_s`` is None before the first heartbeat."""

    users: Mapping[str, UserCounts]
    heartbeat_age_s: float | None
    alive: bool


@dataclass(frozen=True)
class LoadHealth:
    """Whether the load was what the plan says; ``why`` says what was seen either way.

    ``starved``  it wasn't, and a generator that lives says nothing: it had no processor
    """

    valid: bool
    why: str
    starved: bool = False


@dataclass
class Record:
    """Everything that the generator told. Not thread-safe: its owner holds a lock."""

    finished: list[Finished] = field(default_factory=list)
    heartbeats: list[Heartbeat] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    totals: dict[str, Tally] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        if isinstance(event, Finished):
            self.finished.append(event)
            total = self.totals.get(event.user, Tally(0, 0))
            self.totals[event.user] = Tally(total.requests + 1, total.failed + (not event.ok))
        elif isinstance(event, Heartbeat):
            self.heartbeats.append(event)
        else:
            self.broken.append(event)

    def window(self, since: float, until: float) -> Window:
        return Window.of(self.requests(since, until))

    def requests(self, since: float, until: float) -> list[Finished]:
        """The requests of a window, by their end."""
        first = bisect_left(self.finished, since, key=lambda one: one.end)
        last = bisect_left(self.finished, until, key=lambda one: one.end)
        return self.finished[first:last]

    def counts(self, users: Iterable[str]) -> dict[str, UserCounts]:
        beat = self.heartbeats[-1] if self.heartbeats else None
        counts = {}
        for user in users:
            total = self.totals.get(user, Tally(0, 0))
            counts[user] = UserCounts(
                started=max(beat.started.get(user, 0) if beat else 0, total.requests),
                finished=total.requests,
                failed=total.failed,
                inflight=beat.inflight.get(user, 0) if beat else 0,
                missed=beat.missed.get(user, 0) if beat else 0,
            )
        return counts

    def stuck(self, planned: Mapping[str, float], now: float) -> int:
        """Requests of user classes that wait for answers of which none has come lately: in
        ``STUCK_S`` seconds, or in the time of three planned requests where that is longer."""
        last = {one.user: one.end for one in self.finished}
        counts = self.counts(planned)
        return sum(
            counts[user].inflight
            for user, rate in planned.items()
            if now - last.get(user, 0.0) >= max(STUCK_S, 3 / rate)
        )

    def longest_silence(self, since: float, until: float) -> float:
        """The longest time without a heartbeat that touches the window, in seconds."""
        beats = [beat.at for beat in self.heartbeats]
        inside = beats[bisect_left(beats, since) : bisect_left(beats, until)]
        before = beats[: bisect_left(beats, since)][-1:]
        marks = [*(before or [since]), *inside, until]
        return max(later - earlier for earlier, later in pairwise(marks))

    def started_between(self, user: str, since: float, until: float) -> float:
        """Requests that ``user`` started in the window, interpolated between heartbeats."""
        return max(0.0, self._started_at(user, until) - self._started_at(user, since))

    def _started_at(self, user: str, moment: float) -> float:
        after = bisect_left(self.heartbeats, moment, key=lambda beat: beat.at)
        if after == 0:
            return 0.0
        left = self.heartbeats[after - 1]
        count = float(left.started.get(user, 0))
        if after < len(self.heartbeats):
            right = self.heartbeats[after]
            share = (moment - left.at) / (right.at - left.at)
            count += share * (right.started.get(user, 0) - count)
        return count


def judge(
    record: Record, planned: Mapping[str, float], since: float, until: float, died: str | None
) -> LoadHealth:
    """Whether the load kept its plan from ``since`` to ``until``.

    ``planned``  user class -> requests per second
    ``died``     how the generator ended before ``until``, if it did
    """
    span = until - since
    if died is not None:
        return LoadHealth(False, died)
    if record.broken:
        bug = record.broken[0]
        return LoadHealth(False, f"the locustfile raised in {bug.user}: {bug.error}")
    silence = record.longest_silence(since, until)
    if silence > SILENCE_S:
        return LoadHealth(
            False,
            f"no heartbeat of the load generator for {silence:.1f} s (limit {SILENCE_S} s)",
            starved=True,
        )
    counts = record.counts(planned)
    words = []
    for user, rate in planned.items():
        started = record.started_between(user, since, until)
        plan = rate * span
        words.append(f"{user} started {started:.0f} of {plan:.0f} planned")
        judged = span >= SHORTEST_JUDGED_S and plan >= LEAST_PLANNED
        if judged and started < LEAST_SHARE * plan:
            return LoadHealth(
                False,
                f"{words[-1]} requests ({rate:g}/s for {span:.1f} s); "
                f"{counts[user].inflight} still wait for an answer",
                starved=silence > USUAL_SILENCE_S
                and started >= LEAST_SHARE * rate * (span - silence),
            )
    return LoadHealth(True, f"{', '.join(words)} in {span:.1f} s")


def _tallies(outcomes: Iterable[tuple[str, bool]]) -> dict[str, Tally]:
    requests: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for name, ok in outcomes:
        requests[name] += 1
        failed[name] += not ok
    return {name: Tally(count, failed[name]) for name, count in requests.items()}
