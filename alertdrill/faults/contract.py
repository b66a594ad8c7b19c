"""The contract of every fault: inject, prove, count, heal, prove again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

from alertdrill.errors import UsageError
from alertdrill.faults.dosage import Dosage
from alertdrill.stack.target import Evidence, Inhabited, Target

__all__ = ["Dosage", "Evidence", "Exposure", "Fault", "Inhabited", "Target"]


@dataclass(frozen=True)
class Exposure:
    """How much traffic met the fault: a counter that only grows, and what it counts."""

    count: int
    unit: str


class Fault(ABC):
    """Something that breaks, provably, and heals without a trace.

    Implementations are frozen dataclasses: a fault is a value that a table can hold. What must
    be remembered between the verbs is read back from the thing that was broken. The catalogue
    takes its words from the docstrings: the first paragraph says what is broken, "Proven by:" how
    that is seen.
    """

    layer: ClassVar[str]
    """Where it breaks things, for people: TCP, HTTP, container, ..."""

    @property
    @abstractmethod
    def name(self) -> str:
        """A short identifier for machines, e.g. ``refuse(postgres)``."""

    @property
    def breaks(self) -> frozenset[str]:
        """The components that don't answer while it is injected or are starting after it."""
        return frozenset()

    @property
    def touches(self) -> frozenset[str]:
        """The components whose scrapes may fail because of it: those that it ``breaks``, and
        those that it keeps others from reaching."""
        return self.breaks

    @property
    def answers(self) -> bool:
        """Whether what it breaks goes on answering: then every answer has met it, not only what
        fails."""
        return False

    def seeded(self, seed: int) -> Fault:
        """The same fault, its chance taken from ``seed``; a fault without chance is itself."""
        return self

    @property
    def dosage(self) -> Dosage | None:
        """What of it can be more or less; ``None``: it is there or it isn't."""
        return None

    def dosed(self, dose: float) -> Fault:
        """The same fault in another dose. Raises UsageError when it has none, or not this one."""
        dosage = self.dosage
        if dosage is None:
            raise UsageError(f"{self.name} has no dose: it is there or it isn't")
        given = round(dose) if dosage.whole else dose
        return replace(self, **{dosage.field: given})  # type: ignore[type-var]

    @abstractmethod
    def inject(self, stack: Target) -> None:
        """Break it. Raises FaultError when the change did not take."""

    @abstractmethod
    def is_effective(self, stack: Target) -> Evidence:
        """Look from elsewhere than ``inject`` did: does it bite? Called until it holds."""

    @abstractmethod
    def heal(self, stack: Target) -> None:
        """Undo it; idempotent, and safe when it was never injected. Raises FaultError."""

    @abstractmethod
    def is_healed(self, stack: Target) -> Evidence:
        """Look from elsewhere: is nothing of it left? Called until it holds."""

    def exposure(self, stack: Target) -> Exposure | None:
        """Traffic that met the fault so far. Read before injection and later; the difference
        counts. ``None``: the fault stands between the clients and the system, so the requests
        that the load itself saw fail, or sees hang, are counted; or, where it ``answers``, those
        that were answered."""
        return None
