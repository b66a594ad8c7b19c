"""What may become of a mutant, and who decides it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from alertdrill.rules.mutation.mutants import Mutant


@dataclass(frozen=True)
class Killed:
    """A test noticed; ``by`` says which."""

    by: str


@dataclass(frozen=True)
class Survived:
    """No test noticed."""


@dataclass(frozen=True)
class Invalid:
    """Prometheus would not load it; ``why`` in its words. No part of the score."""

    why: str


@dataclass(frozen=True)
class Equivalent:
    """Nothing can tell it from the rule; ``why``. No part of the score."""

    why: str


@dataclass(frozen=True)
class Indistinguishable:
    """Nothing of what it was judged by can tell it from the rule; something else may; ``why``.
    No part of the score."""

    why: str


Outcome = Killed | Survived | Invalid | Equivalent | Indistinguishable


class Killer(Protocol):
    """Judges mutants. Called from several threads at once, with different mutants.

    ``name``         what it judges by, for people
    ``fingerprint``  names all that its verdicts depend on besides the mutant
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def kills(self, mutants: Sequence[Mutant]) -> Mapping[Mutant, Outcome]:
        """What becomes of each of ``mutants``."""
        ...

    def stop(self) -> None:
        """End calls under way as soon as possible; they raise ``promtool.Stopped``."""
        ...
