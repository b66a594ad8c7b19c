"""Every fault against the real proxies and engine: it bites, is counted, and heals."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator

import pytest

from alertdrill.errors import FaultError
from alertdrill.faults import vantage
from alertdrill.faults.container import Kill, Pause, Stop
from alertdrill.faults.contract import Fault
from alertdrill.faults.http import (
    HttpFailFirst,
    HttpMalformed,
    HttpRateLimited,
    HttpSlow,
    HttpStatus,
    HttpTruncated,
    HttpWrongSchema,
    http_faults,
)
from alertdrill.faults.network import BlackHole, Latency, Refuse, Reset
from alertdrill.faults.nothing import Nothing
from alertdrill.faults.toxiproxy import toxiproxy
from alertdrill.faults.transfer import transfers
from alertdrill.faults.world import leftovers
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually
from tests.faults.lifecycle import seen_effective, seen_harmless, seen_healed

pytestmark = pytest.mark.docker

CLIENT = "receiver"
JSON_PATH = "/rate_limit"

# Sends a[count] GETs over one connection at a time; prints the status of each.
_REQUESTS = """
import http.client, json, sys
a = json.loads(sys.argv[1])
statuses = []
connection = http.client.HTTPConnection("http-faults", a["port"], timeout=30)
for _ in range(a["count"]):
    try:
        connection.request(a["method"], a["path"])
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    except (http.client.HTTPException, OSError):
        connection.close()
        statuses.append(0)
print(json.dumps(statuses))
"""

# Opens a connection to Redis through the proxy, uses it and keeps it open.
_TALK = """
import socket, time
with socket.create_connection(("toxiproxy", 6379), timeout=5) as s:
    for _ in range(20):
        s.sendall(b"PING\\r\\n")
        s.recv(100)
    time.sleep(20)
"""


@pytest.fixture(autouse=True)
def _whole(stack: Stack) -> Iterator[None]:
    assert leftovers(stack) == []
    yield
    assert leftovers(stack) == []


def send(stack: Stack, count: int, *, method: str = "GET", path: str = JSON_PATH) -> list[int]:
    port = http_faults(stack).port("github")
    question = json.dumps({"port": port, "count": count, "method": method, "path": path})
    code, output = stack.exec(CLIENT, ["python3", "-c", _REQUESTS, question])
    assert code == 0, output
    statuses: list[int] = json.loads(output)
    return statuses


def count(fault: Fault, stack: Stack) -> int:
    exposure = fault.exposure(stack)
    assert exposure is not None
    return exposure.count


FAULTS: list[Fault] = [
    Refuse("postgres", client=CLIENT),
    Refuse("redis", client=CLIENT),
    Refuse("github", client=CLIENT),
    Latency("postgres", 200, client=CLIENT),
    Latency("redis", 200, 50, client=CLIENT),
    Latency("ai-studio", 200, client=CLIENT),
    BlackHole("postgres", client=CLIENT),
    Reset("redis", client=CLIENT),
    HttpStatus("github", 503, probe_path=JSON_PATH),
    HttpStatus("github", 500, every=3, probe_path=JSON_PATH),
    HttpRateLimited("github", probe_path=JSON_PATH),
    HttpSlow("github", 0.4, probe_path=JSON_PATH),
    HttpMalformed("github", probe_path=JSON_PATH),
    HttpWrongSchema("github", probe_path=JSON_PATH),
    HttpTruncated("github", probe_path=JSON_PATH),
    HttpFailFirst("github", 2, probe_path=JSON_PATH),
    Kill("redis"),
    Kill("receiver"),
    Stop("github"),
    Pause("redis"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_a_fault_bites_only_while_it_is_injected(fault: Fault, stack: Stack) -> None:
    seen_harmless(fault, stack)
    seen_healed(fault, stack)
    fault.heal(stack)
    try:
        fault.inject(stack)
        seen_effective(fault, stack)
        assert not fault.is_healed(stack).holds
        assert leftovers(stack)
        assert not Nothing().is_effective(stack).holds
        fault.inject(stack)
        seen_effective(fault, stack)
    finally:
        fault.heal(stack)
    seen_healed(fault, stack)
    seen_harmless(fault, stack)
    fault.heal(stack)


def test_nothing_is_seen_to_be_nothing(stack: Stack) -> None:
    assert Nothing().is_effective(stack).holds
    assert Nothing().exposure(stack) is None


# --- HTTP ----------------------------------------------------------------------------------


def test_the_share_of_failing_requests_is_the_rate_and_the_seed_picks_them(stack: Stack) -> None:
    requests, rate = 2_000, 0.3
    fault = HttpStatus("github", 502, rate=rate, seed=11)
    runs = []
    for _ in range(2):
        before = count(fault, stack)
        fault.inject(stack)
        try:
            statuses = send(stack, requests)
        finally:
            fault.heal(stack)
        failed = [n for n, status in enumerate(statuses) if status == 502]
        assert set(statuses) == {200, 502}
        assert count(fault, stack) - before == len(failed)
        runs.append(failed)
    assert abs(len(runs[0]) - requests * rate) < 3.3 * math.sqrt(requests * rate * (1 - rate))
    assert runs[0] == runs[1]


def test_fail_first_and_every_are_exact(stack: Stack) -> None:
    for fault, expected in (
        (HttpFailFirst("github", 3), [503, 503, 503, 200, 200, 200, 200, 200]),
        (HttpStatus("github", 500, every=4), [200, 200, 200, 500, 200, 200, 200, 500]),
    ):
        fault.inject(stack)
        try:
            assert send(stack, 8) == expected
        finally:
            fault.heal(stack)


def test_a_rate_limit_says_when_to_come_back(stack: Stack) -> None:
    fault = HttpRateLimited("github", retry_after_s=7)
    program = (
        "import http.client, sys\n"
        "c = http.client.HTTPConnection('http-faults', int(sys.argv[1]), timeout=30)\n"
        "c.request('GET', sys.argv[2])\n"
        "answer = c.getresponse()\n"
        "print(answer.status, answer.getheader('Retry-After'))"
    )
    port = str(http_faults(stack).port("github"))
    fault.inject(stack)
    try:
        code, output = stack.exec(CLIENT, ["python3", "-c", program, port, JSON_PATH])
    finally:
        fault.heal(stack)
    assert (code, output.split()) == (0, ["429", "7"])


def test_only_requests_that_match_meet_a_fault(stack: Stack) -> None:
    fault = HttpStatus("github", rate=1.0, method="GET", path="/rate_*")
    fault.inject(stack)
    try:
        assert send(stack, 2) == [503, 503]
        assert send(stack, 2, path="/unknown") == [404, 404]
        assert send(stack, 2, method="HEAD") == [200, 200]
        assert http_faults(stack).active()[fault.identifier]["seen"] == 2
    finally:
        fault.heal(stack)


def test_damaged_bodies_are_counted_when_they_reach_the_client(stack: Stack) -> None:
    for fault, statuses in (
        (HttpMalformed("github"), [200] * 3),
        (HttpWrongSchema("github"), [200] * 3),
        (HttpTruncated("github"), [0] * 3),
    ):
        before = count(fault, stack)
        fault.inject(stack)
        try:
            assert send(stack, 3) == statuses
            assert count(fault, stack) - before == 3
        finally:
            fault.heal(stack)


def test_a_delay_holds_up_nobody_else_and_healing_ends_it(stack: Stack) -> None:
    slow = HttpSlow("github", 60, path=JSON_PATH)
    question = {"port": 8081, "count": 1, "method": "GET", "path": JSON_PATH}
    before = count(slow, stack)
    slow.inject(stack)
    try:
        stack.container(CLIENT).exec_run(
            ["python3", "-c", _REQUESTS, json.dumps(question)], detach=True
        )
        eventually(
            lambda: count(slow, stack) == before + 1, timeout_s=15, what="a request to be held"
        )
        assert send(stack, 20, path="/unknown") == [404] * 20
        assert JSON_PATH in str(stack.container(CLIENT).top())
    finally:
        slow.heal(stack)
    eventually(
        lambda: JSON_PATH not in str(stack.container(CLIENT).top()),
        timeout_s=15,
        what="the held request to be let go",
    )
    assert send(stack, 1) == [200]


def test_what_the_proxy_refuses_is_an_error_that_says_so(stack: Stack) -> None:
    with pytest.raises(FaultError, match=r"gave 422: .*code must be an integer from 400 to 599"):
        HttpStatus("github", 200).inject(stack)
    with pytest.raises(FaultError, match="the HTTP fault proxy has no 'gitlab'"):
        HttpStatus("gitlab").inject(stack)


# --- TCP -----------------------------------------------------------------------------------


def test_latency_is_accurate_within_10_ms(stack: Stack) -> None:
    fault = Latency("postgres", 100, client=CLIENT)

    def answer_ms() -> float:
        answer_s = vantage.round_trip(stack, CLIENT, "postgres", "toxiproxy", 5432, 10).answer_s
        assert answer_s is not None
        return 1000 * answer_s

    # Taken in turn: what the machine itself costs at the time is in both.
    without, under = [], []
    for _ in range(15):
        without.append(answer_ms())
        fault.inject(stack)
        try:
            under.append(answer_ms())
        finally:
            fault.heal(stack)
    added_ms = statistics.median(under) - statistics.median(without)
    assert 90 <= added_ms <= 110


def test_jitter_spreads_latency_around_what_was_asked_for(stack: Stack) -> None:
    fault = Latency("redis", 100, 20, client=CLIENT)
    fault.inject(stack)
    try:
        rounds = transfers(stack, CLIENT, "redis", 1, 5, rounds=60, until_closed=False)
    finally:
        fault.heal(stack)
    added_ms = [1000 * (through.took_s - direct.took_s) for direct, through in rounds]
    # The median of 60 draws from 80 to 120 ms strays by 2.6 ms (one standard deviation).
    assert 85 <= statistics.median(added_ms) <= 115
    assert min(through.took_s for _, through in rounds) >= 0.079
    # A quarter of all draws is below the one, a quarter above the other.
    assert min(added_ms) < 90
    assert max(added_ms) > 110


def test_only_the_latency_that_was_asked_for_is_proven(stack: Stack) -> None:
    little = Latency("postgres", 20, 5, client=CLIENT)
    for _ in range(5):
        assert not little.is_effective(stack).holds, "nothing was injected"
    much = Latency("postgres", 400, client=CLIENT)
    much.inject(stack)
    try:
        seen_effective(much, stack)
        assert not little.is_effective(stack).holds
        little.inject(stack)
        seen_effective(little, stack)
        seen_harmless(much, stack)
    finally:
        little.heal(stack)
    seen_harmless(little, stack)


def test_refused_connections_of_the_client_are_counted_and_no_others(stack: Stack) -> None:
    fault = Refuse("redis", client=CLIENT)
    before = count(fault, stack)
    fault.inject(stack)
    try:
        seen_effective(fault, stack)
        assert count(fault, stack) == before
        for _ in range(3):
            vantage.round_trip(stack, CLIENT, "redis", "toxiproxy", 6379, 1)
        assert count(fault, stack) == before + 3
    finally:
        fault.heal(stack)


def test_bytes_under_latency_are_counted_while_the_connection_is_open(stack: Stack) -> None:
    fault = Latency("redis", 20, client=CLIENT)
    before = count(fault, stack)
    fault.inject(stack)
    try:
        for _ in range(3):
            seen_effective(fault, stack)
        eventually(
            lambda: count(fault, stack) == before, timeout_s=15, what="proofs not to be counted"
        )
        stack.container(CLIENT).exec_run(["python3", "-c", _TALK], detach=True)
        sent_and_received = 20 * (len("PING\r\n") + len("+PONG\r\n"))
        eventually(
            lambda: count(fault, stack) == before + sent_and_received,
            timeout_s=10,
            what=f"{sent_and_received} bytes to be counted",
        )
    finally:
        fault.heal(stack)


def test_a_client_that_can_not_tell_is_an_error(stack: Stack) -> None:
    with pytest.raises(FaultError, match="a probe in redis ended with"):
        Latency("redis", 20, client="redis").exposure(stack)


def test_an_unknown_service_is_an_error(stack: Stack) -> None:
    with pytest.raises(FaultError, match="no proxy 'mysql'"):
        Refuse("mysql", client=CLIENT).inject(stack)


# --- containers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code"), [(Stop("redis"), 0), (Kill("redis"), 137)], ids=lambda v: str(v)[:5]
)
def test_a_stopped_container_may_end_by_itself_and_a_killed_one_may_not(
    fault: Fault, code: int, stack: Stack
) -> None:
    fault.inject(stack)
    try:
        assert stack.container("redis").attrs["State"]["ExitCode"] == code
    finally:
        fault.heal(stack)
    seen_healed(fault, stack)


# --- the world -----------------------------------------------------------------------------


def test_each_kind_of_leftover_is_found(stack: Stack) -> None:
    planted: list[Fault] = [
        Refuse("postgres", client=CLIENT),
        Latency("redis", 10, client=CLIENT),
        HttpMalformed("ai-studio"),
        Pause("github"),
        Kill("receiver"),
    ]
    try:
        for fault in planted:
            fault.inject(stack)
        found = leftovers(stack)
    finally:
        for fault in planted:
            fault.heal(stack)
    assert len(found) == len(planted)
    text = "\n".join(found)
    for words in (
        "postgres is disabled",
        "redis has the toxic alertdrill-latency",
        "ai-studio meet the fault malformed-ai-studio",
        "github is paused",
        "receiver is exited",
    ):
        assert words in text
    stack.wait_ready("receiver")
    stack.wait_ready("github")


def test_reset_cleans_toxiproxy(stack: Stack) -> None:
    Refuse("postgres", client=CLIENT).inject(stack)
    Latency("redis", 10, client=CLIENT).inject(stack)
    toxiproxy(stack).reset()
    assert leftovers(stack) == []
