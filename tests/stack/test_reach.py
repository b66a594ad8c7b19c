"""A command in a container: run once, and all that it printed is there, however late we are."""

from __future__ import annotations

import http.client
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from alertdrill.errors import StackError
from alertdrill.stack import execution, reach
from alertdrill.stack.run import Stack
from tests.stack.small import small_stack

pytestmark = pytest.mark.docker

LATE_S = 1.0


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with small_stack(names=("receiver",)) as stack:
        yield stack


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """We read the engine's answers when commands have long printed, as on a busy machine."""
    begin = http.client.HTTPResponse.begin

    def begin_late(response: http.client.HTTPResponse) -> None:
        time.sleep(LATE_S)
        begin(response)

    monkeypatch.setattr(http.client.HTTPResponse, "begin", begin_late)


@pytest.mark.usefixtures("late")
def test_what_a_command_prints_at_once_is_read_late(stack: Stack) -> None:
    prints = ["sh", "-c", "echo said; echo complained >&2"]
    code, output = stack.exec("receiver", prints)
    assert (code, sorted(output.split())) == (0, ["complained", "said"])


@pytest.mark.usefixtures("late")
def test_the_engines_client_would_lose_it(stack: Stack) -> None:
    """If it no longer does, ``alertdrill.stack.execution`` can go."""
    receiver = stack.container("receiver")
    # A busy machine may be later than we are.
    assert any(receiver.exec_run(["echo", "said"]).output == b"" for _ in range(5))


def test_a_command_runs_once(stack: Stack) -> None:
    for _ in range(20):
        assert stack.exec("receiver", ["sh", "-c", "echo once >> /tmp/ran"]) == (0, "")
    assert stack.exec("receiver", ["cat", "/tmp/ran"]) == (0, "once\n" * 20)


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["sh", "-c", "echo no such thing >&2; exit 3"], 3, "no such thing\n"),
        (["false"], 1, ""),
        (["cat"], 0, ""),
    ],
    ids=["a failure", "a failure without words", "nothing to read"],
)
def test_it_ends_as_the_command_does(stack: Stack, argv: list[str], code: int, said: str) -> None:
    assert stack.exec("receiver", argv) == (code, said)


def test_a_command_that_isnt_there_is_a_failure(stack: Stack) -> None:
    code, said = stack.exec("receiver", ["nonesuch"])
    assert code == 127
    assert "nonesuch" in said


def test_a_command_that_runs_too_long_is_an_error(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "EXEC_TIMEOUT_S", 1)
    with pytest.raises(StackError, match="sleep took longer than 1 s"):
        stack.exec("receiver", ["sleep", "60"])


def test_a_command_whose_container_ends_is_a_failure(stack: Stack) -> None:
    container = stack.container("receiver")
    killed = threading.Timer(0.5, container.kill)
    killed.start()
    try:
        code, _ = stack.exec("receiver", ["sleep", "60"])
    finally:
        killed.join()
        container.start()
        stack.wait_ready("receiver")
    assert code == 128 + signal.SIGKILL


def test_an_engine_that_never_tells_the_end_is_an_error(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "EXEC_TIMEOUT_S", 1)
    monkeypatch.setattr(execution, "SPARE_S", 1.0)
    container = stack.container("receiver")
    frozen = threading.Timer(0.5, container.pause)
    frozen.start()
    try:
        with pytest.raises(StackError, match=r"broke off sleep in .*receiver.*: timed out"):
            stack.exec("receiver", ["sleep", "60"])
    finally:
        frozen.join()
        container.unpause()
