"""The control: nothing is broken, so nothing may fire."""

from __future__ import annotations

from dataclasses import dataclass

from alertdrill.faults.contract import Evidence, Fault, Target
from alertdrill.faults.world import leftovers


@dataclass(frozen=True)
class Nothing(Fault):
    """Breaks nothing. Proven by: no proxy, no container and no HTTP fault says otherwise."""

    layer = "control"

    @property
    def name(self) -> str:
        return "nothing"

    def inject(self, stack: Target) -> None:
        """There is nothing to do."""

    def is_effective(self, stack: Target) -> Evidence:
        found = leftovers(stack)
        return Evidence(
            not found,
            "; ".join(found) or "no toxic, no disabled proxy, no HTTP fault; every container runs",
        )

    def heal(self, stack: Target) -> None:
        """There is nothing to do."""

    def is_healed(self, stack: Target) -> Evidence:
        return self.is_effective(stack)
