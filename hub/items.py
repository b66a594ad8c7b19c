"""What an item is, and how two sides of it are merged. Nothing here does I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property


class Policy(StrEnum):
    """Who wins where the upstreams differ. ``MANUAL`` leaves the conflict open."""

    AI_STUDIO_WINS = "ai_studio_wins"
    GITHUB_WINS = "github_wins"
    MANUAL = "manual"


@dataclass(frozen=True)
class Item:
    """``key`` is the same on both sides; ``origin`` says who gave it and is not compared."""

    key: str
    title: str
    body: str
    state: str
    origin: str

    @cached_property
    def fingerprint(self) -> str:
        """Equal exactly when title, body and state are."""
        text = "\0".join((self.title, self.body, self.state))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def document(self) -> dict[str, str]:
        return {"title": self.title, "body": self.body, "state": self.state}


@dataclass(frozen=True)
class Conflict:
    """Both sides have the item and say different things; ``winner`` is None while open."""

    github: Item
    ai_studio: Item
    winner: Item | None

    @property
    def key(self) -> str:
        return self.github.key

    @property
    def sides(self) -> str:
        """Identifies what is in dispute: new content on either side is a new conflict."""
        return f"{self.github.fingerprint}:{self.ai_studio.fingerprint}"


@dataclass(frozen=True)
class Merge:
    """``items`` are to be stored, in the order of their keys; so are ``conflicts``."""

    items: tuple[Item, ...]
    conflicts: tuple[Conflict, ...]

    @property
    def resolved(self) -> int:
        return sum(conflict.winner is not None for conflict in self.conflicts)


def merge(github: Mapping[str, Item], ai_studio: Mapping[str, Item], policy: Policy) -> Merge:
    """Merge the two sides. The order of keys is total, so that writers never deadlock.

    An item with an open conflict is not among ``Merge.items``.
    """
    items: list[Item] = []
    conflicts: list[Conflict] = []
    for key in sorted(github.keys() | ai_studio.keys()):
        ours, theirs = github.get(key), ai_studio.get(key)
        if ours is None or theirs is None or ours.fingerprint == theirs.fingerprint:
            chosen = theirs or ours
        else:
            chosen = _winner(ours, theirs, policy)
            conflicts.append(Conflict(ours, theirs, chosen))
        if chosen is not None:
            items.append(chosen)
    return Merge(tuple(items), tuple(conflicts))


def _winner(github: Item, ai_studio: Item, policy: Policy) -> Item | None:
    match policy:
        case Policy.AI_STUDIO_WINS:
            return ai_studio
        case Policy.GITHUB_WINS:
            return github
        case Policy.MANUAL:
            return None
