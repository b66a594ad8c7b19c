"""What is done to Alertmanager, and what it did: alerts together, inhibited, silenced.

Each experiment has a process and a recorder of its own, so that they run side by side.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from alertdrill.errors import DeadlineExceeded
from alertdrill.rules.alertmanager import AlertmanagerConfig, Labels, Route, all_match
from alertdrill.rules.programs import Program
from alertdrill.rules.routing.firing import Firing
from alertdrill.rules.routing.process import Alertmanager, Status
from alertdrill.rules.routing.recorder import Identity, Message, Recorder, Rendering, identity
from alertdrill.rules.routing.rewrite import Setup, rewrite
from alertdrill.wait import eventually

# What a loaded machine may add to any wait; only what never comes costs it.
MARGIN_S = 10.0
# After this, what should not come is taken not to come.
_QUIET_S = 0.5
# So many inhibitions are tried one by one; there is little to learn from more.
MAX_PAIRS = 300
# Each of these costs the whole margin, and a few say enough.
_MAX_REFUTED = 3


@dataclass(frozen=True)
class Lab:
    """What every experiment needs. ``cancelled``, once set, ends all waiting."""

    program: Program
    config: AlertmanagerConfig
    setup: Setup
    cancelled: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def alertmanager(
        self, *, inhibit: bool = False, texts: bool = False
    ) -> Iterator[tuple[Alertmanager, Recorder]]:
        with Recorder() as recorder, tempfile.TemporaryDirectory(prefix="alertdrill-") as folder:
            path = Path(folder) / "alertmanager.yml"
            path.write_text(
                rewrite(self.setup, recorder, inhibit=inhibit, texts=texts), encoding="utf-8"
            )
            with Alertmanager(self.program, path) as alertmanager:
                yield alertmanager, recorder

    def comes(self, probe: Callable[[], bool], timeout_s: float, what: str) -> bool:
        """Whether ``probe`` holds within ``timeout_s``. Raises DeadlineExceeded if cancelled."""
        try:
            return eventually(
                probe,
                timeout_s=max(0.0, timeout_s),
                what=what,
                interval_s=0.03,
                cancelled=self.cancelled,
            )
        except DeadlineExceeded:
            if self.cancelled.is_set():
                raise
            return False

    @property
    def longest_wait_s(self) -> float:
        """Until every group has told of what is new in it, on the faster clock."""
        clock = self.setup.clock
        return max(
            clock.wait_s(route.group_wait_s) + clock.wait_s(route.group_interval_s)
            for route in self.config.route.walk()
        )


def alerts_of(firings: Sequence[Firing]) -> list[tuple[Mapping[str, str], Mapping[str, str]]]:
    return [(firing.labels, firing.annotations) for firing in firings]


def route_to(config: AlertmanagerConfig, labels: Labels, receiver: str) -> Route | None:
    """The first route by which an alert with ``labels`` reaches ``receiver``."""
    taken = (route for route in config.route.matching(labels) if route.receiver == receiver)
    return next(taken, None)


@dataclass(frozen=True)
class Delivery:
    """One alert at one receiver; times in seconds on the faster clock, None: it never came.

    ``first_s``       since it was posted
    ``repeat_s``      since the first notification
    ``resolved_s``    since it had ended
    ``grouped_with``  the other alerts in its first notification
    """

    receiver: str
    group_labels: Mapping[str, str]
    grouped_with: frozenset[Identity]
    first_s: float
    repeat_s: float | None
    resolved_s: float | None


@dataclass(frozen=True)
class Together:
    """All alerts at once, without inhibition: ``routed`` is Alertmanager's word on where each
    goes, ``deliveries`` what came there."""

    routed: Mapping[Identity, tuple[str, ...]]
    deliveries: Mapping[Identity, tuple[Delivery, ...]]
    messages: tuple[Message, ...]
    renderings: tuple[Rendering, ...]
    errors: tuple[str, ...]


def run_together(lab: Lab, firings: Sequence[Firing]) -> Together:
    """Let all fire at once, repeat, and end; and see what arrives where, and when."""
    alerts = alerts_of(firings)
    with lab.alertmanager(texts=True) as (alertmanager, recorder):
        posted = time.monotonic()
        alertmanager.fire(alerts)
        routed = {
            identity(status.labels): tuple(dict.fromkeys(status.receivers))
            for status in _all_fire(lab, alertmanager, firings)
        }
        watch = _Watch(recorder, [(who, to) for who, names in routed.items() for to in names])
        lab.comes(watch.all_arrived, lab.longest_wait_s + MARGIN_S, "the first notifications")
        longest_s = watch.expect_repeats(lab)
        lab.comes(watch.all_repeated, longest_s + MARGIN_S, "the repeated notifications")
        ended = time.monotonic()
        alertmanager.resolve(alerts)
        told = [pair for pair in watch.pairs if lab.setup.resolves.get(pair[1], False)]
        untold = [pair for pair in watch.pairs if pair not in told]
        lab.comes(
            lambda: all(watch.resolved(pair, ended) is not None for pair in told),
            lab.longest_wait_s + MARGIN_S,
            "the resolved notifications",
        )
        if untold:
            lab.comes(
                lambda: any(watch.resolved(pair, ended) is not None for pair in untold),
                ended + lab.longest_wait_s + _QUIET_S - time.monotonic(),
                "no resolved notification",
            )
        deliveries = {
            who: tuple(
                found
                for to in names
                if (found := watch.delivery((who, to), posted, ended)) is not None
            )
            for who, names in routed.items()
        }
        return Together(
            routed=routed,
            deliveries=deliveries,
            messages=recorder.messages(),
            renderings=recorder.renderings(),
            errors=tuple(alertmanager.errors()),
        )


def _all_fire(lab: Lab, alertmanager: Alertmanager, firings: Sequence[Firing]) -> list[Status]:
    """What Alertmanager says of ``firings``, once it knows of all."""
    wanted = {identity(firing.labels) for firing in firings}
    found: list[Status] = []

    def known() -> bool:
        found[:] = alertmanager.statuses()
        return wanted <= {identity(status.labels) for status in found}

    lab.comes(known, MARGIN_S, "Alertmanager to know of every alert")
    return found


class _Watch:
    """What has come for each pair of an alert and a receiver."""

    def __init__(self, recorder: Recorder, pairs: Collection[tuple[Identity, str]]) -> None:
        self._recorder = recorder
        self.pairs = list(pairs)
        self._repeats_from: dict[tuple[Identity, str], float] = {}
        self._by_pair: dict[tuple[Identity, str], list[Message]] = {}
        self._read = 0

    def _with(self, pair: tuple[Identity, str], status: str, since: float) -> Message | None:
        for message in self._recorder.messages(self._read):
            self._read += 1
            for who in message.statuses:
                self._by_pair.setdefault((who, message.receiver), []).append(message)
        return next(
            (
                message
                for message in self._by_pair.get(pair, ())
                if message.at >= since and message.statuses[pair[0]] == status
            ),
            None,
        )

    def all_arrived(self) -> bool:
        return all(self._with(pair, "firing", 0.0) is not None for pair in self.pairs)

    def expect_repeats(self, lab: Lab) -> float:
        """Fix when each repetition is due, and return how long the last may take."""
        longest_s = 0.0
        clock = lab.setup.clock
        for pair in self.pairs:
            first = self._with(pair, "firing", 0.0)
            route = route_to(lab.config, dict(pair[0]), pair[1])
            if first is None or route is None:
                continue
            repeat_s = clock.repeat_s(route.repeat_interval_s)
            # An alert that joined the group late has had it told again before it was due.
            self._repeats_from[pair] = first.at + 0.9 * repeat_s
            longest_s = max(longest_s, repeat_s + clock.wait_s(route.group_interval_s))
        return longest_s

    def repeated(self, pair: tuple[Identity, str]) -> Message | None:
        if pair not in self._repeats_from:
            return None
        return self._with(pair, "firing", self._repeats_from[pair])

    def all_repeated(self) -> bool:
        return all(self.repeated(pair) is not None for pair in self._repeats_from)

    def resolved(self, pair: tuple[Identity, str], ended: float) -> Message | None:
        return self._with(pair, "resolved", ended)

    def delivery(self, pair: tuple[Identity, str], posted: float, ended: float) -> Delivery | None:
        first = self._with(pair, "firing", 0.0)
        if first is None:
            return None
        again, last = self.repeated(pair), self.resolved(pair, ended)
        return Delivery(
            receiver=pair[1],
            group_labels=first.group_labels,
            grouped_with=frozenset(first.statuses) - {pair[0]},
            first_s=first.at - posted,
            repeat_s=None if again is None else again.at - first.at,
            resolved_s=None if last is None else last.at - ended,
        )


@dataclass(frozen=True)
class Inhibitions:
    """``pairs``: sources by the alert that each of them, alone, keeps quiet, seen to do so.

    ``refuted``  pairs that the file promises and Alertmanager did not keep
    ``leaked``   alerts that were notified although one that fired with them inhibits them
    ``lost``     alerts that nothing inhibits and that were not notified
    ``untried``  how many pairs were too many to try; those are the file's word
    """

    pairs: Mapping[Identity, frozenset[Identity]] = field(default_factory=dict)
    refuted: frozenset[tuple[Identity, Identity]] = frozenset()
    leaked: frozenset[Identity] = frozenset()
    lost: frozenset[Identity] = frozenset()
    untried: int = 0


@dataclass(frozen=True)
class Pair:
    """Two alerts of which the first may inhibit the second.

    ``source_labels`` and ``target_labels`` are theirs, with placeholders in labels that the rule
    wants equal replaced by the other's value: it is the same instance that is meant.
    """

    source: Identity
    target: Identity
    source_labels: Mapping[str, str]
    target_labels: Mapping[str, str]


def possible_pairs(config: AlertmanagerConfig, firings: Sequence[Firing]) -> Iterator[Pair]:
    """Every pair that an inhibition of ``config`` concerns, each once."""
    seen: set[tuple[Identity, Identity]] = set()
    for rule in config.inhibit_rules:
        sources = [firing for firing in firings if all_match(rule.source, firing.labels)]
        targets = [firing for firing in firings if all_match(rule.target, firing.labels)]
        for source in sources:
            for target in targets:
                ends = (identity(source.labels), identity(target.labels))
                first, second = _same_where(rule.equal, source, target)
                if ends[0] == ends[1] or ends in seen or not rule.inhibits(first, second):
                    continue
                seen.add(ends)
                yield Pair(*ends, first, second)


def _same_where(
    equal: Sequence[str], source: Firing, target: Firing
) -> tuple[dict[str, str], dict[str, str]]:
    first, second = dict(source.labels), dict(target.labels)
    for label in equal:
        if label in first and label in second:
            if label in source.placeholders:
                first[label] = second[label]
            elif label in target.placeholders:
                second[label] = first[label]
    return first, second


def run_inhibited(lab: Lab, firings: Sequence[Firing]) -> Inhibitions:
    """Let all fire with the file's inhibitions, then each inhibition's two alerts alone."""
    pairs = list(possible_pairs(lab.config, firings))
    if not lab.config.inhibit_rules:
        return Inhibitions()
    everyone = {identity(firing.labels) for firing in firings}
    # Placeholders as they stand: two different ones are not the same instance.
    quiet = {
        pair.target
        for pair in pairs
        if lab.config.inhibited_by(dict(pair.target), [dict(pair.source)])
    }
    inhibiting = {pair.source for pair in pairs}
    sources = [firing for firing in firings if identity(firing.labels) in inhibiting]
    with lab.alertmanager(inhibit=True) as (alertmanager, recorder):
        # Alerts that are posted at once race: without group_wait one may be notified before the
        # other that inhibits it is known.
        alertmanager.fire(alerts_of(sources))
        _all_fire(lab, alertmanager, sources)
        alertmanager.fire(alerts_of(firings))
        _all_fire(lab, alertmanager, firings)

        loud = everyone - quiet
        lab.comes(
            lambda: loud <= recorder.told(), lab.longest_wait_s + MARGIN_S, "what nothing inhibits"
        )
        if quiet:
            lab.comes(
                lambda: bool(quiet & recorder.told()), lab.longest_wait_s, "what is inhibited"
            )
        told = recorder.told()
        alertmanager.resolve(alerts_of(firings))
        kept: dict[Identity, set[Identity]] = {}
        refuted: set[tuple[Identity, Identity]] = set()
        untried = 0
        for number, pair in enumerate(pairs):
            tried = number < MAX_PAIRS and len(refuted) < _MAX_REFUTED
            untried += not tried
            if not tried or _keeps_quiet(lab, alertmanager, pair):
                kept.setdefault(pair.target, set()).add(pair.source)
            else:
                refuted.add((pair.source, pair.target))
    return Inhibitions(
        pairs={target: frozenset(found) for target, found in kept.items()},
        refuted=frozenset(refuted),
        leaked=frozenset(quiet & told),
        lost=frozenset(loud - told),
        untried=untried,
    )


def _keeps_quiet(lab: Lab, alertmanager: Alertmanager, pair: Pair) -> bool:
    both: list[tuple[Mapping[str, str], Mapping[str, str]]] = [
        (pair.source_labels, {}),
        (pair.target_labels, {}),
    ]
    alertmanager.fire(both)

    def inhibited() -> bool:
        by_labels = {identity(status.labels): status for status in alertmanager.statuses()}
        source = by_labels.get(identity(pair.source_labels))
        target = by_labels.get(identity(pair.target_labels))
        if source is None or target is None:
            return False
        return source.fingerprint in target.inhibited_by

    found = lab.comes(inhibited, MARGIN_S, "an inhibition")
    alertmanager.resolve(both)
    return found


@dataclass(frozen=True)
class Silences:
    """``leaked``: notified while silenced; ``lost``: not notified after the silence."""

    leaked: frozenset[Identity]
    lost: frozenset[Identity]


def run_silenced(lab: Lab, firings: Sequence[Firing]) -> Silences:
    """Silence every alert by its name, let it fire, and take the silences away."""
    everyone = {identity(firing.labels) for firing in firings}
    with lab.alertmanager() as (alertmanager, recorder):
        names = dict.fromkeys(firing.rule.name for firing in firings)
        silences = [alertmanager.silence(name) for name in names]
        alertmanager.fire(alerts_of(firings))
        lab.comes(lambda: bool(recorder.messages()), lab.longest_wait_s, "a silenced notification")
        leaked = recorder.told()
        for silence in silences:
            alertmanager.expire(silence)
        lab.comes(
            lambda: everyone <= recorder.told(),
            lab.longest_wait_s + MARGIN_S,
            "what was silenced",
        )
        told = recorder.told()
    return Silences(leaked=frozenset(leaked), lost=frozenset(everyone - told))
