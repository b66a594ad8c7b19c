"""The run folder: what a run leaves on disk, written as it happens.

Several processes work on one run (a pytest worker per stack). Each writes files of its own, so
nothing is lost when one of them dies, and whoever comes last reads them all.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alertdrill.files import replace_json
from alertdrill.stack.run import new_run_id

MAIN = "main"  # who works where there are no workers


@dataclass(frozen=True)
class DrillTable:
    """What the drills that were found expect, those that this run left out among them.

    ``fires``: the alerts that must fire, by drill id. ``whole``: nobody asked this run to leave
    out any, and it looked everywhere where the project keeps drills. ``deselected``: what it was
    asked to leave out, as titles. ``left_out``: the titles of those that it left out by itself,
    and why.
    """

    fires: Mapping[str, frozenset[str]]
    whole: bool
    deselected: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunFolder:
    """``out/<run-id>``."""

    path: Path

    @classmethod
    def below(cls, out: Path) -> RunFolder:
        """A new name below ``out``; nothing is on disk before ``ensure``."""
        return cls(out / new_run_id())

    def ensure(self) -> RunFolder:
        """Create the folder, and let ``latest`` beside it point to it."""
        if not self.path.is_dir():
            self.path.mkdir(parents=True, exist_ok=True)
            fresh = self.path.parent / f".latest-{self.path.name}-{os.getpid()}"
            fresh.symlink_to(self.path.name)
            os.replace(fresh, self.path.parent / "latest")
        return self

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def timeline(self) -> Path:
        return self.path / "timeline.jsonl"

    @property
    def verdict(self) -> Path:
        return self.path / "verdict.json"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.path / "report.html"

    def write_verdict(self, document: dict[str, Any]) -> None:
        replace_json(self.verdict, document)

    def read_verdict(self) -> dict[str, Any]:
        """The verdict document. Raises OSError when the run left none."""
        document: dict[str, Any] = json.loads(self.verdict.read_text(encoding="utf-8"))
        return document

    @property
    def log(self) -> Path:
        """What pytest printed."""
        return self.path / "pytest.log"

    def add_plan(self, worker: str, drills: Mapping[str, Mapping[str, str]]) -> None:
        """What is going to run: title and test by drill id. Every worker plans the same."""
        self._write("plan", worker, dict(drills))

    def planned(self) -> dict[str, dict[str, str]]:
        return {k: v for row in self._read("plan") for k, v in row.items()}

    def add_table(self, worker: str, table: DrillTable) -> None:
        """What this worker found. Every worker finds the same."""
        fires = {identifier: sorted(alerts) for identifier, alerts in table.fires.items()}
        row = {
            "whole": table.whole,
            "fires": fires,
            "deselected": table.deselected,
            "left_out": dict(table.left_out),
        }
        self._write("table", worker, row)

    def table(self) -> DrillTable:
        """What the workers found; of a run whose workers found nothing, not the whole table."""
        rows = self._read("table")
        fires = {k: frozenset(v) for row in rows for k, v in row["fires"].items()}
        left_out = {title: why for row in rows for title, why in row["left_out"].items()}
        deselected = tuple(dict.fromkeys(title for row in rows for title in row["deselected"]))
        whole = bool(rows) and all(row["whole"] for row in rows)
        return DrillTable(fires, whole, deselected, left_out)

    def add_settled(self, worker: str) -> None:
        """This worker's stack is up, or will never be."""
        self._write("settled", worker, {})

    def settled_workers(self) -> int:
        return len(self._read("settled"))

    @contextlib.contextmanager
    def opening(self, worker: str) -> Iterator[None]:
        """While this worker has a stack, or begins to start one. The lock ends with its process."""
        file = self.ensure().path / "open" / worker
        file.parent.mkdir(exist_ok=True)
        with file.open("w", encoding="utf-8") as held:
            held.write(str(os.getpid()))
            held.flush()
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    def opened(self) -> dict[str, int]:
        """The workers that have a stack and live, and their processes."""
        files = [file for file in sorted(self.path.glob("open/*")) if _is_locked(file)]
        return {file.name: int(file.read_text(encoding="utf-8")) for file in files}

    def add_drill(self, identifier: str, document: dict[str, Any]) -> None:
        self._write("drills", identifier, document)

    def add_stack(self, identifier: str, document: dict[str, Any]) -> None:
        self._write("stacks", identifier, document)

    def add_error(self, message: str) -> None:
        self._write("errors", secrets.token_hex(8), {"message": message})

    def drills(self) -> list[dict[str, Any]]:
        """In the order in which they ended."""
        return self._read("drills")

    def stacks(self) -> list[dict[str, Any]]:
        return self._read("stacks")

    def errors(self) -> list[str]:
        """Each error once, whichever and however many workers met it."""
        return list(dict.fromkeys(row["message"] for row in self._read("errors")))

    def _write(self, kind: str, identifier: str, document: dict[str, Any]) -> None:
        folder = self.ensure().path / kind
        folder.mkdir(exist_ok=True)
        replace_json(folder / f"{identifier}.json", document)

    def _read(self, kind: str) -> list[dict[str, Any]]:
        files = sorted((self.path / kind).glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _is_locked(file: Path) -> bool:
    with file.open() as looked_at:
        try:
            fcntl.flock(looked_at, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
