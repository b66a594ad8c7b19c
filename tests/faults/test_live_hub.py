"""Faults of the hub itself against a real one: releases with a bug, a wrong clock, a full disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from alertdrill.errors import FaultError, UsageError
from alertdrill.faults.clock import ClockSkew
from alertdrill.faults.contract import Fault
from alertdrill.faults.deploy import BadRelease
from alertdrill.faults.disk import DiskFull
from alertdrill.faults.world import leftovers
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually
from tests.faults.conftest import started
from tests.faults.lifecycle import bites_only_while_injected, seen_effective, seen_healed

pytestmark = pytest.mark.docker

NAMES = (
    *("hub", "postgres", "postgres-replica", "redis", "github", "ai-studio"),
    *("toxiproxy", "http-faults", "receiver"),
)
SYNC = "/api/v1/sync/bidirectional"
LOGS = "/var/log/bakhmach"

# How long a wait of half a second takes, by the clock that can't be set, and that clock.
_WAITS = """
import threading, time
begun = time.monotonic()
threading.Event().wait(0.5)
print(time.monotonic() - begun, time.monotonic())
"""

# How long half a second on a condition variable takes, as Python waits for its global lock.
_WAITS_AS_FOR_THE_GLOBAL_LOCK = """
import ctypes, time
c = ctypes.CDLL(None)
attributes, condition, mutex = (ctypes.create_string_buffer(64) for _ in range(3))
c.pthread_condattr_init(attributes)
c.pthread_condattr_setclock(attributes, time.CLOCK_MONOTONIC)
c.pthread_cond_init(condition, attributes)
c.pthread_mutex_init(mutex, None)
c.pthread_mutex_lock(mutex)
begun = time.monotonic()
until = divmod(time.monotonic_ns() + 500_000_000, 1_000_000_000)
c.pthread_cond_timedwait(condition, mutex, (ctypes.c_long * 2)(*until))
print(time.monotonic() - begun)
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with started(NAMES) as running:
        yield running


@pytest.fixture(autouse=True)
def _whole(stack: Stack) -> Iterator[None]:
    assert leftovers(stack) == []
    yield
    assert leftovers(stack) == []


@contextmanager
def injected(fault: Fault, stack: Stack) -> Iterator[None]:
    fault.inject(stack)
    try:
        seen_effective(fault, stack)
        stack.wait_ready("hub")
        yield
    finally:
        fault.heal(stack)
    seen_healed(fault, stack)


def call(stack: Stack, method: str, path: str, **options: Any) -> httpx.Response:
    url = stack.url("hub") + path
    return httpx.request(method, url, timeout=20, trust_env=False, **options)


def metric(stack: Stack, name: str) -> dict[str, float]:
    """Labels -> value."""
    text = httpx.get(stack.url("hub", "metrics") + "/metrics", timeout=5, trust_env=False).text
    return {
        labels: float(value)
        for labels, value in re.findall(rf"^{name}(\{{.*\}})? (\S+)$", text, re.MULTILINE)
    }


def quickest_sync_s(stack: Stack) -> float:
    """Of three: a busy machine delays one."""
    return min(sync_s(stack) for _ in range(3))


def sync_s(stack: Stack) -> float:
    answer = call(stack, "POST", SYNC)
    assert answer.status_code == 200, answer.text
    return answer.elapsed.total_seconds()


def winners(stack: Stack) -> set[str]:
    """Who gave the items over which the two sides differ."""
    assert call(stack, "POST", SYNC).json()["conflicts"]["detected"] > 0
    sql = "SELECT DISTINCT origin FROM items JOIN conflicts USING (key)"
    code, output = stack.exec("postgres", ["psql", "-XAtq", "-U", "hub", "-d", "hub", "-c", sql])
    assert code == 0, output
    return set(output.split())


# --- releases ------------------------------------------------------------------------------


def test_a_release_bites_only_while_it_is_injected(stack: Stack) -> None:
    bites_only_while_injected(BadRelease("hub", "hub-renamed"), stack)


def test_the_slow_one_is_slow_and_answers_rightly(stack: Stack) -> None:
    assert quickest_sync_s(stack) < 3
    with injected(BadRelease("hub", "hub-slow"), stack):
        assert 5 < sync_s(stack) < 12
    assert winners(stack) == {"ai-studio"}


def test_the_wrong_one_answers_wrongly_and_fast(stack: Stack) -> None:
    assert winners(stack) == {"ai-studio"}
    with injected(BadRelease("hub", "hub-wrong"), stack):
        assert winners(stack) == {"github"}
        assert quickest_sync_s(stack) < 3


def test_the_failing_one_fails_at_lists_only(stack: Stack) -> None:
    def await_statuses(*wanted: int) -> None:
        """On a busy machine a neighbour may answer a look at the health late."""
        paths = ("/api/v1/items", "/api/v1/sync/status", "/health")
        eventually(
            lambda: tuple(call(stack, "GET", path).status_code for path in paths) == wanted,
            timeout_s=15,
            what=f"{wanted} of {paths}",
        )

    await_statuses(200, 200, 200)
    with injected(BadRelease("hub", "hub-failing"), stack):
        await_statuses(500, 200, 200)


def test_one_has_another_name_for_a_metric(stack: Stack) -> None:
    assert metric(stack, "sync_operations_total")
    with injected(BadRelease("hub", "hub-renamed"), stack):
        assert not metric(stack, "sync_operations_total")
        assert metric(stack, "sync_attempts_total")


def test_one_has_a_series_for_every_path(stack: Stack) -> None:
    def series() -> int:
        before = len(metric(stack, "http_requests_total"))
        for number in range(20):
            call(stack, "GET", f"/api/v1/items/{900_000 + number}")
        return len(metric(stack, "http_requests_total")) - before

    assert series() == 0
    with injected(BadRelease("hub", "hub-exploding"), stack):
        assert series() == 20


def test_an_image_that_the_stack_has_not_got_is_not_released(stack: Stack) -> None:
    with pytest.raises(FaultError, match="from 'hub-none': its component names hub-slow, hub-wr"):
        BadRelease("hub", "hub-none").inject(stack)


# --- time ----------------------------------------------------------------------------------


def test_a_clock_is_wrong_only_while_it_is_injected(stack: Stack) -> None:
    bites_only_while_injected(ClockSkew("hub", 3600, image="hub-clock"), stack)


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_wrong_clock_is_told_and_timeouts_stay_right(stack: Stack, seconds: int) -> None:
    def skew_s() -> float:
        [value] = metric(stack, "app_time_seconds").values()
        code, now = stack.exec("http-faults", ["date", "+%s"])
        assert code == 0
        return value - float(now)

    assert abs(skew_s()) < 3
    with injected(ClockSkew("hub", seconds, image="hub-clock"), stack):
        assert abs(skew_s() - seconds) < 3
        waited, here = (float(n) for n in stack.exec("hub", ["python", "-c", _WAITS])[1].split())
        _, there = (float(n) for n in stack.exec("receiver", ["python", "-c", _WAITS])[1].split())
        assert 0.45 < waited < 10
        turn = stack.exec("hub", ["python", "-c", _WAITS_AS_FOR_THE_GLOBAL_LOCK])[1]
        assert float(turn) > 0.004, "threads take the lock from one another without end"
        assert abs(there - here) < 10, "one clock for the whole machine"
        assert quickest_sync_s(stack) < 3


def test_a_clock_that_is_hardly_wrong_can_not_be_told() -> None:
    with pytest.raises(UsageError, match="at least 5 s"):
        ClockSkew("hub", 4, image="hub-clock")


# --- disk ----------------------------------------------------------------------------------


def test_a_full_log_folder_costs_log_lines_and_no_request(stack: Stack) -> None:
    def lost() -> float:
        [value] = metric(stack, "log_records_lost_total").values()
        return value

    def logged() -> int:
        code, size = stack.exec("hub", ["stat", "-c", "%s", f"{LOGS}/hub.log"])
        assert code == 0, size
        return int(size)

    def asked() -> None:
        # More than the last page of the file has room for.
        assert {call(stack, "GET", "/nowhere").status_code for _ in range(20)} == {404}

    assert lost() == 0
    fault = DiskFull("hub", LOGS)
    bites_only_while_injected(fault, stack)
    before = lost()
    with injected(fault, stack):
        asked()
        assert lost() > before
        eventually(
            lambda: call(stack, "GET", "/health").status_code == 200, timeout_s=15, what="health"
        )
    before, size = lost(), logged()
    asked()
    assert lost() == before
    eventually(lambda: logged() > size, timeout_s=15, what="the log to go on")
