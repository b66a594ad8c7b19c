"""Logs: the line that explains the fault is written, and where nothing is broken, no error is."""

from __future__ import annotations

from typing import Any

from alertdrill.checks.contract import Check, View
from alertdrill.checks.expected import LogLine
from alertdrill.errors import DeadlineExceeded
from alertdrill.signals.logs import LEVEL, MESSAGE, EngineLogs, Line, LogSource, has_trace
from alertdrill.timeline import unix_of
from alertdrill.verdict import Finding, Reason
from alertdrill.wait import eventually

# An operation that the fault slows logs at its end, and then the engine has to write it down.
WITHIN_S = 3.0
ERRORS = ("ERROR", "CRITICAL", "FATAL")


class Logs(Check):
    """Reads what was written since injection, where the engine keeps it."""

    id = "logs"

    def __init__(self) -> None:
        self._seen = ""

    def under_fault(self, view: View) -> list[Finding]:
        target = view.bench.config.target.component
        source, since = EngineLogs(view.bench.stack), unix_of(view.injected)
        if view.is_control:
            return self._must_be_calm(source, target, since)
        line = view.drill.logs
        if line is None:
            return []
        return self._must_tell(source, line.component or target, line, since)

    def document(self) -> dict[str, Any]:
        return {"seen": self._seen}

    def _must_be_calm(self, source: LogSource, component: str, since: float) -> list[Finding]:
        lines = [
            line
            for level in ERRORS
            for line in source.lines(component, since, level)
            if line.get(LEVEL) == level
        ]
        self._seen = f"{len(lines)} errors logged by {component}"
        if not lines:
            return []
        first = f"{lines[0][LEVEL]} {lines[0].get(MESSAGE)!r}"
        return [Finding(Reason.ERROR_LOGGED, f"nothing is broken, and {self._seen}: first {first}")]

    def _must_tell(
        self, source: LogSource, component: str, wanted: LogLine, since: float
    ) -> list[Finding]:
        lines: list[Line] = []

        def told() -> bool:
            nonlocal lines
            lines = [
                line
                for line in source.lines(component, since, wanted.message)
                if line.get(MESSAGE) == wanted.message and line.get(LEVEL) == wanted.level
            ]
            return bool(lines) and (not wanted.joins_trace or all(map(has_trace, lines)))

        try:
            eventually(told, timeout_s=WITHIN_S, what=f"{wanted}", interval_s=0.5)
        except DeadlineExceeded:
            without = sum(not has_trace(line) for line in lines)
            why = f"{without} of {len(lines)} such lines carry no trace id" if lines else "no line"
            self._seen = f"{wanted} of {component}: {why}"
            return [
                Finding(Reason.LOG_MISSING, f"{self._seen} (waited {WITHIN_S:g} s under the fault)")
            ]
        self._seen = f"{len(lines)} × {wanted} of {component}"
        return []
