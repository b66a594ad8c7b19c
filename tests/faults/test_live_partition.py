"""Partitions against the real engine: exactly the named components stop reaching each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from alertdrill.errors import FaultError, UsageError
from alertdrill.faults import vantage
from alertdrill.faults.beside import run_beside
from alertdrill.faults.contract import Fault
from alertdrill.faults.partition import NameGone, Partition
from alertdrill.faults.world import leftovers
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually
from tests.faults.lifecycle import bites_only_while_injected, seen_effective, seen_healed

CLIENT = "receiver"

# Opens a connection, says something, and goes on when told to by a file; prints what it then heard.
_TALK = """
import pathlib, socket, sys, time
with socket.create_connection(("redis", 6379), timeout=5) as s:
    s.sendall(b"PING\\r\\n")
    assert s.recv(100)
    pathlib.Path("/tmp/open").touch()
    while not pathlib.Path("/tmp/go").exists():
        time.sleep(0.02)
    s.settimeout(1)
    s.sendall(b"PING\\r\\n")
    try:
        heard = s.recv(100).decode().strip()
    except TimeoutError:
        heard = "silence"
pathlib.Path("/tmp/heard").write_text(heard)
"""

pytestmark = pytest.mark.docker


@pytest.fixture(autouse=True)
def _whole(stack: Stack) -> Iterator[None]:
    assert leftovers(stack) == []
    yield
    assert leftovers(stack) == []


FAULTS: list[Fault] = [
    Partition("redis", ("toxiproxy",)),
    Partition("postgres", ("toxiproxy", "receiver")),
    Partition("github"),
    NameGone("redis", CLIENT),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_a_fault_bites_only_while_it_is_injected(fault: Fault, stack: Stack) -> None:
    bites_only_while_injected(fault, stack)


def connects(stack: Stack, client: str, service: str, port: int) -> bool:
    return vantage.round_trip(stack, client, service, service, port, 1).connected


def test_only_the_named_are_cut_off_and_names_resolve_still(stack: Stack) -> None:
    fault = Partition("redis", (CLIENT,))
    fault.inject(stack)
    try:
        assert not connects(stack, CLIENT, "redis", 6379)
        assert connects(stack, "http-faults", "redis", 6379)
        assert connects(stack, CLIENT, "postgres", 5432)
        code, _ = stack.exec(CLIENT, ["getent", "hosts", "redis"])
        assert code == 0
    finally:
        fault.heal(stack)
    assert connects(stack, CLIENT, "redis", 6379)


def test_an_open_connection_falls_silent(stack: Stack) -> None:
    fault = Partition("redis", (CLIENT,))
    client = stack.container(CLIENT)

    def exists(path: str) -> bool:
        return stack.exec(CLIENT, ["test", "-e", path])[0] == 0

    client.exec_run(["python3", "-c", _TALK], detach=True)
    eventually(lambda: exists("/tmp/open"), timeout_s=15, what="the connection to be used")
    fault.inject(stack)
    try:
        stack.exec(CLIENT, ["touch", "/tmp/go"])
        eventually(lambda: exists("/tmp/heard"), timeout_s=15, what="the client to have waited")
    finally:
        fault.heal(stack)
    assert stack.exec(CLIENT, ["cat", "/tmp/heard"]) == (0, "silence")


def test_a_partition_that_is_half_there_is_not_effective(stack: Stack) -> None:
    fault = Partition("redis", (CLIENT, "github"))
    half = Partition("redis", (CLIENT,))
    half.inject(stack)
    try:
        seen = fault.is_effective(stack)
        assert (seen.holds, seen.seen) == (False, "redis reaches github")
    finally:
        half.heal(stack)


def test_a_partition_that_is_wider_than_asked_is_not_effective(stack: Stack) -> None:
    fault = Partition("redis", (CLIENT,))
    wide = Partition("redis", (CLIENT, "github"))
    wide.inject(stack)
    try:
        seen = fault.is_effective(stack)
        assert (seen.holds, seen.seen) == (False, "redis doesn't reach github either")
    finally:
        wide.heal(stack)


def test_another_process_can_heal_it_and_a_restart_leaves_only_the_note(stack: Stack) -> None:
    Partition("redis", (CLIENT,)).inject(stack)
    stack.container("redis").restart(timeout=2)
    stack.wait_ready("redis")
    again = Partition("redis", (CLIENT,))
    assert not again.is_effective(stack).holds
    assert leftovers(stack) == [f"{again.name} was injected and isn't undone"]
    again.heal(stack)
    seen_healed(again, stack)


def test_what_is_not_there_can_not_be_partitioned(stack: Stack) -> None:
    with pytest.raises(FaultError, match="gitlab has no address"):
        Partition("redis", ("gitlab",)).inject(stack)
    with pytest.raises(UsageError, match="from itself"):
        Partition("redis", ("redis",))
    with pytest.raises(UsageError, match="named twice"):
        Partition("redis", ("github", "github"))


def test_the_clients_lookups_of_the_name_are_counted_and_no_others(stack: Stack) -> None:
    fault = NameGone("redis", CLIENT)
    assert fault.exposure(stack).count == 0
    fault.inject(stack)
    try:
        seen_effective(fault, stack)
        assert fault.exposure(stack).count == 0
        for _ in range(3):
            assert stack.exec(CLIENT, ["getent", "ahostsv4", "redis"])[0] != 0
        assert stack.exec(CLIENT, ["getent", "ahostsv4", "github"])[0] == 0
        assert stack.exec("github", ["getent", "ahostsv4", "redis"])[0] == 0
        assert fault.exposure(stack).count == 3
    finally:
        fault.heal(stack)
    assert stack.exec(CLIENT, ["getent", "ahostsv4", "redis"])[0] == 0


def test_a_program_that_fails_beside_a_container_is_an_error_with_its_words(stack: Stack) -> None:
    with pytest.raises(FaultError, match=r"(?s)beside redis ended with 1: .*ZeroDivisionError"):
        run_beside(stack, "redis", "1 / 0", {}, shares="network", python_of=CLIENT)
    with pytest.raises(FaultError, match="printed 'hello'"):
        run_beside(stack, "redis", "print('hello')", {}, shares="network", python_of=CLIENT)
