"""Healing is exact: whoever asks 50 ms after its call meets nothing of the fault any more.

A client in a container of the run asks all the time, each time on a new connection, and notes when
each question began. Its clock is this process's own: the kernel has one monotonic clock.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from alertdrill.faults.contract import Fault, Target
from alertdrill.faults.http import (
    HttpFailFirst,
    HttpHang,
    HttpMalformed,
    HttpRateLimited,
    HttpSlow,
    HttpStatus,
    HttpTruncated,
    HttpWrongSchema,
)
from alertdrill.faults.network import (
    Bandwidth,
    BlackHole,
    CutAfter,
    Latency,
    Refuse,
    Reset,
    Slicer,
    SlowClose,
)
from alertdrill.faults.world import leftovers
from alertdrill.stack.execution import start_in
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually

pytestmark = pytest.mark.docker

CLIENT = "receiver"
WITHIN_S = 0.050
# Each fault below makes a request slower than that, or spoils it.
SLOW_S = 0.35
EVERY_S = 0.020
# A busy machine spoils a round; a fault that heals late, all of them.
ROUNDS, CLEAN_ROUNDS = 9, 3
SIZE = 50_000

# Two kinds of request: an echo of Redis that is read to the end of the connection, and a GET of
# JSON. The word "met" is printed when enough requests have met the fault.
_ASK = """
import http.client, json, socket, sys, threading, time
a = json.loads(sys.argv[1])
asked, lock = [], threading.Lock()
def echo():
    sent = b"x" * a["size"]
    question = b"*2\\r\\n$4\\r\\nECHO\\r\\n$%d\\r\\n%s\\r\\nQUIT\\r\\n" % (len(sent), sent)
    expected = len(b"$%d\\r\\n" % len(sent)) + len(sent) + len(b"\\r\\n+OK\\r\\n")
    got = 0
    with socket.create_connection(("toxiproxy", 6379), timeout=a["timeout_s"]) as s:
        s.sendall(question)
        while piece := s.recv(65536):
            got += len(piece)
    return None if got == expected else "%d bytes" % got
def get():
    connection = http.client.HTTPConnection("http-faults", 8081, timeout=a["timeout_s"])
    try:
        connection.request("GET", "/rate_limit")
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        return str(answer.status)
    return None if sorted(json.loads(body)) == a["keys"] else "another shape"
def ask():
    begun = time.monotonic()
    try:
        wrong = {"echo": echo, "get": get}[a["kind"]]()
    except (OSError, ValueError, http.client.HTTPException) as error:
        wrong = type(error).__name__
    took = time.monotonic() - begun
    if wrong is None and took > a["slow_s"]:
        wrong = "%d ms" % (1000 * took)
    with lock:
        asked.append([begun, wrong])
until, told, due = time.monotonic() + 15, False, time.monotonic()
while time.monotonic() < until:
    threading.Thread(target=ask, daemon=True).start()
    due += a["every_s"]
    time.sleep(max(0, due - time.monotonic()))
    with lock:
        met = sum(wrong is not None for _, wrong in asked)
    if not told and met >= 10:
        told, until = True, time.monotonic() + 1
        print("met", flush=True)
time.sleep(a["timeout_s"])
with lock:
    print(json.dumps(asked))
"""


@dataclass(frozen=True)
class Asked:
    """One request: when it began, and what was wrong with it, if anything."""

    begun: float
    wrong: str | None


def asked_while_healing(
    stack: Stack, kind: str, keys: list[str], heal: Callable[[], None]
) -> tuple[float, list[Asked]]:
    """When ``heal`` was called, and every request before and after that."""
    question = {
        "kind": kind,
        "keys": keys,
        "size": SIZE,
        "timeout_s": 2 * SLOW_S,
        "slow_s": SLOW_S,
        "every_s": EVERY_S,
    }
    argv = ["python3", "-c", _ASK, json.dumps(question)]
    _, output = start_in(stack.container(CLIENT), argv, timeout_s=20)
    said = next(output)
    assert said.startswith(b"met"), said
    called = time.monotonic()
    heal()
    return called, [Asked(*row) for row in json.loads(b"".join(output))]


@pytest.fixture(scope="module")
def keys(stack: Stack) -> list[str]:
    """Of the answer that a GET gets without any fault."""
    program = (
        "import urllib.request; "
        "print(urllib.request.urlopen('http://http-faults:8081/rate_limit', timeout=5).read()"
        ".decode())"
    )
    code, output = stack.exec(CLIENT, ["python3", "-c", program])
    assert code == 0, output
    return sorted(json.loads(output))


@pytest.fixture(autouse=True)
def _whole(stack: Stack) -> Iterator[None]:
    assert leftovers(stack) == []
    yield
    assert leftovers(stack) == []


FAULTS: list[tuple[str, Fault]] = [
    ("echo", Refuse("redis", client=CLIENT)),
    ("echo", BlackHole("redis", client=CLIENT)),
    ("echo", Reset("redis", client=CLIENT)),
    ("echo", Latency("redis", 400, client=CLIENT)),
    ("echo", Bandwidth("redis", SIZE // 500, client=CLIENT)),
    ("echo", CutAfter("redis", 100, client=CLIENT)),
    ("echo", SlowClose("redis", 400, client=CLIENT)),
    ("echo", Slicer("redis", 1_000, 10, 10_000, client=CLIENT)),
    ("get", HttpStatus("github", rate=1.0)),
    ("get", HttpRateLimited("github")),
    ("get", HttpSlow("github", 0.4)),
    ("get", HttpHang("github")),
    ("get", HttpMalformed("github")),
    ("get", HttpWrongSchema("github")),
    ("get", HttpTruncated("github")),
    ("get", HttpFailFirst("github", 1_000_000)),
]


def touched_after_heal(
    kind: str, fault: Fault, stack: Stack, keys: list[str]
) -> list[tuple[int, str]]:
    """Milliseconds after the call, and what was wrong, of the requests that begin 50 ms later."""
    fault.inject(stack)
    try:
        called, asked = asked_while_healing(stack, kind, keys, lambda: fault.heal(stack))
    finally:
        fault.heal(stack)
    assert any(a.wrong is not None for a in asked if a.begun < called)
    after = [a for a in asked if a.begun >= called + WITHIN_S]
    if len(after) < 30:
        return [(0, f"only {len(after)} requests were made after it")]
    return [(round(1000 * (a.begun - called)), a.wrong) for a in after if a.wrong is not None]


@pytest.mark.parametrize(("kind", "fault"), FAULTS, ids=lambda value: getattr(value, "name", ""))
def test_from_50_ms_after_the_call_no_request_is_touched(
    kind: str, fault: Fault, stack: Stack, keys: list[str]
) -> None:
    dirty = []
    for n in range(ROUNDS):
        touched = touched_after_heal(kind, fault, stack, keys)
        if touched:
            dirty.append(touched)
        if n + 1 - len(dirty) == CLEAN_ROUNDS:
            return
    raise AssertionError(f"ms after the call, and what was wrong, by round: {dirty}")


@dataclass(frozen=True)
class HealsLate(HttpStatus):
    """A planted defect: it takes its time."""

    def heal(self, stack: Target) -> None:
        called = time.monotonic()
        eventually(
            lambda: time.monotonic() - called > 10 * WITHIN_S, timeout_s=5, what="the time to pass"
        )
        super().heal(stack)


def test_one_that_heals_late_is_found_out(stack: Stack, keys: list[str]) -> None:
    fault = HealsLate("github", rate=1.0)

    def found_out() -> bool:
        fault.inject(stack)
        try:
            called, asked = asked_while_healing(stack, "get", keys, lambda: fault.heal(stack))
        finally:
            replace(fault).heal(stack)
        return any(a.wrong for a in asked if a.begun >= called + WITHIN_S)

    # A busy machine may keep the clients from asking while it is late.
    assert any(found_out() for _ in range(3))
