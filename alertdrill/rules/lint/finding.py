"""What lint speaks of: where something is wrong, how bad it is, and the check that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Severity(StrEnum):
    """ERROR: it does not do what it says. WARNING: it probably doesn't, or a person must look."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, order=True)
class Spot:
    """Line and column, both from 1."""

    line: int
    column: int


START = Spot(1, 1)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that lint looks for.

    ``bad`` and ``good`` are its tests and its documentation: whole files called ``about``,
    next to those of ``beside`` (by name). ``fix`` says what to do.
    """

    code: str
    severity: Severity
    title: str
    why: str
    fix: str
    bad: str
    good: str
    # What it (or a part of it) can't be judged without.
    needs: tuple[str, ...] = ()
    about: str = "rules.yml"
    beside: Mapping[str, str] = field(default_factory=dict)
    # What replaces those of ``beside`` next to ``bad``.
    bad_beside: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. ``rule`` is the alert's or the recorded series' name, if it is
    about one; ``scope`` its lines, first and last, which say what a suppression covers."""

    file: Path
    spot: Spot
    severity: Severity
    code: str
    message: str
    fix: str
    rule: str = ""
    scope: tuple[int, int] | None = None
    # Not a finding after all, if one of the files records a series of this name.
    unless_recorded: str = ""

    @property
    def where(self) -> str:
        return f"{self.file}:{self.spot.line}:{self.spot.column}"
