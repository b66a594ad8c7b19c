"""The stubs' data: the same seed gives both sides the same world, agreeing and disagreeing."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass

ISSUES = 60
AI_STUDIO_ITEMS = 40
SHARED = 20
CONFLICTING = 8

_VERBS = ("Import", "Export", "Retry", "Archive", "Merge", "Reindex", "Validate", "Split")
_NOUNS = ("invoices", "contracts", "prompts", "datasets", "reports", "customers", "models")
_ENDS = ("nightly", "on request", "per tenant", "in batches", "after review", "by region")


@dataclass(frozen=True)
class Record:
    """One thing as one side sees it. ``number`` counts from 1; ``shared`` is its issue, if any."""

    number: int
    title: str
    body: str
    closed: bool
    updated_at: str
    shared: int | None = None


@dataclass(frozen=True)
class World:
    """Both sides. ``SHARED`` records are on both, ``CONFLICTING`` of them with other content."""

    issues: tuple[Record, ...]
    ai_studio: tuple[Record, ...]

    @staticmethod
    def of(seed: int) -> World:
        rng = random.Random(seed)
        issues = tuple(_record(rng, number) for number in range(1, ISSUES + 1))
        shared = sorted(rng.sample(range(ISSUES), SHARED))
        disputed = set(rng.sample(shared, CONFLICTING))
        ai_studio: list[Record] = []
        for number in range(1, AI_STUDIO_ITEMS + 1):
            made = _record(rng, number)
            if number <= SHARED:
                issue = issues[shared[number - 1]]
                told = made if shared[number - 1] in disputed else issue
                made = Record(
                    number,
                    # Two random titles may be equal; a dispute must not be left to chance.
                    told.title + (" (revised)" if told is made else ""),
                    told.body,
                    told.closed,
                    made.updated_at,
                    issue.number,
                )
            ai_studio.append(made)
        return World(issues, tuple(ai_studio))


def seed_of(env: Mapping[str, str] = os.environ) -> int:
    """The seed that the environment gives; 7 without one."""
    return int(env.get("SEED") or 7)


def _record(rng: random.Random, number: int) -> Record:
    title = f"{rng.choice(_VERBS)} {rng.choice(_NOUNS)} {rng.choice(_ENDS)}"
    body = " ".join(rng.choice(_NOUNS) for _ in range(rng.randint(8, 30)))
    day, hour = rng.randint(1, 28), rng.randint(0, 23)
    return Record(number, title, body, rng.random() < 0.3, f"2025-01-{day:02}T{hour:02}:00:00Z")
