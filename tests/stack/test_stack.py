"""A stack's life: ready when its components say so, alone on its network, gone without a trace."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import docker
import httpx
import pytest

from alertdrill.errors import ComponentNotReady, StackError, UsageError
from alertdrill.stack.component import Component, StackSpec
from alertdrill.stack.explore import remove_kept, running
from alertdrill.stack.leftovers import RUN_LABEL
from alertdrill.stack.readiness import command_ok, http_ok
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually
from tests.stack.small import ROOT, small_stack

pytestmark = pytest.mark.docker

REAPED_WITHIN_S = 10.0


def left_behind(client: docker.DockerClient, run_id: str) -> list[str]:
    label = {"label": f"{RUN_LABEL}={run_id}"}
    containers = client.containers.list(all=True, filters=label, ignore_removed=True)
    return [c.name for c in containers] + [n.name for n in client.networks.list(filters=label)]


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env(timeout=20)
    yield client
    client.close()


def test_every_component_is_ready_and_nothing_is_left_after_success(
    engine: docker.DockerClient,
) -> None:
    with small_stack() as stack:
        assert httpx.get(stack.url("receiver") + "/-/ready", timeout=20).status_code == 200
        assert stack.exec("redis", ["redis-cli", "PING"]) == (0, "PONG\n")
        assert {s.component for s in stack.started} == {"receiver", "redis"}
        assert left_behind(engine, stack.run_id)
    assert left_behind(engine, stack.run_id) == []


def test_ports_are_published_on_loopback_only(engine: docker.DockerClient) -> None:
    with small_stack() as stack:
        bindings = stack.container("receiver").attrs["NetworkSettings"]["Ports"]["8080/tcp"]
    assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]


def test_a_restarted_component_comes_back_at_the_same_address() -> None:
    with small_stack() as stack:
        before = stack.url("receiver")
        stack.container("receiver").kill()
        stack.container("receiver").start()
        stack.wait_ready("receiver")
        assert stack.url("receiver") == before
        assert httpx.get(before + "/-/ready", timeout=20).is_success


def test_two_stacks_side_by_side_do_not_see_each_other() -> None:
    code = (
        "import socket,sys\n"
        "try: socket.create_connection((sys.argv[1], 8080), timeout=1)\n"
        "except OSError: sys.exit(9)\n"
    )
    with small_stack() as one, small_stack() as other:
        address = other.container("receiver").attrs["NetworkSettings"]["Networks"]
        theirs = next(iter(address.values()))["IPAddress"]
        ours = one.container("receiver").attrs["NetworkSettings"]["Networks"]
        mine = next(iter(ours.values()))["IPAddress"]
        assert one.exec("receiver", ["python3", "-c", code, mine])[0] == 0
        assert one.exec("receiver", ["python3", "-c", code, theirs])[0] == 9
        assert one.url("receiver") != other.url("receiver")
        # The same name, in each network, is that network's own component.
        httpx.post(one.url("receiver") + "/webhooks", json={"n": 1}, timeout=20)
        seen = httpx.get(other.url("receiver") + "/webhooks?after=0", timeout=20).json()
        assert seen["webhooks"] == []


@pytest.mark.parametrize(
    ("ending", "number", "code"),
    [
        ("return", None, 0),
        ("raise", None, 1),
        ("wait", signal.SIGINT, -signal.SIGINT),
        ("wait", signal.SIGTERM, -signal.SIGTERM),
        ("wait", signal.SIGKILL, -signal.SIGKILL),
    ],
    ids=["success", "exception", "ctrl-c", "sigterm", "sigkill"],
)
def test_nothing_stays_behind_however_the_runner_ends(
    engine: docker.DockerClient, ending: str, number: signal.Signals | None, code: int
) -> None:
    with runner(ending) as (process, run_id):
        if ending == "wait":
            assert left_behind(engine, run_id), "there must be something to clean up"
        if number is not None:
            os.kill(process.pid, number)
        assert process.wait(timeout=30) == code
        eventually(
            lambda: not left_behind(engine, run_id),
            timeout_s=REAPED_WITHIN_S,
            what=f"run {run_id} to be reaped",
        )


def test_the_reaper_ends_with_its_work(engine: docker.DockerClient) -> None:
    with small_stack() as stack:
        assert stack.reaper_pid is not None
        pid = stack.reaper_pid
        os.kill(pid, 0)  # it runs
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@contextlib.contextmanager
def runner(ending: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.stack.runner", ending],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        word, run_id, _ = process.stdout.readline().split()
        assert word == "up"
        yield process, run_id
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)


def never_ready(name: str, *, timeout_s: float) -> Component:
    return Component(
        name,
        image="receiver",
        command=(
            *("python3", "-c"),
            "import time; [print(f'line {n}', flush=True) for n in range(50)]; time.sleep(60)",
        ),
        ports={"http": 8080},
        ready=http_ok("/-/ready", timeout_s=timeout_s),
    )


def test_one_that_does_not_get_ready_is_named_with_its_log_and_the_rest_is_removed(
    engine: docker.DockerClient,
) -> None:
    stack = small_stack(never_ready("sleeper", timeout_s=10.0))
    with pytest.raises(ComponentNotReady) as caught:
        stack.start()
    message = str(caught.value)
    assert "sleeper did not get ready: awaited GET /-/ready on port http" in message
    assert "line 49" in message
    assert "line 19\n" not in message, "only the last 30 lines"
    assert left_behind(engine, stack.run_id) == []


def test_one_that_exits_is_not_waited_for(engine: docker.DockerClient) -> None:
    quitter = Component(
        "quitter",
        image="receiver",
        command=(
            *("python3", "-c"),
            "import sys, time; print('no disk', flush=True); time.sleep(1); sys.exit(7)",
        ),
        ports={"http": 8080},
        ready=http_ok("/-/ready", timeout_s=60.0),
    )
    stack = small_stack(quitter)
    with pytest.raises(ComponentNotReady, match=r"exited with code 7[\s\S]*no disk"):
        stack.start()
    assert left_behind(engine, stack.run_id) == []


def test_a_dependent_waits_for_what_it_depends_on() -> None:
    late = Component(
        "late",
        image="redis",
        command=("redis-server", "--save", ""),
        depends_on=("receiver",),
        ready=command_ok("redis-cli", "PING", prints="PONG"),
    )
    with small_stack(late) as stack:
        ready = {s.component: s.ready_s for s in stack.started}
        assert ready["late"] > ready["receiver"]


def test_a_kept_stack_outlives_its_starter_and_is_removed_on_request(
    engine: docker.DockerClient,
) -> None:
    stack = small_stack(keep=True).start()
    try:
        here = {c.component: c for c in running(engine) if c.run_id == stack.run_id}
        assert set(here) == {"receiver", "redis"}
        assert "http://" + here["receiver"].urls["http"] == stack.url("receiver")
    finally:
        removed = remove_kept(engine, stack.run_id)
    assert removed == [stack.run_id]
    assert left_behind(engine, stack.run_id) == []


def test_what_a_stack_has_not_is_said() -> None:
    with small_stack() as stack:
        with pytest.raises(StackError, match="publishes no port 'metrics'"):
            stack.url("receiver", "metrics")
        with pytest.raises(StackError, match="no component 'kafka'"):
            stack.url("kafka")


def test_declarations_that_cannot_work_are_refused_before_anything_starts() -> None:
    ready = command_ok("true")
    a = Component("a", image="redis", ready=ready, depends_on=("b",))
    b = Component("b", image="redis", ready=ready, depends_on=("a",))
    spec = StackSpec(images=(), components=(a, b), profiles={})
    with pytest.raises(UsageError, match="in a circle"):
        Stack(spec, ["a"], images={}, project_root=ROOT)
    with pytest.raises(UsageError, match="no component 'c'"):
        Stack(spec, ["c"], images={}, project_root=ROOT)
