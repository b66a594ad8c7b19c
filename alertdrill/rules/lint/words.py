"""Sets of names, written as a text that reads on."""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())
