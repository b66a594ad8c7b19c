"""Which alert under which drill: found by what a person calls them, before anything starts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from alertdrill.drill import Drill
from alertdrill.errors import UsageError
from alertdrill.trip.result import Pair


def find_pair(alert: str, fault: str, drills: Sequence[Drill], known: Collection[str]) -> Pair:
    """The pair that is meant: ``fault`` is a drill's title or id, or its fault's name.

    Raises UsageError, with what there is, for an alert that no rule defines, a fault that no drill
    or several have, and an alert that the table doesn't expect under it.
    """
    if alert not in known:
        raise UsageError(
            f"no rule defines {alert}; the rules define {', '.join(sorted(known)) or 'no alert'}"
        )
    drill = _find_drill(alert, fault, drills)
    if alert not in firing(drill):
        named = ", ".join(sorted(firing(drill))) or "none"
        raise UsageError(
            f"{drill.title!r} doesn't expect {alert} to fire, so there is no trip point to look "
            f"for; it expects {named}"
        )
    return Pair(alert, drill)


def pairs_of(drills: Iterable[Drill], known: Collection[str]) -> Iterator[Pair]:
    """Every alert that a rule defines (``known``), with every drill under which it must or may
    fire. A dead man's switch is no rule: it is told when none is evaluated any more."""
    for drill in drills:
        for alert in sorted(firing(drill).intersection(known)):
            yield Pair(alert, drill)


def firing(drill: Drill) -> frozenset[str]:
    return drill.fires | drill.inhibited | drill.may_fire


def _find_drill(alert: str, name: str, drills: Sequence[Drill]) -> Drill:
    wanted = name.casefold()
    for of in (lambda d: (d.title.casefold(), d.id), lambda d: (d.fault.name.casefold(),)):
        named = [drill for drill in drills if wanted in of(drill)]
        # The same fault in a dose that nobody should notice isn't meant.
        found = [drill for drill in named if alert in firing(drill)] or named
        if len(found) > 1:
            titles = ", ".join(repr(drill.title) for drill in found)
            raise UsageError(f"{name!r} is the fault of several drills: {titles}; name one of them")
        if found:
            return found[0]
    there = ", ".join(f"{drill.title!r} ({drill.fault.name})" for drill in drills)
    raise UsageError(
        f"no drill is called {name!r} or has such a fault; there are {there or 'none'}"
    )
