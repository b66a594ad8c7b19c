"""Proving a fault: looked at until it bites, and healed until nothing of it is left."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from alertdrill.errors import AlertdrillError, DeadlineExceeded
from alertdrill.faults.contract import Evidence, Fault
from alertdrill.stack.target import Target
from alertdrill.wait import eventually

EFFECTIVE_S = 10.0
HEALED_S = 30.0
LOOK_S = 0.1
UNSEEN = Evidence(False, "nobody looked")


@dataclass(frozen=True)
class Healing:
    """``evidence``: the last look. ``undone``: when ``heal`` first returned, monotonic seconds."""

    evidence: Evidence
    undone: float | None


def bites_within(fault: Fault, stack: Target, timeout_s: float) -> Evidence:
    """The first look at ``fault`` that sees it bite, else the last one.

    Whatever a look raises passes through.
    """
    return _first_that_holds(lambda: fault.is_effective(stack), timeout_s)


def healed_within(fault: Fault, stack: Target, timeout_s: float) -> Healing:
    """Heal ``fault`` and look, again and again until it is gone; what fails is not healed.

    Zero seconds: once.
    """
    undone: float | None = None

    def look() -> Evidence:
        nonlocal undone
        try:
            fault.heal(stack)  # idempotent: one that failed is tried again
            undone = undone or time.monotonic()
            return fault.is_healed(stack)
        except AlertdrillError as error:
            return Evidence(False, str(error))

    return Healing(_first_that_holds(look, timeout_s), undone)


def _first_that_holds(look: Callable[[], Evidence], timeout_s: float) -> Evidence:
    last = UNSEEN

    def holds() -> bool:
        nonlocal last
        last = look()
        return last.holds

    with contextlib.suppress(DeadlineExceeded):
        eventually(holds, timeout_s=timeout_s, what="the evidence", interval_s=LOOK_S)
    return last
