"""A watched child, and all that it leaves, is gone however its parent ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alertdrill.errors import ComponentNotReady
from alertdrill.rules.child import WatchedChild
from alertdrill.wait import eventually

# Stands in for a server: keeps its process id and what it was told in its data folder.
SERVER = """
import os, signal, sys, time
from pathlib import Path
data = Path(sys.argv[1])
def end(*_):
    (data / "ended").write_text("in order")
    sys.exit(0)
signal.signal(signal.SIGTERM, {on_term})
(data / "pid").write_text(str(os.getpid()))
print('msg="Listening on" component=web address=127.0.0.1:9', file=sys.stderr, flush=True)
time.sleep({seconds})
sys.exit({code})
"""
PARENT = """
import sys, time
from pathlib import Path
from alertdrill.rules.child import WatchedChild
child = WatchedChild("Server")
child.start([sys.executable, "-c", sys.argv[1], str(child.scratch)])
print(child.scratch, flush=True)
{then}
"""


def server(on_term: str = "end", seconds: float = 60, code: int = 0) -> str:
    return SERVER.format(on_term=on_term, seconds=seconds, code=code)


def command(child: WatchedChild, text: str) -> list[str]:
    return [sys.executable, "-c", text, str(child.scratch)]


def runs(pid: int) -> bool:
    """Whether it does; one that has ended and that nobody has asked about doesn't."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def ended(pid: int, scratch: Path) -> None:
    eventually(lambda: not runs(pid), timeout_s=10, what="the server to end")
    eventually(lambda: not scratch.exists(), timeout_s=10, what="its data to go")


def test_it_says_where_it_listens_and_is_gone_after_close():
    child = WatchedChild("Server")
    try:
        assert child.start(command(child, server())) == "127.0.0.1:9"
        pid = int((child.scratch / "pid").read_text())
        assert runs(pid)
    finally:
        child.close()
    assert not runs(pid)
    assert not child.scratch.exists()


def test_an_orderly_end_keeps_the_data_for_another_start():
    child = WatchedChild("Server")
    try:
        child.start(command(child, server()))
        first = (child.scratch / "pid").read_text()
        child.stop()
        assert (child.scratch / "ended").read_text() == "in order"
        child.start(command(child, server()))
        assert (child.scratch / "pid").read_text() != first
    finally:
        child.close()
    assert not child.scratch.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("deaf", [False, True], ids=["listens", "ignores SIGTERM"])
def test_a_killed_parent_leaves_nothing(number, deaf):
    killed_by(number, server(on_term="signal.SIG_IGN" if deaf else "end"), "time.sleep(60)")


def test_nor_does_one_that_is_killed_while_it_waits_for_an_orderly_end():
    killed_by(signal.SIGKILL, server(on_term="signal.SIG_IGN"), "child.stop()")


def killed_by(number: signal.Signals, text: str, then: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(then=then), text],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert parent.stdout is not None
        scratch = Path(parent.stdout.readline().strip())
        pid = int((scratch / "pid").read_text())
        assert runs(pid)
    finally:
        parent.send_signal(number)
        parent.communicate(timeout=10)
    ended(pid, scratch)


@pytest.mark.parametrize("code", [0, 3])
def test_one_that_ends_by_itself_is_not_waited_for(code):
    text = server(seconds=0, code=code).replace("Listening", "Leaving")
    child = WatchedChild("Server")
    begun = time.monotonic()
    try:
        with pytest.raises(ComponentNotReady, match=r"Server \(.*\) did not start: .*Leaving"):
            child.start(command(child, text))
    finally:
        child.close()
    assert time.monotonic() - begun < 10.0
    assert not child.scratch.exists()


def test_a_program_that_is_not_there_is_said():
    child = WatchedChild("Server")
    try:
        with pytest.raises(ComponentNotReady, match=r"did not start: .*not found"):
            child.start(["/nowhere/server"])
    finally:
        child.close()


def test_stopping_what_has_ended_is_no_error():
    child = WatchedChild("Server")
    try:
        child.start(command(child, server(seconds=0.0, code=1)))
        process = child._process
        assert process is not None
        process.wait(timeout=10)
        child.stop()
        child.stop()
    finally:
        child.close()
