"""Nothing stays broken, wherever between two instructions a signal arrives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from alertdrill import shield
from alertdrill.shield import first_finished, signals_deferred, undone

Way = Callable[[Callable[[], None], Callable[[], None]], None]


def by_finally(work: Callable[[], None], undo: Callable[[], None]) -> None:
    """What ``undone`` is there to replace."""
    try:
        work()
    finally:
        with signals_deferred():
            undo()


class World:
    """Something to break, with more than one step each way."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def work(self) -> None:
        self.broken.append("a")
        self.broken.append("b")

    def undo(self) -> None:
        self.broken = [thing for thing in self.broken if thing != "b"]
        self.broken = [thing for thing in self.broken if thing != "a"]


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


FILES = (__file__, shield.__file__)


def signalled_at(moment: int, act: Callable[[], None]) -> bool:
    """Run ``act`` and send SIGINT before the bytecode instruction number ``moment`` of it, in
    these files; False: it has fewer."""
    count = 0

    def trace(frame: types.FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename not in FILES:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            count += 1
            if count == moment:
                signal.raise_signal(signal.SIGINT)
        return trace

    traced = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(traced)
    return count >= moment


def moments_that_leave_it_broken(way: Way) -> list[int]:
    found = []
    moment = 1
    while True:
        world = World()
        if not signalled_at(moment, lambda w=world: way(w.work, w.undo)):  # type: ignore[misc]
            return found
        with pytest.raises(KeyboardInterrupt):  # and the next signal is delivered as ever
            signal.raise_signal(signal.SIGINT)
        if world.broken:
            found.append(moment)
        moment += 1


def test_no_moment_leaves_it_broken() -> None:
    assert moments_that_leave_it_broken(undone) == []


def test_a_plain_finally_has_moments_that_do() -> None:
    assert moments_that_leave_it_broken(by_finally)


def test_an_error_of_the_work_is_raised_when_it_is_undone() -> None:
    world = World()

    def fail() -> None:
        world.work()
        raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        undone(fail, world.undo)
    assert world.broken == []


def test_a_signal_during_undoing_is_delivered_afterwards() -> None:
    world = World()

    def undo() -> None:
        signal.raise_signal(signal.SIGINT)
        world.undo()

    with pytest.raises(KeyboardInterrupt):
        undone(world.work, undo)
    assert world.broken == []


DIES = """
import signal, time
from alertdrill.shield import undone
signal.signal(signal.SIGTERM, signal.SIG_DFL)
undone(lambda: signal.raise_signal(signal.SIGTERM), lambda: print("undone", flush=True))
print("went on")
"""


def test_a_signal_that_nobody_handles_ends_the_process_after_undoing() -> None:
    ran = subprocess.run([sys.executable, "-c", DIES], capture_output=True, text=True, timeout=20)
    assert (ran.stdout, ran.returncode) == ("undone\n", -signal.SIGTERM)


def test_what_is_finished_is_given_and_a_signal_ends_the_wait() -> None:
    hurries, waits = Future[int](), Future[int]()
    hurries.set_result(1)
    assert first_finished([hurries, waits]) == {hurries}
    interrupting = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT])
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        first_finished([waits])
    interrupting.join()
