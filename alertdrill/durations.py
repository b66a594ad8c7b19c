"""How long each drill took last time, so that a gate can begin with the longest ones."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alertdrill.files import replace_json
from alertdrill.verdict import Verdict

FILE = Path(".cache", "durations.json")


@dataclass(frozen=True)
class Durations:
    """Seconds by drill id, kept in the project's cache. A file that can't be read is as none."""

    path: Path
    seconds: Mapping[str, float]

    @classmethod
    def of(cls, root: Path) -> Durations:
        path = root / FILE
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, {str(drill): float(s) for drill, s in known.items()})
        except (OSError, ValueError, AttributeError, TypeError):
            return cls(path, {})

    def expected_s(self, drill: str) -> float:
        """A drill that never ran comes first: it may be the longest."""
        return self.seconds.get(drill, math.inf)

    def learn(self, drills: Iterable[Mapping[str, Any]]) -> None:
        """Keep what passed, by the entries of ``verdict.json``. Raises OSError."""
        took = {d["id"]: d["wall_s"] for d in drills if d["verdict"] == Verdict.PASS.word}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_json(self.path, dict(self.seconds) | took)
