"""Network faults, a hanging API and composed faults against the real proxies: exact, and gone."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from alertdrill.errors import DeadlineExceeded, FaultError, UsageError
from alertdrill.faults import vantage
from alertdrill.faults.compose import Flapping, Ramp, Sequence, Together, driven
from alertdrill.faults.contract import Fault
from alertdrill.faults.http import HttpHang, HttpSlow, HttpStatus, http_faults
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
from alertdrill.faults.toxiproxy import Toxiproxy, Unanswered, toxiproxy
from alertdrill.faults.transfer import transfers
from alertdrill.faults.world import leftovers
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually
from tests.faults.lifecycle import seen_effective, seen_harmless, seen_healed

pytestmark = pytest.mark.docker

CLIENT = "receiver"
JSON_PATH = "/rate_limit"

# Asks Redis for a[size] bytes through the proxy, a[count] times over one connection.
_FETCH = """
import json, socket, sys, time
a = json.loads(sys.argv[1])
sent = b"*2\\r\\n$4\\r\\nECHO\\r\\n$%d\\r\\n%s\\r\\n" % (a["size"], b"x" * a["size"])
received, ended = 0, False
with socket.create_connection(("toxiproxy", 6379), timeout=20) as s:
    for _ in range(a["count"]):
        try:
            s.sendall(sent)
        except (BrokenPipeError, ConnectionResetError):
            ended = True
        wanted = received + len(sent) - len(b"*2\\r\\n$4\\r\\nECHO\\r\\n")
        while received < wanted and not ended:
            got = s.recv(65536)
            ended = not got
            received += len(got)
        if ended:
            break
print(json.dumps([received, ended]))
"""

# One GET to a[port] of the HTTP fault proxy; prints its status (0: none) and its seconds.
_GET = """
import http.client, json, sys, time
a = json.loads(sys.argv[1])
begun, status = time.perf_counter(), 0
connection = http.client.HTTPConnection("http-faults", a["port"], timeout=a["timeout_s"])
try:
    connection.request(a.get("method", "GET"), a["path"])
    status = connection.getresponse().status
except (http.client.HTTPException, OSError):
    pass
print(json.dumps([status, time.perf_counter() - begun]))
"""


@pytest.fixture(autouse=True)
def _whole(stack: Stack) -> Iterator[None]:
    assert leftovers(stack) == []
    yield
    assert driven(stack) == []
    assert leftovers(stack) == []


def count(fault: Fault, stack: Stack) -> int:
    exposure = fault.exposure(stack)
    assert exposure is not None
    return exposure.count


def fetch(stack: Stack, size: int, times: int = 1) -> tuple[int, bool]:
    """Bytes that the client got from Redis, and whether the connection ended."""
    question = json.dumps({"size": size, "count": times})
    code, output = stack.exec(CLIENT, ["python3", "-c", _FETCH, question])
    assert code == 0, output
    received, ended = json.loads(output)
    return received, ended


def get(stack: Stack, timeout_s: float, path: str = JSON_PATH) -> tuple[int, float]:
    question = {"port": http_faults(stack).port("github"), "path": path, "timeout_s": timeout_s}
    code, output = stack.exec(CLIENT, ["python3", "-c", _GET, json.dumps(question)])
    assert code == 0, output
    status, elapsed_s = json.loads(output)
    return status, elapsed_s


FAULTS: list[Fault] = [
    Bandwidth("postgres", 20, client=CLIENT),
    Bandwidth("redis", 400, client=CLIENT),
    Bandwidth("github", 20, client=CLIENT),
    CutAfter("postgres", 500, client=CLIENT),
    CutAfter("redis", 100_000, client=CLIENT),
    CutAfter("ai-studio", 50, client=CLIENT),
    CutAfter("redis", 0, client=CLIENT),
    SlowClose("postgres", 300, client=CLIENT),
    SlowClose("redis", 300, client=CLIENT),
    SlowClose("github", 300, client=CLIENT),
    Slicer("postgres", 100, 20, 5_000, client=CLIENT),
    Slicer("redis", 1_000, 1, 1_000, client=CLIENT),
    Slicer("github", 500, 100, 20_000, client=CLIENT),
    BlackHole("github", client=CLIENT),
    BlackHole("redis", client=CLIENT),
    Reset("postgres", client=CLIENT),
    # With those of test_live.py, each kind has been on each proxy.
    Refuse("ai-studio", client=CLIENT),
    BlackHole("ai-studio", client=CLIENT),
    Reset("github", client=CLIENT),
    Reset("ai-studio", client=CLIENT),
    Latency("github", 200, client=CLIENT),
    Bandwidth("ai-studio", 20, client=CLIENT),
    CutAfter("github", 50, client=CLIENT),
    SlowClose("ai-studio", 300, client=CLIENT),
    Slicer("ai-studio", 500, 100, 20_000, client=CLIENT),
    HttpHang("github", probe_path=JSON_PATH),
    HttpHang("github", rate=0.5, probe_path=JSON_PATH),
    HttpSlow("github", 0.5, quantile=0.8, probe_path=JSON_PATH),
    Together(Latency("postgres", 200, client=CLIENT), Refuse("redis", client=CLIENT)),
    Together(
        Latency("redis", 100, client=CLIENT),
        Bandwidth("redis", 100, client=CLIENT),
        HttpStatus("github", rate=1.0, probe_path=JSON_PATH),
    ),
    Sequence(
        [(Latency("redis", 100, client=CLIENT), 30), (BlackHole("redis", client=CLIENT), None)]
    ),
    Flapping(Refuse("redis", client=CLIENT), on_s=60, off_s=1, cycles=1),
    Ramp(Latency("redis", 50, client=CLIENT), "latency_ms", (50, 100, 200), step_s=60),
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
        fault.inject(stack)
        seen_effective(fault, stack)
    finally:
        fault.heal(stack)
    seen_healed(fault, stack)
    seen_harmless(fault, stack)
    fault.heal(stack)


# --- exact ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_kb_s", [50, 200, 800])
def test_bandwidth_is_accurate_within_10_percent(stack: Stack, rate_kb_s: int) -> None:
    fault = Bandwidth("redis", rate_kb_s, client=CLIENT)
    size = max(100_000, 500 * rate_kb_s)
    fault.inject(stack)
    try:
        rounds = transfers(stack, CLIENT, "redis", size, 10, rounds=5)
    finally:
        fault.heal(stack)
    assert all(through.received == direct.received > size for direct, through in rounds)
    wanted_s = size / 1000 / rate_kb_s
    assert min(direct.took_s for direct, _ in rounds) < wanted_s / 5, "nothing else limits it"
    # A busy machine makes some slower; a wrong rate is wrong in all.
    measured = max(t.received / 1000 / t.took_s for _, t in rounds)
    assert measured == pytest.approx(rate_kb_s, rel=0.1)


@pytest.mark.parametrize("after_bytes", [1, 99, 4_096, 70_001, 250_000])
def test_a_cut_comes_after_exactly_so_many_bytes(stack: Stack, after_bytes: int) -> None:
    fault = CutAfter("redis", after_bytes, client=CLIENT)
    fault.inject(stack)
    try:
        assert fetch(stack, after_bytes) == (after_bytes, True)
        # Not per answer: small ones add up to it.
        assert fetch(stack, 10, times=after_bytes // 10 + 1) == (after_bytes, True)
    finally:
        fault.heal(stack)
    assert fetch(stack, after_bytes)[1] is False


def test_an_answer_below_the_cut_is_whole(stack: Stack) -> None:
    fault = CutAfter("redis", 200, client=CLIENT)
    fault.inject(stack)
    try:
        assert fetch(stack, 100) == (len("$100\r\n") + 100 + 2, False)
    finally:
        fault.heal(stack)


def test_a_slow_close_is_accurate_and_leaves_answers_alone(stack: Stack) -> None:
    fault = SlowClose("redis", 200, client=CLIENT)
    fault.inject(stack)
    try:
        rounds = [through for _, through in transfers(stack, CLIENT, "redis", 1_000, 3, rounds=5)]
    finally:
        fault.heal(stack)
    closing_ms = statistics.median(1000 * (t.closing_s or 0) for t in rounds)
    assert 195 <= closing_ms <= 220
    assert statistics.median(t.took_s for t in rounds) < 0.05


def test_slices_are_of_their_size_and_their_pauses_add_up(stack: Stack) -> None:
    size, pause_s = 1_000, 0.01
    fault = Slicer("redis", size, 100, round(pause_s * 1e6), client=CLIENT)
    fault.inject(stack)
    try:
        rounds = transfers(stack, CLIENT, "redis", 40_000, 10, rounds=3)
    finally:
        fault.heal(stack)
    # The fastest of three: a busy machine makes pauses longer.
    pieces = min(through.took_s for _, through in rounds) / pause_s
    # Halved until small enough, so they are between half the average and the average plus 10 %.
    assert 40_000 / (1.1 * size) - 1 <= pieces <= 2.2 * 40_000 / size


def test_toxiproxy_survives_the_smallest_variation(stack: Stack) -> None:
    with pytest.raises(UsageError, match="variation from 1"):
        Slicer("redis", 100, 0, 1_000, client=CLIENT)
    fault = Slicer("redis", 2, 1, 1, client=CLIENT)
    fault.inject(stack)
    try:
        assert fetch(stack, 1_000)[1] is False
    finally:
        fault.heal(stack)


def test_a_dose_too_small_to_be_told_is_never_proven(stack: Stack) -> None:
    small: list[Fault] = [
        Bandwidth("github", 100_000, client=CLIENT),
        CutAfter("postgres", 20_000, client=CLIENT),
    ]
    for fault in small:
        fault.inject(stack)
        try:
            assert not fault.is_effective(stack).holds
        finally:
            fault.heal(stack)


def test_the_proofs_of_what_swallows_or_cuts_are_no_traffic(stack: Stack) -> None:
    for fault in (
        BlackHole("redis", client=CLIENT),
        BlackHole("postgres", client=CLIENT),
        Reset("redis", client=CLIENT),
        Reset("postgres", client=CLIENT),
        CutAfter("redis", 300, client=CLIENT),
        CutAfter("github", 100, client=CLIENT),
        Bandwidth("redis", 100, client=CLIENT),
    ):
        before = count(fault, stack)
        fault.inject(stack)
        try:
            seen_effective(fault, stack)
            # Toxiproxy counts a connection a moment after it has ended.
            with pytest.raises(DeadlineExceeded):
                eventually(lambda: count(fault, stack) > before, timeout_s=0.5, what="a count")  # noqa: B023
        finally:
            fault.heal(stack)


def test_traffic_under_a_cut_is_counted(stack: Stack) -> None:
    fault = CutAfter("redis", 100, client=CLIENT)
    before = count(fault, stack)
    fault.inject(stack)
    try:
        assert fetch(stack, 5_000)[0] == 100
        eventually(lambda: count(fault, stack) > before, timeout_s=15, what="bytes to be counted")
    finally:
        fault.heal(stack)


def test_the_quantile_says_how_many_are_slow(stack: Stack) -> None:
    fault = HttpSlow("github", 6.0, quantile=0.9, path=JSON_PATH)
    assert fault.config()["rate"] == 0.1
    before = count(fault, stack)
    fault.inject(stack)
    try:
        elapsed = sorted(get(stack, 20)[1] for _ in range(30))
        slow = count(fault, stack) - before
    finally:
        fault.heal(stack)
    assert slow == sum(s >= 6.0 for s in elapsed)
    assert elapsed[14] < 6.0, "the median is as ever"
    for wrong in ({"quantile": 1.0}, {"quantile": 0.5, "rate": 0.5}, {"quantile": 0.5, "every": 2}):
        with pytest.raises(UsageError, match="quantile"):
            HttpSlow("github", 1, **wrong)  # type: ignore[arg-type]


# --- hanging -------------------------------------------------------------------------------


ISSUES_PATH = "/repos/bakhmach/hub/issues"


def reached_upstream(stack: Stack) -> int:
    """Requests for issues that the API itself has answered, when no more come."""
    with httpx.Client(timeout=5, trust_env=False, verify=False) as client:

        def used() -> int:
            return int(client.get(stack.url("github") + JSON_PATH).json()["rate"]["used"])

        seen = [-1]

        def no_more_come() -> bool:
            seen.append(used())
            return seen[-1] == seen[-2]

        eventually(no_more_come, timeout_s=10, what="the last request to arrive", interval_s=0.5)
        return seen[-1]


def test_a_hanging_request_is_held_until_the_client_gives_up(stack: Stack) -> None:
    fault = HttpHang("github", path=ISSUES_PATH)
    before, reached = count(fault, stack), reached_upstream(stack)
    fault.inject(stack)
    try:
        status, elapsed_s = get(stack, 1.5, ISSUES_PATH)
        assert status == 0
        assert elapsed_s >= 1.5
        assert get(stack, 5)[0] == 200, "others go on"
        assert count(fault, stack) - before == 1
    finally:
        fault.heal(stack)
    assert get(stack, 5, ISSUES_PATH)[0] == 200
    assert reached_upstream(stack) - reached == 1, "what was given up must not arrive later"


def test_healing_lets_a_held_request_go_at_once(stack: Stack) -> None:
    fault = HttpHang("github", path=ISSUES_PATH)
    before, reached = count(fault, stack), reached_upstream(stack)
    fault.inject(stack)
    answers: list[tuple[int, float]] = []
    client = threading.Thread(target=lambda: answers.append(get(stack, 20, ISSUES_PATH)))
    try:
        client.start()
        eventually(lambda: count(fault, stack) > before, timeout_s=15, what="a held request")
        assert not answers
        assert reached_upstream(stack) == reached
    finally:
        healed = time.monotonic()
        fault.heal(stack)
    client.join(10)
    assert answers[0][0] == 200
    assert time.monotonic() - healed < 10, "the client would have waited for 20 s"
    assert reached_upstream(stack) - reached == 1


# --- composed ------------------------------------------------------------------------------


def test_together_counts_only_what_met_every_part(stack: Stack) -> None:
    both = Together(
        Latency("redis", 20, client=CLIENT), HttpStatus("github", rate=1.0, path=JSON_PATH)
    )
    before = count(both, stack)
    both.inject(stack)
    try:
        seen_effective(both, stack)
        fetch(stack, 1_000)
        assert count(both, stack) == before, "no request met the other part"
        assert get(stack, 5)[0] == 503
        eventually(lambda: count(both, stack) > before, timeout_s=15, what="both to be met")
    finally:
        both.heal(stack)


def test_a_part_that_can_not_be_injected_leaves_no_toxic(stack: Stack) -> None:
    both = Together(Latency("redis", 20, client=CLIENT), HttpStatus("github", 200))
    with pytest.raises(FaultError, match="code must be an integer"):
        both.inject(stack)
    assert toxiproxy(stack).proxy("redis").toxics == {}


def test_a_ramp_is_felt_step_by_step(stack: Stack) -> None:
    fault = Ramp(Latency("redis", 1, client=CLIENT), "latency_ms", (100, 300), step_s=6)

    def answer_s() -> float:
        answer = vantage.round_trip(stack, CLIENT, "redis", "toxiproxy", 6379, 10).answer_s
        assert answer is not None
        return answer

    fault.inject(stack)
    try:
        assert 0.1 <= min(answer_s() for _ in range(3)) < 0.3
        eventually(lambda: answer_s() >= 0.3, timeout_s=15, what="the second dose", interval_s=0.2)
        seen_effective(fault, stack)
    finally:
        fault.heal(stack)
    seen_healed(fault, stack)


def test_flapping_is_stopped_at_once_and_stays_stopped(stack: Stack) -> None:
    took_s = min(stopped_flapping_s(stack) for _ in range(3))  # others may need the processor
    assert took_s < 0.25, "an injection under way included"


def stopped_flapping_s(stack: Stack) -> float:
    """How long it took to stop a fault that comes and goes, and that doesn't come again."""
    fault = Flapping(Refuse("redis", client=CLIENT), on_s=0.1, off_s=0.1, cycles=1_000)
    fault.inject(stack)
    proxy = toxiproxy(stack)
    for wanted in (True, False, True, False):
        eventually(
            lambda wanted=wanted: proxy.proxy("redis").enabled is wanted,  # type: ignore[misc]
            timeout_s=15,
            what="it to come and go",
            interval_s=0.01,
        )
    begun = time.monotonic()
    fault.heal(stack)
    took_s = time.monotonic() - begun
    states = {proxy.proxy("redis").enabled for _ in range(40)}
    assert states == {True}
    return took_s


def test_a_proxy_that_hangs_when_a_toxic_is_removed_is_started_anew(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Latency("redis", 300, client=CLIENT, seen_from=CLIENT)
    fault.inject(stack)
    begun = stack.container("toxiproxy").attrs["State"]["StartedAt"]
    seen_effective(fault, stack)
    ask = Toxiproxy._call

    def hang_once(server: Toxiproxy, method: str, path: str, json: object = None) -> httpx.Response:
        if method == "DELETE":
            monkeypatch.setattr(Toxiproxy, "_call", ask)
            raise Unanswered(f"{method} {path} was not answered")
        return ask(server, method, path, json)

    monkeypatch.setattr(Toxiproxy, "_call", hang_once)
    fault.heal(stack)
    assert stack.container("toxiproxy").attrs["State"]["StartedAt"] != begun
    seen_healed(fault, stack)
    assert leftovers(stack) == []
