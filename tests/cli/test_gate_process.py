"""The gate as a process: what it leaves when it is stopped in the middle of a fault."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from alertdrill.report.folder import RunFolder
from alertdrill.stack.leftovers import RUN_LABEL
from alertdrill.wait import eventually
from tests.cli.project import copy_project

pytestmark = pytest.mark.docker


INJECTED = '"event": "injected"'
SLOW = """
import time
from xdist.workermanage import NodeManager
from alertdrill.stack.run import Stack

stop = Stack.stop

def stop_slowly(stack):
    if "gw1" in stack.run_id:
        time.sleep(NodeManager.EXIT_TIMEOUT + 5)
    stop(stack)

Stack.stop = stop_slowly
"""


@pytest.fixture
def gate(
    tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[subprocess.Popen[bytes], RunFolder]]:
    """A gate that has just injected a fault; the parameter says on how many stacks, and what else
    it shall have come to.

    One of two stacks takes longer to remove than pytest-xdist would wait for it.
    """
    stacks, awaited = getattr(request, "param", (1, INJECTED))
    select = "refuses" if stacks == 1 else "refuses or killed"
    project = copy_project(tmp_path)
    if stacks == 2:
        (project / "conftest.py").write_text(SLOW, encoding="utf-8")
    process = subprocess.Popen(
        # A slow clock: these tests are about the process, and run beside others.
        [
            *(sys.executable, "-m", "alertdrill", "gate", "--stacks", str(stacks)),
            *("-k", select, "--clock", "20"),
        ],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )

    def far_enough() -> RunFolder | None:
        assert process.poll() is None, process.stdout and process.stdout.read().decode()
        for timeline in project.glob("out/2*/timeline.jsonl"):
            if awaited in timeline.read_text(encoding="utf-8"):
                return RunFolder(timeline.parent)
        return None

    try:
        yield process, eventually(far_enough, timeout_s=300, what=awaited, interval_s=0.2)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)


def alive(folder: RunFolder) -> list[str]:
    """Containers of the run."""
    client = docker.from_env(timeout=20)
    try:
        containers = client.containers.list(
            all=True, filters={"label": RUN_LABEL}, ignore_removed=True
        )
        return [c.name for c in containers if c.labels[RUN_LABEL].startswith(folder.run_id)]
    finally:
        client.close()


def its_pytest(process: subprocess.Popen[bytes]) -> int:
    """The only child of a gate."""
    [child] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


@pytest.mark.parametrize(
    ("gate", "number", "stopped"),
    [
        ((1, INJECTED), signal.SIGINT, lambda process: process.pid),
        ((1, INJECTED), signal.SIGTERM, lambda process: process.pid),
        ((2, INJECTED), signal.SIGINT, lambda process: process.pid),
        ((2, INJECTED), signal.SIGTERM, its_pytest),
    ],
    ids=["ctrl-c", "sigterm", "ctrl-c, two stacks", "its pytest alone, two stacks"],
    indirect=["gate"],
)
def test_a_gate_that_is_stopped_heals_removes_and_says_unknown(
    gate: tuple[subprocess.Popen[bytes], RunFolder],
    number: signal.Signals,
    stopped: Callable[[subprocess.Popen[bytes]], int],
) -> None:
    process, folder = gate
    assert alive(folder)
    os.kill(stopped(process), number)
    assert process.wait(timeout=90) == 3
    assert alive(folder) == []
    document = folder.read_verdict()
    assert document["verdict"] == "unknown"
    assert document["interrupted"] is True
    assert {d["reason"] for d in document["drills"]} == {"interrupted"}
    assert '"event": "healed"' in folder.timeline.read_text(encoding="utf-8")


@pytest.mark.parametrize("gate", [(2, "ready (2/")], ids=["two stacks"], indirect=True)
def test_a_gate_that_is_stopped_while_its_stacks_start_removes_them(
    gate: tuple[subprocess.Popen[bytes], RunFolder],
) -> None:
    process, folder = gate
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=90) == 3
    assert alive(folder) == []
    assert {d["reason"] for d in folder.read_verdict()["drills"]} == {"interrupted"}


def test_a_gate_that_is_killed_leaves_nothing_behind(
    gate: tuple[subprocess.Popen[bytes], RunFolder],
) -> None:
    process, folder = gate
    assert alive(folder)
    process.kill()
    process.wait(timeout=10)
    eventually(lambda: not alive(folder), timeout_s=10, what="the reaper", interval_s=0.2)
