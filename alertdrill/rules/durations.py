"""Durations as Prometheus and Alertmanager write them: ``1h30m``, ``250ms``, ``0``."""

from __future__ import annotations

import re
from fractions import Fraction

_UNITS_MS = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>[0-9]{{1,19}}){unit})?" for unit in _UNITS_MS))
# Go counts nanoseconds in 63 bits: 292 years.
_MAX_MS = (2**63 - 1) // 10**6


def parse_ms(text: str) -> int:
    """Milliseconds of a duration; units once each and from large to small, as Prometheus asks.

    Raises ValueError for anything else, the empty text included.
    """
    if text == "0":
        return 0
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"not a duration: {text!r} (Prometheus writes 30s, 5m, 1h30m)")
    ms = sum(int(count) * _UNITS_MS[unit] for unit, count in match.groupdict().items() if count)
    if ms > _MAX_MS:
        raise ValueError(f"not a duration: {text!r} is longer than the 292 years of Prometheus")
    return ms


def format_ms(ms: int) -> str:
    """The shortest text that ``parse_ms`` reads back as ``ms``; weeks and years stay in days."""
    if ms == 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, ms = divmod(ms, _UNITS_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def as_factor(factor: float | Fraction) -> Fraction:
    """``factor`` exactly as it was written (2.5 is 5/2). Raises ValueError below 1."""
    exact = factor if isinstance(factor, Fraction) else Fraction(str(factor))
    if exact < 1:
        raise ValueError(f"a clock can be compressed by a factor of 1 or more, not by {factor}")
    return exact


def divide_ms(ms: int, factor: Fraction) -> int:
    """``ms`` on a clock ``factor`` times as fast, rounded towards zero to a millisecond.

    Zero stays zero. Raises ValueError when something that lasted would last no time at all.
    """
    sign = -1 if ms < 0 else 1
    quotient = sign * int(abs(ms) / factor)
    if ms and not quotient:
        raise ValueError(
            f"{format_ms(abs(ms))} divided by {float(factor):g} is less than a millisecond"
        )
    return quotient
