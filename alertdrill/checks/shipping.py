"""Shipping: what the target logged is in the log store, if late; none of it got lost on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from alertdrill.checks.contract import Check, View
from alertdrill.config import LogStore
from alertdrill.errors import DeadlineExceeded
from alertdrill.signals.logs import (
    LOGGER,
    MESSAGE,
    SPAN,
    TIME,
    TRACE,
    EngineLogs,
    Line,
    StoredLogs,
)
from alertdrill.timeline import unix_of
from alertdrill.verdict import Finding, Reason
from alertdrill.wait import eventually

# A shipper that waits longer and longer between its attempts may need its time to try again.
ARRIVED_WITHIN_S = 20.0
Key = tuple[str, ...]


class Shipping(Check):
    """Asks the stack's log store, once all is well again, for each line that the engine has of
    the target since injection; where the profile runs no store, nothing is verified.

    A line more than the engine has is no finding: the engine may have lost one itself.
    """

    id = "stored_logs"

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._missing: str | None = None
        self._logged = 0
        self._lost: Counter[Key] = Counter()

    def after(self, view: View) -> list[Finding]:
        store, bench = self._store, view.bench
        if store.component not in bench.stack.component_names:
            self._missing = f"profile {bench.config.gate.profile} runs no {store.component}"
            return []
        begun = unix_of(view.injected)
        since = datetime.fromtimestamp(begun, UTC).isoformat(timespec="milliseconds")
        lines = EngineLogs(bench.stack).lines(bench.config.target.component, begun, TIME)
        logged = _counted(line for line in lines if self._is_shipped(line, since))
        self._logged = logged.total()
        if not logged:
            who = bench.config.target.component
            return [Finding(Reason.NO_DATA, f"{who} logged nothing that could arrive")]
        with closing(StoredLogs(bench.stack.url(store.component, store.port), store.index)) as logs:

            def arrived() -> bool:
                self._lost = logged - _counted(logs.since(since))
                return not self._lost

            try:
                eventually(arrived, timeout_s=ARRIVED_WITHIN_S, what="logs", interval_s=0.5)
            except DeadlineExceeded:
                first = " ".join(next(iter(self._lost)))
                return [
                    Finding(
                        Reason.LOG_NOT_STORED,
                        f"{self._lost.total()} of {self._logged} lines are not in {store.index} "
                        f"{ARRIVED_WITHIN_S:g} s after all was well again; the first is {first}",
                    )
                ]
        return []

    def document(self) -> dict[str, Any]:
        if self._missing is not None:
            return {"seen": "", "not_verified": self._missing}
        return {
            "seen": f"{self._logged - self._lost.total()} of {self._logged} log lines arrived",
            "logged": self._logged,
            "lost": self._lost.total(),
        }

    def _is_shipped(self, line: Line, since: str) -> bool:
        ours = self._store.logger is None or line.get(LOGGER) == self._store.logger
        return ours and str(line.get(TIME, "")) >= since


def _counted(lines: Iterable[Line]) -> Counter[Key]:
    """How often each line occurs, told apart by its time, its words and its span."""
    return Counter(
        tuple(str(line.get(name, "-")) for name in (TIME, MESSAGE, TRACE, SPAN)) for line in lines
    )
