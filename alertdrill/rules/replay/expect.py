"""The table of what each alert must do under each recorded fault, in virtual time.

A YAML file; every duration is on the real clock::

    alerts:
      HighErrorRate: {within: 12m, resolved_within: 7m30s}
    unjudged:
      ClockSkewed: it reads the clock, which a replay hasn't
    faults:
      refuse(postgres):
        for: 30m
        blip: 30s
        fires: [HighErrorRate, NoSuccessfulSyncs]
        may_fire: [SyncLatencyHigh]

A fault is called by the name of its segment or, where several drills recorded the same, by its
drill. Every alert that isn't named must stay quiet; ``unjudged`` are those that no replay can
judge, and why that is accepted. The same table can be made of drills.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from alertdrill.errors import UsageError
from alertdrill.rules.document import Place, read_document

# How long a fault lasts where nobody says so: longer than most windows and `for` together.
FAULT_S = 3600.0

_FAULT_KEYS = ("for", "blip", "operation", "fires", "may_fire", "stays_quiet")
_TOP_KEYS = ("alerts", "unjudged", "faults")
_PROMISE_KEYS = ("within", "resolved_within")


class Promise(Protocol):
    """How soon an alert must be heard of, and of its end; ``[alerts.X]`` of alertdrill.toml."""

    @property
    def within_s(self) -> float: ...
    @property
    def resolved_within_s(self) -> float: ...


class NamedFault(Protocol):
    @property
    def name(self) -> str: ...


class DrillRow(Protocol):
    """What a table needs of a drill."""

    @property
    def id(self) -> str: ...
    @property
    def fault(self) -> NamedFault: ...
    @property
    def fires(self) -> frozenset[str]: ...
    @property
    def inhibited(self) -> frozenset[str]: ...
    @property
    def may_fire(self) -> frozenset[str]: ...
    @property
    def stays_quiet(self) -> frozenset[str]: ...
    @property
    def operation_s(self) -> float: ...
    @property
    def declared_at(self) -> tuple[str, int]: ...


@dataclass(frozen=True)
class Limit:
    """Seconds on the real clock, from the fault's begin and from its end; None: no limit."""

    within_s: float | None = None
    resolved_within_s: float | None = None


NO_LIMIT = Limit()


@dataclass(frozen=True)
class Expectation:
    """What the alerts must do while the fault of ``segment`` lasts ``duration_s`` seconds.

    ``segment``      a fault's name or a drill's id
    ``fault``        the fault's name where it is known, else as ``segment``
    ``fires``        must fire, and resolve afterwards; an alert that Alertmanager holds back too
    ``may_fire``     may do either
    ``stays_quiet``  named for being quiet; so must be every alert that isn't named
    ``blip_s``       a fault no longer than this must fire nothing; None: nothing is asked of it
    ``operation_s``  how long a slowed operation lasts, in seconds on *any* clock: in a segment
                     recorded ``factor`` times as fast it shows ``factor`` times as late, so
                     ``operation_s × factor`` must be added to every limit
    ``limits``       by alert, for where it must fire
    """

    segment: str
    fault: str
    duration_s: float
    fires: frozenset[str] = frozenset()
    may_fire: frozenset[str] = frozenset()
    stays_quiet: frozenset[str] = frozenset()
    blip_s: float | None = None
    operation_s: float = 0.0
    limits: Mapping[str, Limit] = field(default_factory=dict)
    declared_at: tuple[str, int] = field(default=("", 0), compare=False, repr=False)

    @property
    def named_alerts(self) -> frozenset[str]:
        return self.fires | self.may_fire | self.stays_quiet | frozenset(self.limits)

    def must_stay_quiet(self, alert: str) -> bool:
        return alert not in self.fires and alert not in self.may_fire

    def limit(self, alert: str) -> Limit:
        return self.limits.get(alert, NO_LIMIT)


def load_expectations(
    path: Path, promises: Mapping[str, Promise] = MappingProxyType({})
) -> tuple[Expectation, ...]:
    """The table in ``path``, in its order; what it doesn't say of an alert's times is taken from
    ``promises``. Raises UsageError with file and line for anything else than such a table."""
    top = read_document(path).entries(_TOP_KEYS)
    limits = dict(_limits_of(promises))
    for alert, place in top["alerts"].entries().items() if "alerts" in top else ():
        entries = place.entries(_PROMISE_KEYS)
        given = {f"{key}_s": _positive_s(entry) for key, entry in entries.items()}
        if not given:
            raise place.error(f"{place.name} says neither within nor resolved_within")
        known = limits.get(alert, NO_LIMIT)
        limits[alert] = Limit(
            given.get("within_s", known.within_s),
            given.get("resolved_within_s", known.resolved_within_s),
        )
    faults = top["faults"].entries() if "faults" in top else {}
    if not faults:
        raise UsageError("names no fault: nothing would be judged", file=path, line=1)
    return tuple(_expectation(name, place, limits) for name, place in faults.items())


def load_unjudged(path: Path, known: Collection[str]) -> dict[str, str]:
    """Why an alert is not to be judged, by its name. Raises UsageError with file and line, also
    for an alert that is not in ``known``."""
    top = read_document(path).entries(_TOP_KEYS)
    places = top["unjudged"].entries() if "unjudged" in top else {}
    for alert, place in places.items():
        if alert not in known:
            raise place.error(f"no rule defines {alert}")
    return {alert: place.text() for alert, place in places.items()}


def table_of(
    drills: Iterable[DrillRow], promises: Mapping[str, Promise] = MappingProxyType({})
) -> tuple[Expectation, ...]:
    """What the live drills expect, as a table for their segments.

    Faults last for an hour, or twice as long as the longest promise. An alert that Alertmanager
    holds back must fire all the same, but nothing was promised of its times.
    """
    limits = _limits_of(promises)
    longest = max((limit.within_s or 0.0 for limit in limits.values()), default=0.0)
    return tuple(
        Expectation(
            segment=drill.id,
            fault=drill.fault.name,
            duration_s=max(FAULT_S, 2 * longest),
            fires=drill.fires | drill.inhibited,
            may_fire=drill.may_fire,
            stays_quiet=drill.stays_quiet,
            operation_s=drill.operation_s,
            limits={alert: limits[alert] for alert in sorted(drill.fires & limits.keys())},
            declared_at=drill.declared_at,
        )
        for drill in drills
    )


def refuse_unknown_alerts(expectations: Iterable[Expectation], known: Collection[str]) -> None:
    """Raise UsageError for the first alert in the table that is not in ``known``."""
    for expectation in expectations:
        unknown = sorted(expectation.named_alerts - set(known))
        if unknown:
            file, line = expectation.declared_at
            raise UsageError(
                f"{expectation.segment!r} names {', '.join(unknown)}, which no rule defines; "
                f"the rules define {', '.join(sorted(known)) or 'no alert'}",
                file=file or None,
                line=line or None,
            )


def _limits_of(promises: Mapping[str, Promise]) -> dict[str, Limit]:
    return {
        alert: Limit(promise.within_s, promise.resolved_within_s)
        for alert, promise in promises.items()
    }


def _expectation(segment: str, place: Place, limits: Mapping[str, Limit]) -> Expectation:
    entries = place.entries(_FAULT_KEYS)
    alerts = {
        key: _alerts(entries[key]) if key in entries else frozenset()
        for key in ("fires", "may_fire", "stays_quiet")
    }
    for one, other in (
        ("fires", "may_fire"),
        ("fires", "stays_quiet"),
        ("may_fire", "stays_quiet"),
    ):
        both = sorted(alerts[one] & alerts[other])
        if both:
            raise entries[other].error(
                f"{entries[other].name} names {', '.join(both)}, and so does {one}"
            )
    duration_s = _positive_s(entries["for"]) if "for" in entries else FAULT_S
    blip_s = _positive_s(entries["blip"]) if "blip" in entries else None
    if alerts["fires"] and blip_s is not None and blip_s >= duration_s:
        raise entries["blip"].error(
            f"{entries['blip'].name}: nothing may fire in {blip_s:g} s, and something must in "
            f"{duration_s:g} s"
        )
    return Expectation(
        segment=segment,
        fault=segment,
        duration_s=duration_s,
        blip_s=blip_s,
        operation_s=_positive_s(entries["operation"]) if "operation" in entries else 0.0,
        limits=limits,
        declared_at=(str(place.file), place.line),
        **alerts,
    )


def _alerts(place: Place) -> frozenset[str]:
    names = place.texts()
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise place.error(f"{place.name} names {', '.join(twice)} twice")
    return frozenset(names)


def _positive_s(place: Place) -> float:
    ms = place.duration_ms()
    if not ms:
        raise place.error(f"{place.name} must be longer than nothing")
    return ms / 1000
