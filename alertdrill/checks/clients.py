"""Clients: how many of their requests failed under the fault, against what the drill says."""

from __future__ import annotations

import time
from typing import Any

from alertdrill.checks.contract import Check, View
from alertdrill.checks.expected import Failing
from alertdrill.load.window import Tally
from alertdrill.steady import STEADY_FAILED_RATIO
from alertdrill.verdict import Finding, Reason

UNHARMED = Failing(at_most=STEADY_FAILED_RATIO)
WHATEVER = Failing()
NOBODY = Tally(0, 0)


class Clients(Check):
    """Bounds for each user class that the drill names; where users are spared, none may fail."""

    id = "clients"

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}

    def under_fault(self, view: View) -> list[Finding]:
        now = time.monotonic()
        begun = view.load.since(view.injected, now)
        in_force = view.load.since(view.in_force, now)
        default = UNHARMED if view.spares_users else WHATEVER
        findings = []
        for user in view.drill.load.rates:
            tally = self._tallies[user] = in_force.by_user.get(user, NOBODY)
            wanted = view.drill.clients.get(user, default)
            found = judged(user, begun.by_user.get(user, NOBODY), tally, wanted)
            findings += [found] if found is not None else []
        return findings

    def document(self) -> dict[str, Any]:
        return {
            "seen": ", ".join(
                f"{tally.failed} of {tally.requests} requests of {user} failed"
                for user, tally in self._tallies.items()
            ),
            "users": {
                user: {"requests": tally.requests, "failed": tally.failed}
                for user, tally in self._tallies.items()
            },
        }


def judged(user: str, begun: Tally, in_force: Tally, wanted: Failing) -> Finding | None:
    """What is wrong with the share of failed requests, if anything is.

    Too many may not fail from when injection ``begun``; too few, once the fault was ``in_force``:
    an injection that took a while has harmed nobody until then.
    """
    if wanted == WHATEVER:
        return None
    if begun.requests and _share(begun) > wanted.at_most:
        return Finding(Reason.CLIENTS_HARMED, _saw(user, begun, wanted))
    if not in_force.requests:
        return Finding(
            Reason.NO_DATA,
            f"no request of {user} finished under the fault, so nobody knows how many fail",
        )
    if _share(in_force) < wanted.at_least:
        return Finding(Reason.CLIENTS_UNHARMED, _saw(user, in_force, wanted))
    return None


def _share(tally: Tally) -> float:
    return tally.failed / tally.requests


def _saw(user: str, tally: Tally, wanted: Failing) -> str:
    return (
        f"{tally.failed} of {tally.requests} requests of {user} failed under the fault "
        f"({_share(tally):.1%}; expected {wanted})"
    )
