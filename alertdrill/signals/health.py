"""What a system says of its own health: one JSON document, and the status that it comes with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from alertdrill.errors import SignalError

ANSWER_S = 2.5


@dataclass(frozen=True)
class HealthReport:
    """``status`` is that of HTTP; ``checks`` says of each neighbour whether it is well."""

    status: int
    checks: Mapping[str, bool]

    def __str__(self) -> str:
        words = ", ".join(f"{name} {str(well).lower()}" for name, well in self.checks.items())
        return f"{self.status} with {words or 'no checks'}"


def read_health(url: str, key: str) -> HealthReport | str:
    """The document at ``url``, whose member ``key`` maps checks to booleans; or, when nobody
    answers within 2.5 s, how that was seen.

    Raises SignalError when the answer is no such document.
    """
    try:
        # Plain HTTP on loopback: no proxy of the environment, no certificates to load.
        answer = httpx.get(url, timeout=ANSWER_S, trust_env=False, verify=False)
    except httpx.HTTPError as error:
        return type(error).__name__
    try:
        checks = answer.json()[key]
        if not all(isinstance(well, bool) for well in checks.values()):
            raise TypeError("a check is neither true nor false")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SignalError(
            f"GET {url} answered {answer.status_code} with something that isn't a health document "
            f"(an object of booleans under {key!r}): {answer.text[:200]!r}"
        ) from error
    return HealthReport(answer.status_code, checks)
