"""Storms: nobody is told the same thing more often than the route's own intervals allow."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from alertdrill.checks.contract import Check, View
from alertdrill.rules.alertmanager import AlertmanagerConfig
from alertdrill.signals.notifications import Notification
from alertdrill.verdict import Finding, Reason

# A delivery may be late, and the next one on time.
LATE_SHARE = 0.5
LATE_S = 2.0

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A receiver, and the labels of one alert series."""


class Storms(Check):
    """Counts firing notifications of each series at each receiver over the whole drill."""

    id = "notifications"

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def after(self, view: View) -> list[Finding]:
        # A heartbeat is there to be repeated.
        heartbeats = view.bench.config.switches.values()
        received = [n for n in view.watch.notifications(view.injected) if n.alert not in heartbeats]
        alertmanager = view.bench.monitoring.alertmanager
        self._counts = Counter((n.alert, n.receiver) for n in received if n.status == "firing")
        findings = [*too_soon(received, alertmanager), *repeated(received, alertmanager)]
        if view.drill.notifications_at_most is not None:
            findings += too_many(received, view.drill.notifications_at_most)
        return findings

    def document(self) -> dict[str, Any]:
        rows = sorted(self._counts.items())
        return {
            "seen": ", ".join(f"{alert} to {receiver}: {n}" for (alert, receiver), n in rows)
            or "nobody was told anything",
            "firing": [{"alert": a, "receiver": r, "count": n} for (a, r), n in rows],
        }


def too_soon(
    received: Sequence[Notification], alertmanager: AlertmanagerConfig
) -> Iterator[Finding]:
    """A series that fires is told again only in the next interval of its group."""
    for told in _by_series(received).values():
        for earlier, later in pairwise(told):
            interval_s, _ = _intervals(alertmanager, later)
            if later.at - earlier.at < LATE_SHARE * interval_s:
                yield _storm(
                    later,
                    f"was told twice within {later.at - earlier.at:.2f} s "
                    f"(group_interval {interval_s:g} s)",
                )
                break


def repeated(
    received: Sequence[Notification], alertmanager: AlertmanagerConfig
) -> Iterator[Finding]:
    """A group that is what it was is told again only after ``repeat_interval``."""
    calls: defaultdict[tuple[str, str], dict[float, list[Notification]]] = defaultdict(dict)
    for n in received:
        calls[n.receiver, n.group].setdefault(n.at, []).append(n)
    for by_time in calls.values():
        for (earlier, before), (later, now) in pairwise(by_time.items()):
            interval_s, repeat_s = _intervals(alertmanager, now[0])
            same = _content(before) == _content(now)
            if same and later - earlier < repeat_s - interval_s - LATE_S:
                yield _storm(
                    now[0],
                    f"was told again after {later - earlier:.2f} s, and nothing had changed "
                    f"(repeat_interval {repeat_s:g} s)",
                )
                break


def too_many(received: Sequence[Notification], at_most: int) -> Iterator[Finding]:
    """Calls that tell the end of what fired before this drill don't count: Prometheus repeats
    an end for 15 minutes, and Alertmanager then tells the whole group once more."""
    of_before = _calls_of_before(received)
    for told in _by_series([n for n in received if _call(n) not in of_before]).values():
        if len(told) > at_most:
            yield _storm(told[-1], f"was told {len(told)} times (at most {at_most} in this drill)")


def _calls_of_before(received: Sequence[Notification]) -> set[tuple[str, str, float]]:
    """The calls that tell the end of a series of which nobody was told that it fires."""
    begun: set[Series] = set()
    found = set()
    for n in received:
        if n.status == "firing":
            begun.add(_series(n))
        elif _series(n) not in begun:
            found.add(_call(n))
    return found


def _call(n: Notification) -> tuple[str, str, float]:
    return n.receiver, n.group, n.at


def _series(n: Notification) -> Series:
    return n.receiver, tuple(sorted(n.labels.items()))


def _by_series(received: Sequence[Notification]) -> Mapping[Series, list[Notification]]:
    series: defaultdict[Series, list[Notification]] = defaultdict(list)
    for n in received:
        if n.status == "firing":
            series[_series(n)].append(n)
    return series


def _content(call: Sequence[Notification]) -> frozenset[tuple[object, ...]]:
    return frozenset((n.status, *sorted(n.labels.items())) for n in call)


def _intervals(alertmanager: AlertmanagerConfig, n: Notification) -> tuple[float, float]:
    """The shortest ``group_interval`` and ``repeat_interval`` on the way to its receiver."""
    taken = alertmanager.route.matching(n.labels)
    routes = [route for route in taken if route.receiver == n.receiver] or taken
    return (
        min(route.group_interval_s for route in routes),
        min(route.repeat_interval_s for route in routes),
    )


def _storm(n: Notification, what: str) -> Finding:
    return Finding(Reason.NOTIFICATION_STORM, f"{n.receiver} {what} that {n.alert} fires")
