"""What a drill leaves of its stack: the world after it, compared with the world before."""

from __future__ import annotations

from collections.abc import Sequence

from alertdrill.errors import AlertdrillError
from alertdrill.faults.contract import Target
from alertdrill.faults.world import World, survey
from alertdrill.verdict import Finding, Reason

# After these a stack is not what it was.
BROKEN_STACK = frozenset(
    {Reason.FAULT_NOT_HEALED, Reason.STACK_BROKEN, Reason.PRECONDITION_UNMET, Reason.TARGET_DOWN}
)


def is_broken(findings: Sequence[Finding]) -> bool:
    """Whether a drill with ``findings`` leaves a stack that no other drill may run on."""
    return any(finding.reason in BROKEN_STACK for finding in findings)


def left_behind(
    before: World, stack: Target, findings: Sequence[Finding], *, injected: bool
) -> list[Finding]:
    """What isn't as it was ``before``, as one finding to stand beside the drill's ``findings``.

    For a fault that was healed, or never ``injected``: then somebody else changed the stack. That
    it can't be looked at any more is a finding, unless one of ``findings`` says why.
    """
    try:
        after = survey(stack)
        left, unseen = before.changes(after), list(after.silent.values())
    except AlertdrillError as error:
        left = unseen = [str(error)]
    if not left:
        return []
    words = "; ".join(left)
    if left == unseen:
        if is_broken(findings):
            return []
        words = f"it can't be seen whether all is as it was before: {words}"
        return [Finding(Reason.STACK_BROKEN, words)]
    if not injected:
        words = f"not as it was before, though nothing was injected: {words}"
        return [Finding(Reason.STACK_BROKEN, words)]
    return [Finding(Reason.FAULT_NOT_HEALED, f"not as it was before: {words}")]
