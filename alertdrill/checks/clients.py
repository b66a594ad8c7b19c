"""Clients: how many of their requests failed under the fault, against what the drill says."""

from __future__ import annotations

from typing import Any

from alertdrill.checks.contract import Check, View
from alertdrill.checks.expected import Failing
from alertdrill.load.window import Tally
from alertdrill.steady import STEADY_FAILED_RATIO
from alertdrill.verdict import Finding, Reason

UNHARMED = Failing(at_most=STEADY_FAILED_RATIO)
WHATEVER = Failing()


class Clients(Check):
    """Bounds for each user class that the drill names; where users are spared, none may fail."""

    id = "clients"

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}

    def under_fault(self, view: View) -> list[Finding]:
        window = view.load.since(view.injected)
        default = UNHARMED if view.spares_users else WHATEVER
        findings = []
        for user in view.drill.load.rates:
            tally = self._tallies[user] = window.by_user.get(user, Tally(0, 0))
            found = judged(user, tally, view.drill.clients.get(user, default))
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


def judged(user: str, tally: Tally, wanted: Failing) -> Finding | None:
    """What is wrong with the share of failed requests, if anything is."""
    if wanted == WHATEVER:
        return None
    if not tally.requests:
        return Finding(
            Reason.NO_DATA,
            f"no request of {user} finished under the fault, so nobody knows how many fail",
        )
    share = tally.failed / tally.requests
    saw = (
        f"{tally.failed} of {tally.requests} requests of {user} failed under the fault "
        f"({share:.1%}; expected {wanted})"
    )
    if share > wanted.at_most:
        return Finding(Reason.CLIENTS_HARMED, saw)
    if share < wanted.at_least:
        return Finding(Reason.CLIENTS_UNHARMED, saw)
    return None
