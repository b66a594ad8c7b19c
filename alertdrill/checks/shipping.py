"""Shipping: what the target logged is in the log store, if late; none of it got lost on the way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from alertdrill.checks.contract import Check, View
from alertdrill.config import LogStore
from alertdrill.errors import DeadlineExceeded, SignalError
from alertdrill.signals.logs import LOGGER, MESSAGE, TIME, EngineLogs, Line, StoredLogs, stamped
from alertdrill.timeline import unix_of
from alertdrill.verdict import Finding, Reason
from alertdrill.wait import eventually

# A shipper may wait between its attempts (monitoring/logstash/pipeline.conf: 5 s at most, and 10 s
# for an answer), and the store needs a second to find what it was given.
ARRIVED_WITHIN_S = 20.0


class Shipping(Check):
    """Asks the stack's log store, once all is well again, for each line that the engine has of
    the target since injection; where the profile runs no store, nothing is verified.

    Each field of the line must be there; the store may have more, and write times in another
    way. A line more than the engine has is no finding: the engine may have lost one itself.
    """

    id = "stored_logs"

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._not_verified: str | None = None
        self._logged = 0
        self._lost: list[str] = []

    def after(self, view: View) -> list[Finding]:
        store, bench = self._store, view.bench
        self._not_verified = view.why_not_run(store.component)
        if self._not_verified is not None:
            return []
        begun = datetime.fromtimestamp(unix_of(view.injected), UTC)
        target = bench.config.target.component
        lines = EngineLogs(bench.stack).lines(target, begun.timestamp(), TIME)
        logged = [line for line in lines if self._is_shipped(line, begun)]
        self._logged = len(logged)
        if not logged:
            return [Finding(Reason.NO_DATA, f"{target} logged nothing that could arrive")]
        with closing(StoredLogs(bench.stack.url(store.component, store.port), store.index)) as logs:
            trouble: SignalError | None = None

            def arrived() -> bool:
                nonlocal trouble
                try:
                    self._lost = lost(logged, logs.since(begun))
                except SignalError as error:  # of an index that is being made, perhaps
                    trouble = error
                    return False
                trouble = None
                return not self._lost

            try:
                eventually(arrived, timeout_s=ARRIVED_WITHIN_S, what="logs", interval_s=0.5)
            except DeadlineExceeded:
                if trouble is not None:
                    raise trouble from None
                return [
                    Finding(
                        Reason.LOG_NOT_STORED,
                        f"{len(self._lost)} of {self._logged} lines are not in {store.index} as "
                        f"they were written, {ARRIVED_WITHIN_S:g} s after all was well again; the "
                        f"first: {self._lost[0]}",
                    )
                ]
        return []

    def document(self) -> dict[str, Any]:
        if self._not_verified is not None:
            return {"seen": "", "not_verified": self._not_verified}
        return {
            "seen": f"{self._logged - len(self._lost)} of {self._logged} log lines arrived",
            "logged": self._logged,
            "lost": len(self._lost),
        }

    def _is_shipped(self, line: Line, begun: datetime) -> bool:
        ours = self._store.logger is None or line.get(LOGGER) == self._store.logger
        written = stamped(line)
        return ours and written is not None and written >= begun


def lost(logged: Iterable[Line], stored: Iterable[Line]) -> list[str]:
    """In words, each line of ``logged`` that isn't among ``stored``, or not with all its fields;
    what is logged twice must be stored twice."""
    by_time: dict[datetime | None, list[Line]] = defaultdict(list)
    for line in stored:
        by_time[stamped(line)].append(line)
    words = []
    for line in logged:
        same = by_time[stamped(line)]
        whole = next((other for other in same if not _missing(line, other)), None)
        if whole is None:
            words.append(f"{line.get(MESSAGE)!r} of {line.get(TIME)}: {_why(line, same)}")
        else:
            same.remove(whole)
    return words


def _missing(line: Line, stored: Line) -> list[str]:
    return [name for name, value in line.items() if name != TIME and stored.get(name) != value]


def _why(line: Line, same_time: Sequence[Line]) -> str:
    nearest = min((_missing(line, other) for other in same_time), key=len, default=[*line])
    if len(nearest) > len(line) / 2:
        return "not there"
    return f"without its {', '.join(nearest)}"
