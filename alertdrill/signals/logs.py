"""JSON log lines as the engine keeps them, in the fields of the Elastic Common Schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from alertdrill.signals.http import JsonApi
from alertdrill.stack.run import Stack

Line = Mapping[str, Any]
LEVEL, LOGGER, MESSAGE = "log.level", "log.logger", "message"
TIME, TRACE, SPAN = "@timestamp", "trace.id", "span.id"
# A store gives no more than 10,000 at a time.
PAGE = 5000
# W3C Trace Context: 16 bytes in hex, not all of them zero.
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")


class LogSource(Protocol):
    """Where log lines are read: from the engine, or from a store that they were shipped to."""

    def lines(self, component: str, since: float, containing: str) -> list[Line]:
        """The lines of ``component`` since a Unix time that hold a text. May raise StackError or
        SignalError."""
        ...


class EngineLogs:
    """What the containers of a stack printed. Lines that aren't JSON objects are left out."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def lines(self, component: str, since: float, containing: str) -> list[Line]:
        wanted = containing.encode()
        return [
            line
            for text in self._stack.log(component, since).splitlines()
            # Thousands of lines: only those that may matter are parsed.
            if wanted in text and (line := _parsed(text)) is not None
        ]


class StoredLogs:
    """What arrived in one index, or in those of a pattern, of a store with Elasticsearch's API."""

    def __init__(self, url: str, index: str) -> None:
        self._api = JsonApi(url)
        self._index = index

    def since(self, time: datetime) -> list[Line]:
        """Every line stamped with ``time`` or later. Raises SignalError."""
        found: list[Line] = []
        last: list[Any] = []
        while True:
            page = self._page(time, last)
            found += [hit["_source"] for hit in page]
            if len(page) < PAGE:
                return found
            last = page[-1]["sort"]

    def close(self) -> None:
        self._api.close()

    def _page(self, time: datetime, after: list[Any]) -> list[Any]:
        query = {
            "query": {"range": {TIME: {"gte": time.isoformat(timespec="milliseconds")}}},
            # An index that has just been made knows no field yet.
            "sort": [{TIME: {"order": "asc", "unmapped_type": "date"}}, "_seq_no"],
            "size": PAGE,
            **({"search_after": after} if after else {}),
        }
        answer = self._api.get(
            f"/{self._index}/_search",
            {
                "source": json.dumps(query),
                "source_content_type": "application/json",
                "ignore_unavailable": "true",
            },
        )
        hits: list[Any] = answer["hits"]["hits"]
        return hits


def stamped(line: Line) -> datetime | None:
    """When ``line`` was written, as it says itself (UTC where it names no zone); None: it
    doesn't say."""
    try:
        time = datetime.fromisoformat(str(line.get(TIME)))
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def has_trace(line: Line) -> bool:
    """Whether ``line`` carries the id of a trace."""
    return _TRACE_ID.fullmatch(str(line.get(TRACE, ""))) is not None


def _parsed(text: bytes) -> Line | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None
