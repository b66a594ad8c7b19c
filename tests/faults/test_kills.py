"""Whoever breaks things is killed, fifty times at random, and nothing stays broken or behind.

Who guarantees what: a stack that belongs to the process goes with it, its faults too (by the
process itself, and after SIGKILL by the reaper). A kept stack outlives it, so its faults are
healed: by the process, and after SIGKILL by the guardian.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from threading import Event
from typing import Any

import docker
import pytest

from alertdrill.faults.world import survey
from alertdrill.stack.leftovers import RUN_LABEL, remove_run
from alertdrill.stack.run import Stack, new_run_id
from alertdrill.wait import eventually
from fixtures.stack import STACK
from tests.faults import doomed
from tests.stack.small import references

pytestmark = pytest.mark.docker

SEED = 20260
KILLS_OF_OWNERS, KILLS_OF_GUESTS = 24, 26
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
# An owner's start takes about so long, and a guest's or an owner's round.
LATEST_S = 2.2
GONE_WITHIN_S = 10.0
# So many must have died while something was broken, or these tests say nothing.
FEWEST_BROKEN = 4
IN_FORCE = (doomed.BROKEN, "bites")
# A runner that is asked to end may be waiting for a container that it has just started.
ENDS_WITHIN_S = 40.0


@dataclass(frozen=True)
class Death:
    """How and when one process ends, counted from when it said ``since``."""

    number: signal.Signals
    after_s: float
    seed: int
    since: str = doomed.BEGUN

    def __str__(self) -> str:
        when = f"{self.after_s:.3f} s after {self.since!r}"
        return f"{self.number.name} {when} (seed {self.seed})"


def deaths(count: int, seed: int, *, since: tuple[str, ...] = (doomed.BEGUN,)) -> list[Death]:
    """Random ones, counted from each of ``since`` in turn."""
    chance = random.Random(seed)
    return [
        Death(
            chance.choice(SIGNALS),
            chance.uniform(0, LATEST_S if start != doomed.BROKEN else doomed.LONGEST_S / 2),
            chance.randrange(10**6),
            start,
        )
        for start in itertools.islice(itertools.cycle(since), count)
    ]


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Fork from a process that has everything imported: fifty interpreters would take longer than
    all that they do."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.doomed"])
    return context


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env(timeout=20)
    yield client
    client.close()


@pytest.fixture(scope="module")
def images() -> dict[str, str]:
    return references([c.image for c in STACK.components if c.name in doomed.KEPT])


def die(processes: ForkServerContext, death: Death, target: Any, *arguments: Any) -> str:
    """Run ``target`` until its death, which must be the one that the signal asked for; returns
    when the process is gone: what it said last before the signal."""
    told, out = processes.Pipe(duplex=False)
    process = processes.Process(target=target, args=(*arguments, death.seed, out))
    process.start()
    try:
        said = ""
        while said != death.since:
            assert told.poll(60), f"it did not say {death.since!r}"
            said = told.recv()
        assert not Event().wait(death.after_s)
        assert process.exitcode is None, f"ended by itself with {process.exitcode}"
        while told.poll():
            said = told.recv()
        assert process.pid is not None
        os.kill(process.pid, death.number)
        process.join(ENDS_WITHIN_S)
        # An interrupt that nobody catches is exit code 1 of multiprocessing.
        expected = -death.number if death.number == signal.SIGKILL else 1
        assert process.exitcode == expected
        with contextlib.suppress(EOFError):
            while told.poll():
                last = told.recv()
                print(f"{death}, after the signal: {last}")
        return said
    finally:
        process.kill()
        process.join()


def left_of(engine: docker.DockerClient, run_id: str) -> list[str]:
    label: dict[str, Any] = {"label": f"{RUN_LABEL}={run_id}"}
    containers = engine.containers.list(all=True, filters=label, ignore_removed=True)
    networks = engine.networks.list(filters=label)
    return [str(thing.attrs["Name"]) for thing in (*containers, *networks)]


def nameless_volumes(engine: docker.DockerClient) -> set[str]:
    """Those that no run owns: what belongs to one is looked for by its label."""
    return {v.id for v in engine.volumes.list() if RUN_LABEL not in (v.attrs["Labels"] or {})}


def test_nothing_of_an_owner_is_left(
    processes: ForkServerContext, engine: docker.DockerClient, images: dict[str, str]
) -> None:
    volumes = nameless_volumes(engine)

    broken: list[Death] = []
    # While it starts, and while it breaks things: how long a start takes is the machine's affair.
    several = deaths(KILLS_OF_OWNERS, SEED, since=(doomed.BEGUN, doomed.UP))

    def one(death: Death) -> str | None:
        run_id = new_run_id()
        try:
            if die(processes, death, doomed.on_its_own_stack, images, run_id) == doomed.BROKEN:
                broken.append(death)
            within_s = GONE_WITHIN_S if death.number == signal.SIGKILL else 0.0
            eventually(lambda: not left_of(engine, run_id), timeout_s=within_s, what="it to go")
        except Exception as error:  # noqa: BLE001 - each death is reported, whatever came of it
            return f"{death}: {error}; left: {left_of(engine, run_id)}"
        finally:
            remove_run(engine, run_id)
        return None

    with ThreadPoolExecutor(3) as pool:
        assert [w for w in pool.map(one, several) if w] == []
    assert nameless_volumes(engine) <= volumes
    assert len(broken) >= FEWEST_BROKEN


@pytest.fixture(scope="module")
def kept(images: dict[str, str]) -> Iterator[list[Stack]]:
    stacks = [
        Stack(STACK, doomed.KEPT, images=images, project_root=doomed.ROOT, keep=True)
        for _ in range(2)
    ]
    try:
        yield [stack.start() for stack in stacks]
    finally:
        for stack in stacks:
            stack.stop()


def test_a_kept_stack_is_as_it_was(processes: ForkServerContext, kept: list[Stack]) -> None:
    broken: list[Death] = []

    def on(stack: Stack, several: list[Death]) -> list[str]:
        run_id = stack.run_id
        before = survey(stack)
        assert before.wrong == []
        wrong = []
        for death in several:
            try:
                said = die(processes, death, doomed.on_a_kept_stack, run_id)
                if said.startswith(IN_FORCE):
                    broken.append(death)
                within_s = GONE_WITHIN_S if death.number == signal.SIGKILL else 0.0
                eventually(
                    lambda: not before.changes(survey(stack)),
                    timeout_s=within_s,
                    what="the stack to be as it was",
                )
                eventually(
                    lambda: not doomed.is_guarded(run_id), timeout_s=30, what="the guardian to go"
                )
                assert before.changes(survey(stack)) == []
            except Exception as error:  # noqa: BLE001 - each death is reported, whatever came of it
                wrong.append(f"{death}: {error}; {before.changes(survey(stack))}")
        return wrong

    # From the begin, and from when it breaks something: how long it takes until then is the
    # machine's affair.
    all_of_them = deaths(KILLS_OF_GUESTS, SEED + 1, since=(doomed.BEGUN, doomed.BROKEN))
    shares = [all_of_them[n :: len(kept)] for n in range(len(kept))]
    with ThreadPoolExecutor(len(kept)) as pool:
        assert [w for found in pool.map(on, kept, shares) for w in found] == []
    assert len(broken) >= FEWEST_BROKEN


def test_without_a_guardian_a_killed_guest_leaves_its_fault(
    processes: ForkServerContext, kept: list[Stack]
) -> None:
    """The planted defect: so these tests can fail."""
    stack = kept[0]
    before = survey(stack)
    die(
        processes,
        Death(signal.SIGKILL, 1.0, 0),
        doomed.on_a_kept_stack_unguarded,
        stack.run_id,
    )
    try:
        assert before.changes(survey(stack))
    finally:
        doomed.UNGUARDED.heal(stack)
    assert before.changes(survey(stack)) == []
