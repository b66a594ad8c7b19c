"""Locust as a process: it keeps its plan, tells when it does not, and never outlives the runner."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from alertdrill.errors import LoadError, UsageError
from alertdrill.load.plan import Load
from alertdrill.load.session import LoadSession
from alertdrill.load.window import SHORTEST_JUDGED_S, LoadHealth, Window
from alertdrill.wait import eventually

from .conftest import TRIES, Server, kept_plan, wait_for_requests

START_S = 30.0


def session(
    server: Server, project: Path, timeout_s: float = 10.0, hold_s: float = 2.0, **rates: float
) -> LoadSession:
    load = Load("locustfile.py", rates, timeout_s=timeout_s, hold_s=hold_s)
    return LoadSession(load, server.url, project.parent / "out", project)


def wait_until_invalid(running: LoadSession, since: float) -> LoadHealth:
    """Judge what has passed since ``since`` again and again until it is invalid."""

    def probe() -> LoadHealth | None:
        health = running.validity(since)
        return None if health.valid else health

    return eventually(probe, timeout_s=20, what="the load to become invalid")


def valid_since(running: LoadSession) -> float:
    """When a stretch began, long enough to be judged, in which the load kept its plan."""

    def probe() -> float | None:
        since = time.monotonic() - SHORTEST_JUDGED_S
        return since if running.validity(since).valid else None

    return eventually(probe, timeout_s=20, what="a load that keeps its plan")


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has reaped yet has."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rsplit(")", 1)[1].split()[0] in ("Z", "X")


def test_the_plan_is_kept_also_when_answers_are_slow(server: Server, project: Path) -> None:
    def answered_as_usual(window: Window) -> bool:
        seen = window.latency
        return seen is not None and seen.p50 < 400 and 800 <= seen.worst < 2000

    with session(server, project, hold_s=8.0, Fast=40, Slow=10) as running:
        running.wait_started(START_S)
        since, until = kept_plan(running, 105, answered_as_usual, Fast=40, Slow=10)
        window = running.since(since, until)
        health = running.validity(since, until)
        snapshot = running.snapshot()
        # What the server saw agrees with what the load claims.
        eventually(
            lambda: (
                running.since(0).by_user["Fast"].requests
                == sum(path == "/fast" for _, path, _, _ in server.manners.seen)
            ),
            timeout_s=10,
            what="load and server to agree",
            interval_s=0.005,
        )

    assert window.failed == 0, window.errors
    assert set(window.by_name) == {"GET /fast", "POST /slow"}
    # Every acknowledged key is the key of a request, and each is used once.
    assert len(set(window.acknowledged)) == window.by_user["Slow"].requests
    assert health.valid, health.why
    assert snapshot.alive
    assert snapshot.users["Slow"].inflight >= 5
    assert snapshot.users["Fast"].missed == 0


def test_the_first_requests_are_spread_like_all_others(
    server: Server, project: Path, tmp_path: Path
) -> None:
    for _ in range(TRIES):  # kept from the processor, Locust sends some of them together
        with session(server, project, Fast=40) as running:
            running.wait_started(START_S)
            wait_for_requests(running, 0.0, 41)
        events = [json.loads(line) for line in running.log.with_name("requests.jsonl").open()]
        starts = sorted(event["s"] for event in events if event.get("user") == "Fast")[:41]
        median = statistics.median(later - earlier for earlier, later in pairwise(starts))
        if median == pytest.approx(1 / 40, rel=0.2):
            return
    raise AssertionError(f"the last time they came {median} s after one another")


def test_a_load_goes_on_while_its_requests_go_to_another_file(
    server: Server, project: Path, tmp_path: Path
) -> None:
    with session(server, project, Fast=20.0) as running:
        running.wait_started(START_S)
        wait_for_requests(running, 0.0, 10)
        first = running.log.with_name("requests.jsonl")
        running.write_to(tmp_path / "next")
        since, size = time.monotonic(), first.stat().st_size
        wait_for_requests(running, since, 10)
        eventually(running.is_sound, timeout_s=20, what="a load that has kept its plan")
    assert first.stat().st_size == size
    lines = [json.loads(line) for line in (tmp_path / "next" / "requests.jsonl").open()]
    finished = [line for line in lines if line.get("user") == "Fast"]
    assert len(finished) >= 10
    assert not running.is_sound()


def test_every_failure_is_counted_under_its_name(server: Server, project: Path) -> None:
    kinds = ("Fast", "Refused", "Redirected", "Malformed", "Truncated", "Trickled")
    with session(server, project, 5.0, 8.0, **dict.fromkeys(kinds, 4.0)) as running:
        running.wait_started(START_S)
        window = running.since(0)
        valid_since(running)  # the system fails, the load does not
    tallies = {
        user: tally.failed / tally.requests for user, tally in sorted(window.by_user.items())
    }
    assert tallies == {"Fast": 0.0} | dict.fromkeys(kinds[1:], 1.0)
    assert {"HTTP 503", "HTTP 302", "malformed JSON", "HTTPParseError"} < set(window.errors)
    # The trickle sends a byte every 0.2 s: only a bound on the whole request ends it.
    assert window.latency is not None
    assert 5000 <= window.latency.worst < 15000
    assert "Timeout" in window.errors
    assert window.acknowledged == ()
    assert len(window.uncertain) == window.by_user["Refused"].requests


def test_a_server_that_refuses_does_not_make_the_load_invalid(
    server: Server, project: Path
) -> None:
    server.shutdown()
    server.server_close()
    with session(server, project, Fast=20) as running:
        running.wait_started(START_S)
        window = running.since(valid_since(running))
    assert window.failed == window.requests
    assert set(window.errors) == {"ConnectionRefusedError"}


def test_a_server_that_hangs_makes_the_load_invalid(server: Server, project: Path) -> None:
    load = Load("locustfile.py", {"Fast": 10}, timeout_s=20, hold_s=0.5)
    with LoadSession(load, server.url, project.parent / "out", project) as running:
        running.wait_started(START_S)
        valid_since(running)
        server.manners.hung.set()
        eventually(
            lambda: running.snapshot().users["Fast"].inflight == 5,
            timeout_s=20,
            what="every user to wait",
        )
        hung = wait_until_invalid(running, time.monotonic())
    assert "Fast started" in hung.why
    assert "5 still wait for an answer" in hung.why


def test_a_locust_that_is_killed_makes_the_load_invalid(server: Server, project: Path) -> None:
    with session(server, project, Fast=10) as running:
        running.wait_started(START_S)
        since = valid_since(running)
        killed = time.monotonic()
        assert running.validity(since, killed).valid
        os.kill(running.pid, signal.SIGKILL)
        eventually(lambda: not running.snapshot().alive, timeout_s=20, what="the death to be seen")
        health = running.validity(since)
        # Before it died, all was well.
        assert running.validity(since, killed).valid
    assert not health.valid
    assert "killed by signal 9" in health.why
    assert not running.validity(since, time.monotonic()).valid


def test_a_locust_that_stands_still_is_invalid_and_killed_in_the_end(
    server: Server, project: Path
) -> None:
    with session(server, project, Fast=10) as running:
        running.wait_started(START_S)
        pid = running.pid
        valid_since(running)
        os.kill(pid, signal.SIGSTOP)
        health = wait_until_invalid(running, time.monotonic())
        stopping = time.monotonic()
    # It can't answer SIGTERM while it stands still.
    assert 2.5 < time.monotonic() - stopping < 20.0
    assert "no heartbeat" in health.why
    assert gone(pid)


def test_stopping_is_orderly_and_leaves_the_past_valid(server: Server, project: Path) -> None:
    with session(server, project, Fast=10) as running:
        running.wait_started(START_S)
        since = valid_since(running)
        process = running._process
    assert process is not None
    assert process.returncode != -signal.SIGKILL, "it ended by itself, when it was asked to"
    assert gone(process.pid)
    running.stop()
    assert running.validity(since).valid, running.validity(since).why
    late = running.validity(since, time.monotonic() + 1)
    assert not late.valid
    assert "stopped before the window ended" in late.why
    with pytest.raises(LoadError, match="runs once"):
        running.start()


def test_a_locustfile_that_raises_makes_the_load_invalid(server: Server, project: Path) -> None:
    with session(server, project, Buggy=20) as running:
        running.wait_started(START_S)
        health = wait_until_invalid(running, time.monotonic())
    assert "the locustfile raised in Buggy: KeyError: 'nothing of the kind'" in health.why


def test_a_locustfile_cannot_leave_the_host(server: Server, project: Path) -> None:
    with session(server, project, Stray=10) as running:
        health = eventually(
            lambda: None if "no path on the host" not in (why := running.validity(0).why) else why,
            timeout_s=START_S,
            what="the refusal",
        )
        assert running.since(0).requests == 0
    assert "ValueError" in health


@pytest.mark.parametrize(
    ("source", "user", "words"),
    [
        ("import no_such_module_at_all\n", "Fast", "no_such_module_at_all"),
        (None, "NoSuchUser", "Unknown User"),
    ],
)
def test_a_locust_that_does_not_start_says_why(
    server: Server, project: Path, source: str | None, user: str, words: str
) -> None:
    if source is not None:
        (project / "locustfile.py").write_text(source)
    with session(server, project, **{user: 1.0}) as running:
        with pytest.raises(LoadError, match=r"Locust exited with code 1") as caught:
            running.wait_started(START_S)
        assert not running.validity(time.monotonic() - 1).valid
    assert words in str(caught.value)
    assert str(running.log) in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "http://192.0.2.1:8000",
        "http://example.org",
        "http://127.0.0.1.example.org:8000",
        "http://127.0.0.1:8000@example.org",
        "http://user:secret@127.0.0.1:8000",
        "https://127.0.0.1:8000",
        "http://0.0.0.0:8000",
        "127.0.0.1:8000",
        "http://127.0.0.1:8000/api",
        "",
    ],
)
def test_other_hosts_than_loopback_are_refused(project: Path, host: str) -> None:
    load = Load("locustfile.py", {"Fast": 1.0})
    with pytest.raises(UsageError, match="loopback only"):
        LoadSession(load, host, project, project)


@pytest.mark.parametrize(
    "host", ["http://127.0.0.1:8000", "http://127.0.0.1:8000/", "http://localhost:8000"]
)
def test_loopback_is_accepted(project: Path, host: str) -> None:
    load = Load("locustfile.py", {"Fast": 1.0})
    assert LoadSession(load, host, project, project).host == host.rstrip("/")


def test_a_missing_locustfile_is_wrong_usage(project: Path) -> None:
    load = Load("nowhere.py", {"Fast": 1.0})
    running = LoadSession(load, "http://127.0.0.1:1", project.parent / "out", project)
    with pytest.raises(UsageError, match=r"no locustfile .*nowhere\.py"):
        running.start()


RUNNER = """
import os, signal, sys
from pathlib import Path
from alertdrill.load.plan import Load
from alertdrill.load.session import LoadSession

url, project, heir = sys.argv[1:]
load = Load("locustfile.py", {"Fast": 10.0})
with LoadSession(load, url, Path(project) / "out", Path(project)) as running:
    running.wait_started(30)
    child = 0
    if heir == "heir" and (child := os.fork()) == 0:
        signal.pause()
    print(running.pid, child, flush=True)
    signal.pause()
"""


@pytest.fixture
def runner(server: Server, project: Path) -> Callable[[str], subprocess.Popen[str]]:
    def start(heir: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", RUNNER, server.url, str(project), heir],
            stdout=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.mark.parametrize("heir", ["alone", "heir"])
def test_locust_dies_with_a_runner_that_is_killed(
    runner: Callable[[str], subprocess.Popen[str]], heir: str
) -> None:
    """Also when a fork of the runner still holds its pipes open."""
    with runner(heir) as process:
        assert process.stdout is not None
        locust, child = map(int, process.stdout.readline().split())
        assert not gone(locust)
        try:
            process.kill()
            process.wait()
            eventually(lambda: gone(locust), timeout_s=20, what="Locust to die with its runner")
            assert heir == "alone" or not gone(child)
        finally:
            if child:
                os.kill(child, signal.SIGKILL)


def test_the_runner_never_imports_locust() -> None:
    code = (
        "import sys, alertdrill.load.session, loadtests\n"
        "assert not {'locust', 'gevent'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
