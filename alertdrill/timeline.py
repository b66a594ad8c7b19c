"""What happened when: every event with UTC and monotonic time, in order, on disk at once."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class Timeline:
    """Appends each event to a file.

    Thread-safe; several processes may append to the same file (one line, one write).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def add(self, drill: str, event: str, /, *, at: float | None = None, **detail: Any) -> None:
        """Record ``event``; ``at`` (monotonic seconds) when it happened earlier than now."""
        now = time.monotonic()
        moment = now if at is None else at
        utc = datetime.fromtimestamp(time.time() - (now - moment), UTC)
        row = {
            "utc": utc.isoformat(timespec="milliseconds"),
            "monotonic": round(moment, 4),
            "drill": drill,
            "event": event,
            **detail,
        }
        with self._lock, self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")


def monotonic_of(unix_s: float) -> float:
    """The monotonic time of a Unix time stamp taken on this host (same kernel clock)."""
    return time.monotonic() - (time.time() - unix_s)


def unix_of(monotonic_s: float) -> float:
    """The Unix time stamp of a monotonic time of this host."""
    return time.time() - (time.monotonic() - monotonic_s)


def read_progress(path: Path, offset: int) -> tuple[list[tuple[str, str]], int]:
    """Progress events written to ``path`` after ``offset`` (bytes), and the new offset."""
    if not path.exists():
        return [], offset
    with path.open("rb") as source:
        source.seek(offset)
        data = source.read()
    whole = data[: data.rfind(b"\n") + 1]
    rows = [json.loads(line) for line in whole.splitlines()]
    news = [(row["drill"], row["what"]) for row in rows if row["event"] == "progress"]
    return news, offset + len(whole)
