"""Processes that break things until they are killed: on a stack of their own, or on a kept one."""

from __future__ import annotations

import random
import signal
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from alertdrill.faults.by_hand import hold
from alertdrill.faults.compose import Flapping, Together
from alertdrill.faults.container import Kill, Pause, Stop
from alertdrill.faults.contract import Fault
from alertdrill.faults.deploy import BadConfiguration
from alertdrill.faults.http import HttpSlow, HttpStatus
from alertdrill.faults.network import Bandwidth, BlackHole, Latency, Refuse
from alertdrill.faults.partition import NameGone, Partition
from alertdrill.faults.proof import HEALED_S, healed_within
from alertdrill.faults.resource import CpuQuota, FileDescriptors, MemoryLimit
from alertdrill.shield import signals_deferred, sigterm_interrupts, undone
from alertdrill.stack.engine import connect
from alertdrill.stack.kept import KeptStack
from alertdrill.stack.run import Stack
from fixtures.stack import STACK

ROOT = Path(__file__).parents[2]
CLIENT = "receiver"
LONGEST_S = 1.2
# What they say on the way.
BEGUN, UP = "begun", "up"
BROKEN = "injected"  # what `hold` tells
# What a stack of one's own has, and what a kept one has as well.
OWN = ("redis", "receiver")
KEPT = (*OWN, "github", "toxiproxy", "http-faults")

ON_CONTAINERS: tuple[Fault, ...] = (
    Kill("redis"),
    Pause("redis"),
    Stop("redis"),
    CpuQuota("redis", 0.2),
    MemoryLimit("receiver", 64),
    FileDescriptors("redis", 32, python_of=CLIENT),
    NameGone("redis", CLIENT, python_of=CLIENT),
    Partition("redis", (CLIENT,), python_of=CLIENT),
    Together(Pause("redis"), CpuQuota("receiver", 0.2)),
)
EVERYWHERE: tuple[Fault, ...] = (
    *ON_CONTAINERS,
    Refuse("redis", client=CLIENT),
    Latency("redis", 200, client=CLIENT),
    BlackHole("redis", client=CLIENT),
    Bandwidth("redis", 100, client=CLIENT),
    BadConfiguration("github", {"SEED": "8"}),
    HttpStatus("github"),
    HttpSlow("github", 0.3),
    Flapping(Refuse("redis", client=CLIENT), on_s=0.2, off_s=0.1, cycles=3),
    Together(Latency("redis", 200, client=CLIENT), Pause("receiver")),
)


def on_its_own_stack(images: dict[str, str], run_id: str, seed: int, out: Connection) -> None:
    """Start a stack, break and heal it again and again, and remove it when interrupted."""
    _can_be_interrupted()
    chance = random.Random(seed)
    out.send(BEGUN)
    with Stack(STACK, OWN, images=images, project_root=ROOT, run_id=run_id) as stack:
        out.send(UP)
        while True:
            _break(stack, chance.choice(ON_CONTAINERS), chance.uniform(0, LONGEST_S), out)


def _break(stack: Stack, fault: Fault, seconds: float, out: Connection) -> None:
    """As a drill does it."""

    def work() -> None:
        out.send(BROKEN)
        with signals_deferred():
            fault.inject(stack)
        threading.Event().wait(seconds)

    def undo() -> None:
        assert healed_within(fault, stack, HEALED_S).evidence.holds
        out.send("healed")

    undone(work, undo)


def on_a_kept_stack(run_id: str, seed: int, out: Connection) -> None:
    """Break and heal another run's stack again and again, as ``alertdrill fault inject`` does."""
    _can_be_interrupted()
    chance = random.Random(seed)
    stack = KeptStack(connect(), STACK, run_id)
    out.send(BEGUN)
    while True:
        fault, seconds = chance.choice(EVERYWHERE), chance.uniform(0, LONGEST_S)
        hold(fault, stack, seconds, project=ROOT, tell=out.send)


UNGUARDED = Pause("redis")


def on_a_kept_stack_unguarded(run_id: str, seed: int, out: Connection) -> None:
    """A planted defect: breaks it, and nobody else knows."""
    stack = KeptStack(connect(), STACK, run_id)
    UNGUARDED.inject(stack)
    out.send(BEGUN)
    threading.Event().wait(20)


def is_guarded(run_id: str) -> bool:
    """Whether a guardian watches over a fault on that stack."""
    return f"@alertdrill-fault-{run_id}" in Path("/proc/net/unix").read_text(encoding="utf-8")


def _can_be_interrupted() -> None:
    # A test run in the background has it ignored, and a child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sigterm_interrupts()
