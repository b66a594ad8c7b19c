"""What every fault goes through in a test: harmless, injected twice, healed twice, harmless."""

from __future__ import annotations

from alertdrill.faults.contract import Fault
from alertdrill.faults.world import leftovers
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually

WITHIN_S = 15


def seen_effective(fault: Fault, stack: Stack) -> None:
    eventually(
        lambda: fault.is_effective(stack).holds, timeout_s=WITHIN_S, what=f"{fault.name} to bite"
    )


def seen_harmless(fault: Fault, stack: Stack) -> None:
    """At the first look, or at the two after it: a busy machine may look like a fault, once."""
    if fault.is_effective(stack).holds:
        for _ in range(2):
            seen = fault.is_effective(stack)
            assert not seen.holds, seen.seen


def seen_healed(fault: Fault, stack: Stack) -> None:
    """Asked until it holds, as in a drill: a busy machine answers late as if it were delayed."""
    eventually(
        lambda: fault.is_healed(stack).holds, timeout_s=WITHIN_S, what=f"{fault.name} to be gone"
    )


def bites_only_while_injected(fault: Fault, stack: Stack) -> None:
    """Raises AssertionError or DeadlineExceeded. Leaves the stack healed."""
    assert leftovers(stack) == []
    seen_harmless(fault, stack)
    seen_healed(fault, stack)
    fault.heal(stack)
    try:
        fault.inject(stack)
        seen_effective(fault, stack)
        assert not fault.is_healed(stack).holds
        assert leftovers(stack)
        fault.inject(stack)
        seen_effective(fault, stack)
    finally:
        fault.heal(stack)
    seen_healed(fault, stack)
    seen_harmless(fault, stack)
    fault.heal(stack)
    assert leftovers(stack) == []
