"""Limits against the real kernel: it holds up, kills or refuses, and forgets them again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from alertdrill.errors import FaultError, UsageError
from alertdrill.faults.contract import Fault
from alertdrill.faults.disk import DiskFull
from alertdrill.faults.resource import (
    MIB,
    CpuQuota,
    FileDescriptors,
    MemoryLimit,
    OutOfMemory,
)
from alertdrill.faults.world import leftovers
from alertdrill.stack.component import Component
from alertdrill.stack.readiness import http_ok
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually
from tests.faults.lifecycle import bites_only_while_injected, seen_effective, seen_healed
from tests.stack.small import small_stack

SERVICE = "sized"
SIZED = Component(
    SERVICE,
    image="receiver",
    ports={"http": 8080},
    tmpfs={"/logs": "8m"},
    memory_mb=512,
    ready=http_ok("/-/ready"),
)

# The CPU seconds that a process gets in two busy ones.
_BUSY = """
import time
end, used = time.monotonic() + 2, time.process_time()
while time.monotonic() < end:
    pass
print(time.process_time() - used)
"""

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with small_stack(SIZED) as running:
        yield running


@pytest.fixture(autouse=True)
def _whole(stack: Stack) -> Iterator[None]:
    assert leftovers(stack) == []
    yield
    assert leftovers(stack) == []


FAULTS: list[Fault] = [
    CpuQuota("redis", 0.2),
    MemoryLimit("receiver", 64),
    MemoryLimit(SERVICE, 64),
    OutOfMemory("receiver"),
    OutOfMemory("redis"),
    DiskFull(SERVICE, "/logs"),
    FileDescriptors("receiver", 32, python_of="receiver"),
    FileDescriptors("redis", 32, python_of="receiver"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_a_fault_bites_only_while_it_is_injected(fault: Fault, stack: Stack) -> None:
    bites_only_while_injected(fault, stack)


def busy_share(stack: Stack) -> float:
    code, output = stack.exec("receiver", ["python3", "-c", _BUSY])
    assert code == 0, output
    return float(output) / 2


def test_a_busy_process_gets_its_share_of_a_core_and_what_it_misses_is_counted(
    stack: Stack,
) -> None:
    fault = CpuQuota("receiver", 0.05)  # so little that a busy machine gives more
    before = fault.exposure(stack).count
    assert busy_share(stack) > 0.08
    assert fault.exposure(stack).count == before
    fault.inject(stack)
    try:
        assert busy_share(stack) < 0.08
        assert fault.exposure(stack).count > before
    finally:
        fault.heal(stack)
    assert busy_share(stack) > 0.08


def kernel_limit(stack: Stack, service: str) -> int:
    files = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max"
    code, output = stack.exec(service, ["sh", "-c", f"({files}) 2> /dev/null"])
    assert code == 0, output
    word = output.split()[0]
    return 2**63 if word == "max" else int(word)


def test_no_limit_is_none_again_and_a_declared_one_is_what_it_was(stack: Stack) -> None:
    for service, expected in (("receiver", kernel_limit(stack, "receiver")), (SERVICE, 512 * MIB)):
        fault = MemoryLimit(service, 64)
        fault.inject(stack)
        try:
            assert kernel_limit(stack, service) == 64 * MIB
        finally:
            fault.heal(stack)
        assert kernel_limit(stack, service) == expected


def test_what_needs_more_than_the_limit_is_killed_and_the_limit_was_met(stack: Stack) -> None:
    fault = MemoryLimit(SERVICE, 64)
    exposed = fault.exposure(stack)
    fault.inject(stack)
    try:
        _, kept = stack.exec(SERVICE, ["sh", "-c", "head -c 128m /dev/zero | tail | wc -c"])
        after = fault.exposure(stack)
        assert kept.strip() != str(128 * MIB)
        assert exposed is not None
        assert after is not None
        assert after.count > exposed.count
    finally:
        fault.heal(stack)
    seen_healed(fault, stack)


def test_a_limit_below_what_is_used_is_refused_without_a_trace_or_kills(stack: Stack) -> None:
    fault = MemoryLimit("receiver", 6)
    refusal = None
    try:
        fault.inject(stack)
    except FaultError as error:
        refusal = str(error)
    try:
        if refusal is None:
            seen_effective(fault, stack)
        else:
            assert "it uses" in refusal
            assert leftovers(stack) == []
    finally:
        fault.heal(stack)
    seen_healed(fault, stack)


def test_a_full_disk_takes_no_more_and_is_as_empty_as_before(stack: Stack) -> None:
    def used() -> str:
        code, output = stack.exec(SERVICE, ["df", "--output=used,size", "-k", "/logs"])
        assert code == 0, output
        return output.split()[2]

    before = used()
    fault = DiskFull(SERVICE, "/logs")
    fault.inject(stack)
    try:
        assert used() == str(8 * 1024)
    finally:
        fault.heal(stack)
    eventually(lambda: used() == before, timeout_s=15, what="the room to be back")
    assert stack.exec(SERVICE, ["ls", "-A", "/logs"]) == (0, "")


def test_what_is_freed_on_a_full_disk_is_gone_at_once(stack: Stack) -> None:
    fault = DiskFull(SERVICE, "/logs")
    ballast = ["sh", "-c", "head -c 1000000 /dev/zero > /logs/ballast"]
    assert stack.exec(SERVICE, ballast) == (0, "")
    fault.inject(stack)
    try:
        assert stack.exec(SERVICE, ["rm", "/logs/ballast"]) == (0, "")
        eventually(
            lambda: fault.is_effective(stack).holds, timeout_s=15, what="the disk to be full again"
        )
    finally:
        fault.heal(stack)
    seen_healed(fault, stack)


def test_somebody_elses_zombie_is_no_process_of_the_service(stack: Stack) -> None:
    """Redis is the first process of its container, and waits for no orphan."""
    orphan = ["sh", "-c", "sleep 0.1 & exit 0"]
    stack.container("redis").exec_run(orphan, user="root", detach=True)
    zombies = "grep -l '^State:.Z' /proc/[0-9]*/status | wc -l"
    eventually(
        lambda: stack.exec("redis", ["sh", "-c", zombies]) == (0, "1\n"),
        timeout_s=15,
        what="the zombie",
    )
    bites_only_while_injected(FileDescriptors("redis", 32, python_of="receiver"), stack)


def test_a_disk_that_has_no_size_of_its_own_is_never_filled(stack: Stack) -> None:
    with pytest.raises(FaultError, match=r'declares /logs; give .* tmpfs=\{"/tmp": "64m"\}'):
        DiskFull(SERVICE, "/tmp").inject(stack)
    with pytest.raises(FaultError, match="redis declares none"):
        DiskFull("redis", "/data").inject(stack)


def test_a_process_of_the_service_may_open_no_more_files(stack: Stack) -> None:
    fault = FileDescriptors("redis", 24, python_of="receiver")
    fault.inject(stack)
    try:
        held = "for i in $(seq 40); do timeout 5 redis-cli SUBSCRIBE x & done; wait"
        stack.container("redis").exec_run(["sh", "-c", held], detach=True)
        eventually(
            lambda: (
                "PONG"
                not in stack.exec("redis", ["timeout", "-s", "KILL", "1", "redis-cli", "PING"])[1]
            ),
            timeout_s=10,
            what="new clients to be refused",
        )
    finally:
        fault.heal(stack)
    eventually(
        lambda: stack.exec("redis", ["redis-cli", "PING"])[1].strip() == "PONG",
        timeout_s=10,
        what="new clients to be served",
    )
    with pytest.raises(FaultError, match="no limit where"):
        FileDescriptors("redis", 1_000_000, python_of="receiver").inject(stack)


def test_connections_that_nobody_accepts_are_counted(stack: Stack) -> None:
    fault = FileDescriptors("receiver", 3, python_of="receiver")
    url = urlsplit(stack.url("receiver"))

    def waiting() -> int:
        exposure = fault.exposure(stack)
        assert exposure is not None
        return exposure.count

    with ExitStack() as clients:
        assert waiting() == 0
        fault.inject(stack)
        clients.callback(fault.heal, stack)
        for _ in range(3):
            address = (url.hostname, url.port)
            clients.enter_context(socket.create_connection(address, timeout=5))
        eventually(lambda: waiting() >= 3, timeout_s=10, what="three connections to wait")
    eventually(lambda: waiting() == 0, timeout_s=10, what="none to wait")


def test_a_restarted_container_has_the_cpu_quota_still_and_another_process_heals_it(
    stack: Stack,
) -> None:
    CpuQuota("redis", 0.3).inject(stack)
    stack.container("redis").restart(timeout=2)
    stack.wait_ready("redis")
    assert leftovers(stack) == ["redis has a CPU limit"]
    CpuQuota("redis", 0.3).heal(stack)
    seen_healed(CpuQuota("redis", 0.3), stack)


@pytest.mark.parametrize("share", [0, 0.009, 1, 4])
def test_a_share_that_is_no_part_of_a_core_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match=r"from 0\.01 to below 1 core"):
        CpuQuota("hub", share)


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 6 MiB"):
        MemoryLimit("hub", 5)
    with pytest.raises(UsageError, match="at least 1"):
        FileDescriptors("hub", 0)
