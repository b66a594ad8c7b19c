"""A kept stack: broken by hand for a while, healed in any case, and never what isn't ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import httpx
import pytest

from alertdrill.errors import FaultError, StackError, UsageError
from alertdrill.faults.guardian import SPARE_S
from alertdrill.faults.network import Refuse
from alertdrill.faults.toxiproxy import toxiproxy
from alertdrill.faults.world import World, survey
from alertdrill.stack.kept import KeptStack, kept_run
from alertdrill.stack.leftovers import COMPONENT_LABEL, RUN_LABEL
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually
from fixtures.stack import STACK
from tests.cli.project import copy_project
from tests.faults import doomed
from tests.stack.small import references

pytestmark = pytest.mark.docker

PAUSE = 'Pause("redis")'
BITES_WITHIN_S = 20.0
# Past the command's own end and the guardian's first look.
HEALED_WITHIN_S = 10.0


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env(timeout=20)
    yield client
    client.close()


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    names = [c.image for c in STACK.components if c.name in doomed.KEPT]
    kept = Stack(
        STACK, doomed.KEPT, images=references(names), project_root=doomed.ROOT, keep=True
    ).start()
    try:
        yield kept
    finally:
        kept.stop()


@pytest.fixture
def before(stack: Stack) -> Iterator[World]:
    world = survey(stack)
    assert world.wrong == []
    yield world
    eventually(
        lambda: world.changes(survey(stack)) == [],
        timeout_s=HEALED_WITHIN_S,
        what="the stack to be as it was",
    )
    # One that doesn't know whether its runner had injected looks for a while longer.
    eventually(lambda: not doomed.is_guarded(stack.run_id), timeout_s=30, what="the guardian to go")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("project"))


def inject(project: Path, stack: Stack, fault: str, *options: str) -> subprocess.Popen[str]:
    argv = ["fault", "inject", fault, "--run", stack.run_id, *options]
    return subprocess.Popen(
        [sys.executable, "-m", "alertdrill", *argv],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project), "PYTHONUNBUFFERED": "1"},
    )


def is_paused(stack: Stack) -> bool:
    return bool(stack.container("redis").attrs["State"]["Paused"])


def seen_paused(stack: Stack) -> None:
    eventually(lambda: is_paused(stack), timeout_s=BITES_WITHIN_S, what="the fault")


def test_one_that_is_let_run_is_proven_healed_and_leaves_nothing(
    project: Path, stack: Stack, before: World
) -> None:
    process = inject(project, stack, PAUSE, "--for", "2s")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "  bites: redis is paused" in output
    assert "  healed: redis is running" in output
    assert before.changes(survey(stack)) == []


def test_one_that_can_not_be_proven_is_not_a_success(
    project: Path, stack: Stack, before: World
) -> None:
    process = inject(project, stack, 'HttpStatus("github", rate=0.0)', "--for", "1s")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 3, output
    assert "wasn't seen to bite" in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_an_interrupt_heals_at_once(
    project: Path, stack: Stack, before: World, number: signal.Signals
) -> None:
    process = inject(project, stack, PAUSE, "--for", "1m")
    seen_paused(stack)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert before.changes(survey(stack)) == []


def test_after_a_kill_the_guardian_heals(project: Path, stack: Stack, before: World) -> None:
    process = inject(project, stack, PAUSE, "--for", "1m")
    seen_paused(stack)
    process.kill()
    process.communicate(timeout=30)
    eventually(lambda: not is_paused(stack), timeout_s=HEALED_WITHIN_S, what="the guardian")


def test_one_that_hangs_is_overtaken_at_its_time_limit(
    project: Path, stack: Stack, before: World
) -> None:
    process = inject(project, stack, PAUSE, "--for", "3s")
    try:
        seen_paused(stack)
        process.send_signal(signal.SIGSTOP)
        eventually(
            lambda: not is_paused(stack), timeout_s=3 + SPARE_S + HEALED_WITHIN_S, what="the end"
        )
    finally:
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=30)


def test_one_at_a_time(project: Path, stack: Stack, before: World) -> None:
    first = inject(project, stack, PAUSE, "--for", "1m")
    try:
        seen_paused(stack)
        second = inject(project, stack, 'CpuQuota("receiver", 0.5)')
        output, _ = second.communicate(timeout=60)
        assert second.returncode == 2
        assert f"run {stack.run_id} has a fault already" in output
        assert is_paused(stack)
    finally:
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=30)


# --- what isn't ours -----------------------------------------------------------------------


def test_which_run_is_said_when_there_is_none(engine: docker.DockerClient, stack: Stack) -> None:
    assert kept_run(engine, stack.run_id) == stack.run_id
    with pytest.raises(UsageError, match="`alertdrill up` left no run 20200101"):
        kept_run(engine, "20200101")


def test_a_container_of_another_run_is_left_alone(
    engine: docker.DockerClient, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = KeptStack(engine, STACK, stack.run_id)
    redis = str(stack.container("redis").id)
    assert ours.container("redis").id == redis
    theirs = KeptStack(engine, STACK, stack.run_id)
    theirs._run_id = "20200101-000000-abcdef"
    monkeypatch.setattr(theirs, "_identifier", lambda _: redis)
    with pytest.raises(StackError, match=rf"is of run {stack.run_id}, not of run 20200101"):
        Refuse("redis", client="redis").exposure(theirs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"network_mode": "host"}, "is in the network host, which isn't its run's own"),
        ({"network": "bridge"}, "is in the network bridge, which isn't its run's own"),
        ({"ports": {"6379/tcp": ("0.0.0.0", 1)}}, "publishes a port at 0.0.0.0:1"),
        ({"ports": {"6379/tcp": ("192.0.2.1", 1)}}, "publishes a port at 192.0.2.1:1"),
        ({"ports": {"6379/tcp": ("127.0.0.1", 1)}}, None),
    ],
    ids=["host network", "other network", "everywhere", "public", "loopback"],
)
def test_what_can_be_reached_from_outside_is_refused(
    engine: docker.DockerClient, stack: Stack, options: dict[str, object], said: str | None
) -> None:
    own = {} if "network_mode" in options else {"network": f"alertdrill-{stack.run_id}"}
    planted = engine.containers.create(  # and never started
        stack.container("redis").attrs["Image"],
        labels={RUN_LABEL: stack.run_id, COMPONENT_LABEL: "planted"},
        **{**own, **options},  # type: ignore[arg-type]
    )
    try:
        if said is None:
            assert set(KeptStack(engine, STACK, stack.run_id).component_names) == {
                c for c in stack.component_names
            }
        else:
            with pytest.raises(UsageError, match=said):
                KeptStack(engine, STACK, stack.run_id)
    finally:
        planted.remove(force=True)


def test_a_proxy_that_leads_to_a_stranger_is_left_alone(stack: Stack, before: World) -> None:
    # Of a block that is nobody's; and nothing connects to it.
    stranger = {"name": "stranger", "listen": "0.0.0.0:9", "upstream": "192.0.2.1:80"}
    url = stack.url("toxiproxy", "api") + "/proxies"
    httpx.post(url, json=stranger, timeout=5).raise_for_status()
    try:
        with pytest.raises(FaultError, match=r"stranger leads to 192\.0\.2\.1"):
            Refuse("stranger", client="receiver").inject(stack)
        assert toxiproxy(stack).proxy("stranger").enabled
    finally:
        httpx.delete(f"{url}/stranger", timeout=5).raise_for_status()
