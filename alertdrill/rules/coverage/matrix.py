"""Alerts × faults: live drills and replays of the same fault side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from alertdrill.rules.coverage.incident import CONTROLS, Incident
from alertdrill.rules.coverage.live import LiveRun
from alertdrill.rules.coverage.replayed import Replayed, seen_in
from alertdrill.rules.replay.segments import HEALTHY
from alertdrill.rules.replay.virtual import Compared, compare_with_live
from alertdrill.verdict import Verdict


@dataclass(frozen=True)
class Matrix:
    """``alerts`` are what is asked about. ``missing``: by alert, why no source as a whole can
    say that nothing fires it. ``compared``: where drills were replayed, whether both agree."""

    alerts: tuple[str, ...]
    incidents: tuple[Incident, ...]
    missing: dict[str, str]
    compared: tuple[Compared, ...]
    live: LiveRun | None
    replayed: Replayed | None

    @property
    def faults(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(incident.fault for incident in self.incidents))

    def differs(self, incident: Incident, alert: str) -> str:
        """How live and replay differ there; empty where they don't, or one doesn't know."""
        sights = incident.sights(alert).values()
        if len(sights) < 2 or any(seen.state == "unknown" for seen in sights):
            return ""
        for one in self.compared:
            if (one.drill, one.alert) == (incident.id, alert) and one.verdict is not Verdict.PASS:
                return one.message
        return ""


def join(
    live: LiveRun | None, replayed: Replayed | None, alerts: Sequence[str] | None = None
) -> Matrix:
    """``alerts`` None: all that the run and the replay know."""
    if alerts is None:
        known = (live.alerts if live else frozenset()) | (replayed.alerts if replayed else set())
        alerts = sorted(known)
    incidents = tuple(_incidents(live, replayed))
    compared = (
        compare_with_live(live.document, replayed.answers)
        if live is not None and replayed is not None
        else ()
    )
    return Matrix(
        alerts=tuple(alerts),
        incidents=incidents,
        missing={name: why for name in alerts if (why := _missing(name, live, replayed))},
        compared=tuple(one for one in compared if one.alert in alerts),
        live=live,
        replayed=replayed,
    )


def _incidents(live: LiveRun | None, replayed: Replayed | None) -> Iterable[Incident]:
    left = list(replayed.segments) if replayed else []
    used = set()
    for incident in live.incidents if live else ():
        names = (incident.id, incident.fault, *([HEALTHY] if incident.fault in CONTROLS else ()))
        segment = next((name for name in names if name in left), None)
        used.add(segment)
        yield incident if segment is None else _with(incident, segment, replayed)
    for segment in left:
        if segment not in used:
            yield _with(Incident(segment, segment), segment, replayed)


def _with(incident: Incident, segment: str, replayed: Replayed | None) -> Incident:
    answers = [a for a in replayed.answers if a.segment == segment] if replayed else []
    return replace(incident, virtual=seen_in(answers))


def _missing(alert: str, live: LiveRun | None, replayed: Replayed | None) -> str:
    if live is not None and alert not in live.alerts:
        return "the live run's rules did not define it"
    if live is not None and not live.incidents:
        return "no drill ran"
    if live is not None and not live.whole:
        return "the live run left out drills"
    if replayed is not None and alert not in replayed.alerts:
        return "it was not replayed"
    return ""
