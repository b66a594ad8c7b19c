"""Promises: a write that was acknowledged is kept, and none is applied twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from alertdrill.checks.contract import Check, View
from alertdrill.errors import DeadlineExceeded
from alertdrill.load.window import Window
from alertdrill.stack.target import Target
from alertdrill.verdict import Finding, Reason
from alertdrill.wait import eventually

Applied = Callable[[Target, Collection[str]], Mapping[str, int]]
"""Of a project: how often the write under each of the keys was applied to its database; a key
that isn't in the answer was never. A write that a later one replaced was applied, too."""

# An item that is deleted while the database is asked is missing there, until the answer to its
# deletion has come. So what is missing is asked for again; what is missing for the first time
# then is as young, and no news.
EXPLAINED_S = 5.0
MOST_NAMED = 3


@dataclass(frozen=True)
class Kept:
    """What became of the writes that clients made under a key, sent once or several times."""

    acknowledged: int
    uncertain: int
    repeated: int
    lost: tuple[str, ...]
    twice: tuple[str, ...]

    def and_still(self, later: Kept) -> Kept:
        """What was broken and is so later."""
        return replace(
            self,
            lost=tuple(key for key in self.lost if key in later.lost),
            twice=tuple(key for key in self.twice if key in later.twice),
        )


class Promises(Check):
    """Looks at the database once the steady state is back, for all writes of the drill."""

    id = "promises"

    def __init__(self, applied: Applied) -> None:
        self._applied = applied
        self._kept: Kept | None = None

    def after(self, view: View) -> list[Finding]:
        judged = view.load.since(view.begun)

        def none_broken() -> bool:
            until_now = view.load.since(view.begun)
            keys = (*until_now.acknowledged, *until_now.uncertain)
            found = kept(judged, self._applied(view.bench.stack, keys))
            self._kept = found if self._kept is None else self._kept.and_still(found)
            return not self._kept.lost and not self._kept.twice

        try:
            eventually(none_broken, timeout_s=EXPLAINED_S, what="every write", interval_s=0.5)
        except DeadlineExceeded:
            assert self._kept is not None
            return findings_of(self._kept)
        return []

    def document(self) -> dict[str, Any]:
        found = self._kept
        if found is None:
            return {"seen": ""}
        return {
            "seen": (
                f"{found.acknowledged} writes acknowledged, {len(found.lost)} of them lost; "
                f"{found.uncertain} uncertain; {found.repeated} sent again, "
                f"{len(found.twice)} applied twice"
            ),
            "acknowledged": found.acknowledged,
            "uncertain": found.uncertain,
            "repeated": found.repeated,
            "lost": list(found.lost),
            "twice": list(found.twice),
        }


def kept(window: Window, times: Mapping[str, int]) -> Kept:
    """An acknowledged write counts once; one whose answers failed, once or not at all."""
    acknowledged, uncertain = window.acknowledged, window.uncertain
    return Kept(
        acknowledged=len(acknowledged),
        uncertain=len(uncertain),
        repeated=len(window.repeated),
        lost=tuple(key for key in acknowledged if times.get(key, 0) == 0),
        twice=tuple(key for key in (*acknowledged, *uncertain) if times.get(key, 0) > 1),
    )


def findings_of(found: Kept) -> list[Finding]:
    rows = (
        (Reason.WRITE_LOST, found.lost, "acknowledged and not kept"),
        (Reason.WRITE_TWICE, found.twice, "applied more than once"),
    )
    return [
        Finding(
            reason,
            f"{len(keys)} of {found.acknowledged + found.uncertain} writes: {what}: "
            + ", ".join(keys[:MOST_NAMED])
            + (", …" if len(keys) > MOST_NAMED else ""),
        )
        for reason, keys, what in rows
        if keys
    ]
