"""What happened when: every event with UTC and monotonic time, in order, on disk at once."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Event:
    """``at`` is on the monotonic clock of this host (seconds); ``utc`` is ISO 8601."""

    at: float
    utc: str
    drill: str
    what: str
    detail: dict[str, Any]


class Timeline:
    """Collects events and appends each to ``timeline.jsonl`` when a path is given.

    Thread-safe; several processes may append to the same file (one line, one write).
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._events: list[Event] = []

    def add(self, drill: str, what: str, /, *, at: float | None = None, **detail: Any) -> Event:
        """Record ``what``; ``at`` (monotonic seconds) when it happened earlier than now."""
        now = time.monotonic()
        moment = now if at is None else at
        utc = datetime.fromtimestamp(time.time() - (now - moment), UTC)
        event = Event(moment, utc.isoformat(timespec="milliseconds"), drill, what, detail)
        with self._lock:
            self._events.append(event)
            if self._path is not None:
                line = json.dumps(
                    {"utc": event.utc, "monotonic": round(moment, 4), "drill": drill, "event": what}
                    | detail
                )
                with self._path.open("a", encoding="utf-8") as out:
                    out.write(line + "\n")
        return event

    def events(self, drill: str) -> list[Event]:
        """The events of one drill, by time."""
        with self._lock:
            return sorted((e for e in self._events if e.drill == drill), key=lambda e: e.at)


def monotonic_of(unix_s: float) -> float:
    """The monotonic time of a Unix time stamp taken on this host (same kernel clock)."""
    return time.monotonic() - (time.time() - unix_s)


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
