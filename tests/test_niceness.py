"""The tests give way to what they test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from alertdrill.niceness import give_way, session_niceness


@pytest.fixture
def process() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as started:
        yield started.pid
        started.kill()


def niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def test_a_process_and_its_session_are_lowered(process: int) -> None:
    if session_niceness(process) is None:
        pytest.skip("this kernel doesn't group processes by session")
    give_way(niceness(process) + 3, process, session=True)
    assert niceness(process) == session_niceness(process) != niceness(os.getpid())


def test_a_session_that_others_may_be_in_is_left_alone(process: int) -> None:
    before = session_niceness(process)
    give_way(niceness(process) + 3, process, session=False)
    assert session_niceness(process) == before


def test_what_is_lower_stays_so(process: int) -> None:
    lower = niceness(process) + 4
    give_way(lower, process, session=True)
    give_way(lower - 2, process, session=True)
    assert niceness(process) == lower
    assert session_niceness(process) in (None, lower)


def test_a_process_that_is_gone_is_an_error(process: int) -> None:
    os.kill(process, 9)
    os.waitpid(process, 0)
    with pytest.raises(ProcessLookupError):
        give_way(5, process, session=True)
