"""A fault by hand, on a stack that another run has left: allowed, for a while, and then undone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from alertdrill.faults.contract import Evidence, Fault
from alertdrill.faults.guardian import Charge, Guardian
from alertdrill.faults.proof import EFFECTIVE_S, HEALED_S, UNSEEN, bites_within, healed_within
from alertdrill.faults.world import survey
from alertdrill.shield import signals_deferred, undone
from alertdrill.stack.kept import KeptStack


@dataclass
class Held:
    """What became of it. ``effective`` and ``healed`` are the last looks at it, while it was in
    force and afterwards; ``changes``: what isn't as it was before."""

    effective: Evidence = UNSEEN
    healed: Evidence = UNSEEN
    changes: list[str] = field(default_factory=list)


def hold(
    fault: Fault,
    stack: KeptStack,
    seconds: float,
    *,
    project: Path,
    tell: Callable[[str], None] = lambda _: None,
) -> Held:
    """Inject ``fault``, prove it, heal it after ``seconds`` or at a signal, and compare.

    A guardian goes on healing when this process can't. Raises FaultError when it can't be
    injected, UsageError while another fault is held on this stack.
    """
    held = Held()
    before = survey(stack)
    guardian = Guardian(Charge(fault, stack.run_id, project, seconds))

    def break_and_wait() -> None:
        end = time.monotonic() + seconds
        with signals_deferred():  # the engine would go on with half an injection
            fault.inject(stack)
            guardian.injected()
        tell("injected")
        held.effective = bites_within(fault, stack, min(EFFECTIVE_S, seconds / 2))
        tell(("bites: " if held.effective.holds else "wasn't seen to bite: ") + held.effective.seen)
        threading.Event().wait(max(0.0, end - time.monotonic()))

    def undo() -> None:
        held.healed = healed_within(fault, stack, HEALED_S).evidence
        if held.healed.holds:
            guardian.dismiss()
            tell(f"healed: {held.healed.seen}")
        else:
            tell(f"isn't healed, and its guardian goes on: {held.healed.seen}")

    undone(break_and_wait, undo)
    held.changes = before.changes(survey(stack))
    return held
