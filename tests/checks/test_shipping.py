"""Log lines that a target printed and that never arrived in the store are found, and only they."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from alertdrill.checks import shipping as module
from alertdrill.checks.contract import View
from alertdrill.checks.shipping import Shipping, lost
from alertdrill.config import LogStore
from alertdrill.errors import SignalError
from alertdrill.faults.container import Pause
from alertdrill.signals.logs import EngineLogs, StoredLogs
from alertdrill.stack.component import Component
from alertdrill.stack.readiness import command_ok
from alertdrill.stack.run import Stack
from alertdrill.timeline import unix_of
from alertdrill.verdict import Reason, Verdict
from alertdrill.wait import eventually
from tests.stack.small import small_stack

# Twenty lines a second of three loggers: one writes each line to the file that is shipped, one
# every other, one none.
WRITER = """
import datetime, itertools, json, time
with open("/var/log/bakhmach/writer.log", "w", buffering=1) as file:
    for n in itertools.count():
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        for logger, written in (("whole", True), ("half", n % 2), ("none", False)):
            record = {"@timestamp": now, "message": f"line {n}", "log.logger": logger}
            print(json.dumps(record), flush=True)
            if written:
                file.write(json.dumps(record) + "\\n")
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    writer = Component(
        "writer",
        image="receiver",
        command=("python", "-c", WRITER.replace("$", "$$")),
        volumes={"/var/log/bakhmach": "hub-log"},
        ready=command_ok("test", "-s", "/var/log/bakhmach/writer.log"),
    )
    with small_stack(writer, names=("elasticsearch", "logstash")) as stack:
        url = stack.url("elasticsearch")
        with closing(StoredLogs(url, "bakhmach-app-*")) as stored:
            eventually(lambda: _has_any(stored), timeout_s=60, what="the first line to be stored")
        yield stack


def _has_any(stored: StoredLogs) -> bool:
    try:
        return bool(stored.since(datetime.now(UTC) - timedelta(hours=1)))
    except SignalError:
        return False  # there is no index yet


def await_printed(stack: Stack, begun: float, count: int) -> None:
    """Until the engine has so many lines that were written since."""
    eventually(
        lambda: len(EngineLogs(stack).lines("writer", unix_of(begun), "@timestamp")) >= count,
        timeout_s=30,
        what=f"{count} lines",
    )


def view_of(stack: object, injected: float) -> View:
    config = SimpleNamespace(target=SimpleNamespace(component="writer"))
    bench = SimpleNamespace(stack=stack, config=config, profile="core")
    return View(
        drill=cast(Any, None),
        bench=cast(Any, bench),
        load=cast(Any, None),
        watch=cast(Any, None),
        begun=injected,
        injected=injected,
        in_force=injected,
    )


def store(logger: str | None) -> LogStore:
    return LogStore(component="elasticsearch", index="bakhmach-app-*", logger=logger)


@pytest.mark.docker
@pytest.mark.parametrize("logger", ["half", "none", None])
def test_lines_that_never_arrive_are_found(
    stack: Stack, logger: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ARRIVED_WITHIN_S", 10.0)
    begun = time.monotonic()
    await_printed(stack, begun, 30)
    check = Shipping(store(logger))
    [finding] = check.after(view_of(stack, begun))
    assert finding.reason is Reason.LOG_NOT_STORED
    assert finding.verdict is Verdict.FAIL
    told = check.document()
    share = {"half": 1 / 2, "none": 1, None: 1 / 2}[logger]
    assert told["lost"] == pytest.approx(told["logged"] * share, abs=2)
    assert f"{told['lost']} of {told['logged']} lines are not in bakhmach-app-*" in finding.message


@pytest.mark.docker
def test_lines_that_arrive_are_no_finding_even_if_they_come_late(stack: Stack) -> None:
    begun = time.monotonic()
    fault = Pause("logstash")
    fault.inject(stack)
    try:
        await_printed(stack, begun, 60)
        check = Shipping(store("whole"))
    finally:
        fault.heal(stack)
    assert check.after(view_of(stack, begun)) == []
    assert check.document()["logged"] >= 20
    assert check.document()["lost"] == 0


@pytest.mark.docker
def test_a_target_that_logs_nothing_is_no_proof(stack: Stack) -> None:
    [finding] = Shipping(store("nobody")).after(view_of(stack, time.monotonic() - 5))
    assert (finding.reason, finding.verdict) == (Reason.NO_DATA, Verdict.UNKNOWN)


LINE = {
    "@timestamp": "2026-01-01T00:00:00.123+00:00",
    "message": "http_request",
    "log.level": "INFO",
    "trace.id": "0af7651916cd43dd8448eb211c80319c",
    "event.duration": 0.25,
}


def test_a_line_may_have_more_and_its_time_be_written_otherwise() -> None:
    more = {**LINE, "@timestamp": "2026-01-01T00:00:00.123Z", "type": "app", "@version": "1"}
    assert lost([LINE, LINE], [more, more]) == []


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        ([], "not there"),
        ([LINE], "not there"),
        ([LINE, {**LINE, "@timestamp": "2026-01-01T00:00:00.124Z"}], "not there"),
        ([LINE, {k: v for k, v in LINE.items() if k != "log.level"}], "without its log.level"),
        ([LINE, {**LINE, "event.duration": "0.25"}], "without its event.duration"),
    ],
    ids=["none", "one of two", "another time", "a field less", "a number as text"],
)
def test_a_line_that_is_not_there_as_it_was_written_is_lost(
    stored: list[dict[str, Any]], why: str
) -> None:
    words = lost([LINE, LINE], stored)
    assert words
    assert words[-1].endswith(why)


def test_where_no_store_runs_nothing_is_verified() -> None:
    check = Shipping(store(None))
    assert check.after(view_of(SimpleNamespace(component_names=("writer",)), 0.0)) == []
    assert check.document()["not_verified"] == "profile core runs no elasticsearch"
