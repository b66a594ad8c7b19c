"""Log lines that must be there, errors that must not, and whom failed traces blame."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from alertdrill.checks import logs as module
from alertdrill.checks.contract import View
from alertdrill.checks.expected import LogLine
from alertdrill.checks.logs import Logs
from alertdrill.signals.traces import SpanSeen, blamed
from alertdrill.verdict import Reason

TRACE = "0af7651916cd43dd8448eb211c80319c"
FAILED = {"log.level": "ERROR", "message": "sync_failed", "trace.id": TRACE}
CALM = {"log.level": "INFO", "message": "http_request", "trace.id": TRACE}
WANTED = LogLine("ERROR", "sync_failed", joins_trace=True)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WITHIN_S", 0.1)


def reasons(*lines: dict[str, Any] | str, wanted: LogLine | None = WANTED, control: bool = False):  # type: ignore[no-untyped-def]
    """What the check says of a target that printed ``lines``."""
    printed = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    stack = SimpleNamespace(log=lambda component, since: printed.encode())
    config = SimpleNamespace(target=SimpleNamespace(component="hub"))
    view = SimpleNamespace(
        bench=SimpleNamespace(stack=stack, config=config),
        drill=SimpleNamespace(logs=wanted),
        injected=0.0,
        is_control=control,
    )
    return [finding.reason for finding in Logs().under_fault(cast(View, view))]


def test_a_line_that_tells_passes_among_others() -> None:
    assert reasons("plain sync_failed", "[]", CALM, FAILED) == []


@pytest.mark.parametrize(
    "line",
    [
        CALM,
        {**FAILED, "log.level": "WARNING"},
        {**FAILED, "message": "sync_failed at last"},
        {**FAILED, "trace.id": "0" * 32},
        {key: value for key, value in FAILED.items() if key != "trace.id"},
    ],
    ids=["no line", "another level", "another message", "no trace at all", "no trace id"],
)
def test_a_line_that_is_missing_or_lacks_its_trace_is_found(line: dict[str, str]) -> None:
    assert reasons(line) == [Reason.LOG_MISSING]


def test_one_line_without_its_trace_among_many_is_found() -> None:
    assert reasons(FAILED, {**FAILED, "trace.id": ""}, FAILED) == [Reason.LOG_MISSING]


def test_a_line_need_not_join_a_trace() -> None:
    assert reasons({**FAILED, "trace.id": ""}, wanted=LogLine("ERROR", "sync_failed")) == []


def test_a_drill_without_expectations_asks_for_nothing() -> None:
    assert reasons(CALM, wanted=None) == []


@pytest.mark.parametrize("level", ["ERROR", "CRITICAL"])
def test_errors_without_a_fault_are_found(level: str) -> None:
    line = {**FAILED, "log.level": level}
    assert reasons(CALM, line, wanted=None, control=True) == [Reason.ERROR_LOGGED]


def test_a_calm_control_passes() -> None:
    told = {**CALM, "message": "an ERROR in the text"}
    assert reasons(CALM, told, wanted=None, control=True) == []


def span(identifier: str, parent: str | None, status: str = "ERROR") -> SpanSeen:
    return SpanSeen(identifier, parent, "hub", identifier, status)


def test_the_deepest_failed_span_is_to_blame() -> None:
    spans = [span("post", None), span("sync", "post"), span("db.write", "sync")]
    assert [found.name for found in blamed([*spans, span("SELECT", "db.write", "UNSET")])] == [
        "db.write"
    ]


def test_a_request_that_failed_twice_blames_both() -> None:
    spans = [span("post", None), span("GET", "post"), span("db.write", "post")]
    assert [found.name for found in blamed(spans)] == ["GET", "db.write"]


def test_nothing_is_to_blame_where_nothing_failed() -> None:
    assert blamed([span("post", None, "UNSET")]) == []
