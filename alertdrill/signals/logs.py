"""JSON log lines as the engine keeps them, in the fields of the Elastic Common Schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Protocol

from alertdrill.signals.http import JsonApi
from alertdrill.stack.run import Stack

Line = Mapping[str, Any]
LEVEL, LOGGER, MESSAGE = "log.level", "log.logger", "message"
TIME, TRACE, SPAN = "@timestamp", "trace.id", "span.id"
# A store gives no more than 10,000 at a time.
PAGE, SCROLL_KEPT = 5000, "30s"
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

    def since(self, time: str) -> list[Line]:
        """Every line stamped with ``time`` (ISO 8601) or later. Raises SignalError."""
        page = self._api.get(
            f"/{self._index}/_search",
            {
                "q": f'{TIME}:["{time}" TO *]',
                "size": str(PAGE),
                "scroll": SCROLL_KEPT,
                "ignore_unavailable": "true",
            },
        )
        found: list[Line] = []
        while page["hits"]["hits"]:
            found += [hit["_source"] for hit in page["hits"]["hits"]]
            page = self._api.get(
                "/_search/scroll", {"scroll": SCROLL_KEPT, "scroll_id": page["_scroll_id"]}
            )
        return found

    def close(self) -> None:
        self._api.close()


def has_trace(line: Line) -> bool:
    """Whether ``line`` carries the id of a trace."""
    return _TRACE_ID.fullmatch(str(line.get(TRACE, ""))) is not None


def _parsed(text: bytes) -> Line | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None
