"""Prometheus' regular expressions (RE2, anchored) as far as Python's engine can judge them."""

from __future__ import annotations

import re


def full_match(pattern: str, value: str) -> bool | None:
    """Whether all of ``value`` matches; None for what only RE2 can read."""
    try:
        return re.fullmatch(f"(?:{pattern})", value) is not None
    except (re.error, OverflowError, RecursionError):
        return None
