"""What a drill may expect beside its alerts, as values for its row of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from alertdrill.errors import UsageError

HealthExpected = Mapping[str, bool | None] | Literal["unreachable"]
"""What the health document says under the fault, by check: True, False, or None for either.
Checks that aren't named are True. ``"unreachable"``: nobody answers."""


@dataclass(frozen=True)
class Failing:
    """The share of a user class's requests that fail under the fault, from 0 to 1.

    Raises UsageError when no share could be within the bounds.
    """

    at_least: float = 0.0
    at_most: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.at_least <= self.at_most <= 1:
            raise UsageError(f"no share of requests is within {self}")

    def __str__(self) -> str:
        return f"{self.at_least:.0%} to {self.at_most:.0%}"


@dataclass(frozen=True)
class LogLine:
    """A JSON log line in ECS fields that must be written under the fault.

    ``joins_trace``  it carries the id of a trace, as W3C Trace Context defines it
    ``component``    who writes it; empty: the target of the load
    """

    level: str
    message: str
    joins_trace: bool = False
    component: str = ""

    def __str__(self) -> str:
        return f"{self.level} {self.message!r}"


@dataclass(frozen=True)
class Span:
    """The span that traces must blame: the deepest that failed. ``name`` is a shell pattern."""

    service: str
    name: str
    status: str = "ERROR"

    def __str__(self) -> str:
        return f"{self.name} of {self.service}"
