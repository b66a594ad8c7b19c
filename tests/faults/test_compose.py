"""Composed faults against a world in memory: order, failures, time, counts, healing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alertdrill.errors import FaultError, UsageError
from alertdrill.faults import compose
from alertdrill.faults.compose import Flapping, Ramp, Sequence, Together, driven
from alertdrill.faults.contract import Evidence, Exposure, Fault, Target
from alertdrill.faults.http import HttpStatus
from alertdrill.faults.network import Latency
from alertdrill.wait import eventually

ROOT = Path(__file__).parents[2]
# How long a step may wait for its turn on a machine that has other work: seldom longer, so one
# of several tries is on time.
LATE_S = 0.4
EARLY_S = 0.05
TRIES = 3


@dataclass
class World:
    """A stack in memory: what is broken, what was done when, and how much traffic met it."""

    run_id: str
    broken: dict[str, int] = field(default_factory=dict)
    done: list[tuple[str, str, float]] = field(default_factory=list)
    met: dict[str, int] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    slow: dict[str, threading.Event] = field(default_factory=dict)
    crashes: set[str] = field(default_factory=set)

    def do(self, what: str, name: str) -> None:
        self.done.append((what, name, time.monotonic()))
        if f"{what} {name}" in self.crashes:
            raise RuntimeError("a bug in a library")
        if f"{what} {name}" in self.failing:
            raise FaultError(f"can't {what} {name}")

    def order(self) -> list[str]:
        return [f"{what} {name}" for what, name, _ in self.done]


@dataclass(frozen=True)
class Break(Fault):
    """``dose`` None: it can't count."""

    what: str
    dose: int = 1
    unit: str | None = "requests"
    seed: int = 0
    names: dict[str, str] = field(default_factory=dict)  # like a fault that can't be hashed

    @property
    def name(self) -> str:
        return f"break({self.what})"

    @property
    def breaks(self) -> frozenset[str]:
        return frozenset({self.what})

    def seeded(self, seed: int) -> Fault:
        return replace(self, seed=seed)

    def inject(self, stack: Any) -> None:
        if self.what in stack.slow:
            stack.done.append(("wait", self.what, time.monotonic()))
            stack.slow[self.what].wait(5)
        stack.do("inject", self.what)
        stack.broken[self.what] = self.dose

    def heal(self, stack: Any) -> None:
        stack.do("heal", self.what)
        stack.broken.pop(self.what, None)

    def is_effective(self, stack: Any) -> Evidence:
        return Evidence(stack.broken.get(self.what) == self.dose, f"{self.what} {stack.broken}")

    def is_healed(self, stack: Any) -> Evidence:
        return Evidence(self.what not in stack.broken, f"{self.what} {stack.broken}")

    def exposure(self, stack: Target) -> Exposure | None:
        met: dict[str, int] = stack.met  # type: ignore[attr-defined]
        return None if self.unit is None else Exposure(met.get(self.what, 0), self.unit)


A, B, C = Break("a"), Break("b"), Break("c")


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    world = World(run_id=request.node.name)
    yield world
    assert driven(world) == [], "a driver was left behind"  # type: ignore[arg-type]


def as_stack(world: World) -> Any:
    return world


def bites(fault: Fault, world: World) -> bool:
    return fault.is_effective(as_stack(world)).holds


def count(fault: Fault, world: World) -> int:
    exposure = fault.exposure(as_stack(world))
    assert exposure is not None
    return exposure.count


def soon(probe: Callable[[], bool], what: str) -> None:
    eventually(probe, timeout_s=5, what=what, interval_s=0.005)


# --- at once -------------------------------------------------------------------------------


def test_together_means_all_of_them_and_healing_goes_backwards(world: World) -> None:
    both = Together(A, B)
    assert not bites(both, world)
    both.inject(as_stack(world))
    assert bites(both, world)
    assert not both.is_healed(as_stack(world)).holds
    B.heal(as_stack(world))
    assert not bites(both, world), "half of it is gone"
    assert not both.is_healed(as_stack(world)).holds, "the other half isn't"
    world.done.clear()
    both.heal(as_stack(world))
    assert world.order() == ["heal b", "heal a"]
    assert both.is_healed(as_stack(world)).holds
    both.heal(as_stack(world))


def test_a_part_that_can_not_be_injected_leaves_nothing_of_the_others(world: World) -> None:
    world.failing = {"inject b"}
    with pytest.raises(FaultError, match="can't inject b"):
        Together(A, B, C).inject(as_stack(world))
    assert world.broken == {}
    assert "inject c" not in world.order()


def test_a_part_that_can_not_be_healed_is_told_and_keeps_no_other_from_it(world: World) -> None:
    both = Together(A, B, C)
    both.inject(as_stack(world))
    world.failing = {"heal b"}
    with pytest.raises(FaultError, match=r"together\(.*\) is not healed: break\(b\): can't heal b"):
        both.heal(as_stack(world))
    assert set(world.broken) == {"b"}
    world.failing = {"inject a", "heal a"}
    with pytest.raises(FaultError, match=r"can't inject a; then .*can't heal a"):
        both.inject(as_stack(world))
    world.failing = set()
    both.heal(as_stack(world))
    assert both.is_healed(as_stack(world)).holds


def test_an_interrupt_amid_the_injection_heals_and_stays_an_interrupt(world: World) -> None:
    @dataclass(frozen=True)
    class Interrupted(Break):
        def inject(self, stack: Any) -> None:
            raise KeyboardInterrupt

    world.failing = {"heal a"}
    with pytest.raises(KeyboardInterrupt) as caught:
        Together(A, C, Interrupted("b")).inject(as_stack(world))
    assert "can't heal a" in caught.value.__notes__[0]
    assert set(world.broken) == {"a"}


def test_a_bug_in_one_part_heals_the_others_too(world: World) -> None:
    @dataclass(frozen=True)
    class Buggy(Break):
        def heal(self, stack: Any) -> None:
            raise RuntimeError("a bug")

    both = Together(A, Buggy("b"), C)
    both.inject(as_stack(world))
    with pytest.raises(RuntimeError):
        both.heal(as_stack(world))
    assert set(world.broken) == {"b"}
    Break("b").heal(as_stack(world))


def test_traffic_met_it_only_if_it_met_every_part(world: World) -> None:
    both = Together(A, B)
    world.met = {"a": 70, "b": 3}
    for expected in (0, 0):
        before = count(both, world)
        both.inject(as_stack(world))
        world.met["a"] += 1_000
        assert count(both, world) - before == expected, "b met nothing"
        both.heal(as_stack(world))
    # What b meets while nothing is injected must not be lent to the next time.
    world.met["b"] += 500
    before = count(both, world)
    both.inject(as_stack(world))
    world.met["a"] += 1_000
    assert count(both, world) == before
    world.met["b"] += 2
    assert count(both, world) - before == 2
    both.inject(as_stack(world))
    assert count(both, world) - before == 2, "injecting again counts nothing twice"
    both.heal(as_stack(world))
    assert count(both, world) - before == 2


def test_without_being_asked_before_it_counts_from_injection(world: World) -> None:
    for met in (10, 100):
        world.met = {"a": met, "b": met}
        both = Together(A, B)
        both.inject(as_stack(world))
        told = count(both, world)
        assert told == met // 100, "nothing from before or between"
        world.met = {"a": met + 4, "b": met + 1}
        assert count(both, world) == told + 1
        both.heal(as_stack(world))


def test_what_was_just_counted_does_not_hold_up_the_injection(world: World) -> None:
    @dataclass(frozen=True)
    class Counting(Break):
        def exposure(self, stack: Any) -> Exposure | None:
            stack.do("count", self.what)
            return super().exposure(stack)

    both = Together(Counting("a"), B)
    for _ in range(2):
        both.exposure(as_stack(world))
        world.done.clear()
        both.inject(as_stack(world))
        assert "count a" not in world.order()
        both.heal(as_stack(world))


def test_units_are_told_and_a_part_that_can_not_count_is_left_out(world: World) -> None:
    in_bytes, silent = Break("b", unit="bytes"), Break("c", unit=None)
    for parts, unit in (
        ((A, Break("d")), "requests"),
        ((A, in_bytes), "the least of requests and bytes"),
        ((A, silent), "requests"),
    ):
        exposure = Together(*parts).exposure(as_stack(world))
        assert exposure is not None
        assert exposure.unit == unit
    assert Together(silent, Break("d", unit=None)).exposure(as_stack(world)) is None
    lame = Together(A, silent)
    lame.inject(as_stack(world))
    world.met["a"] = 4
    assert count(lame, world) == 4


def test_parts_are_seeded_apart_and_named_together() -> None:
    both = Together(A, B)
    seeded = both.seeded(7)
    assert seeded == Together(replace(A, seed=7), replace(B, seed=8))
    assert both.name == "together(break(a)+break(b))"
    assert both.breaks == both.touches == {"a", "b"}


def test_parts_that_would_replace_each_other_are_refused() -> None:
    with pytest.raises(UsageError, match="two or more, not 1"):
        Together(A)
    slow = Latency("postgres", 100, client="hub")
    with pytest.raises(UsageError, match=r"latency\(postgres\) stands twice"):
        Together(slow, A, replace(slow, latency_ms=200))
    Together(slow, replace(slow, service="redis"))
    Together(HttpStatus("github", path="/a"), HttpStatus("github", path="/b"))


# --- in time -------------------------------------------------------------------------------


def shape(world: World) -> list[tuple[str, float]]:
    """What was done and when, from the first injection on; healing what is whole left out."""
    begun = next(at for what, _, at in world.done if what == "inject")
    return [(f"{what} {name}", at - begun) for what, name, at in world.done if at >= begun]


def on_time(seen: list[tuple[str, float]], due: Iterable[float]) -> bool:
    """Whether each came when it was due; a schedule begins a moment before its first injection."""
    return all(
        expected - EARLY_S <= at < expected + LATE_S
        for (_, at), expected in zip(seen, due, strict=True)
    )


def test_a_sequence_keeps_its_times_and_one_step_at_a_time(world: World) -> None:
    fault = Sequence([(A, 0.2), (None, 0.1), (B, 0.15), (C, None)])

    def is_on_time() -> bool:
        world.done.clear()
        fault.inject(as_stack(world))
        soon(lambda: "c" in world.broken, "the last step")
        soon(lambda: bites(fault, world), "the last step to be the present one")
        assert not fault.is_healed(as_stack(world)).holds
        seen = shape(world)
        fault.heal(as_stack(world))
        assert world.broken == {}
        assert fault.is_healed(as_stack(world)).holds
        steps = ["inject a", "heal a", "inject b", "heal b", "inject c"]
        assert [what for what, _ in seen] == steps
        return on_time(seen, (0.0, 0.2, 0.3, 0.45, 0.45))

    assert any(is_on_time() for _ in range(TRIES))


def test_what_is_over_no_longer_bites_and_is_whole(world: World) -> None:
    fault = Sequence([(A, 0.05), (B, 0.05)])
    fault.inject(as_stack(world))
    soon(lambda: not bites(fault, world), "the end")
    assert "all 2 turns are over" in fault.is_effective(as_stack(world)).seen
    assert world.broken == {}
    fault.heal(as_stack(world))


def test_flapping_comes_and_goes_on_an_absolute_schedule(world: World) -> None:
    fault = Flapping(A, on_s=0.1, off_s=0.05, cycles=4)

    def is_on_time() -> bool:
        world.done.clear()
        fault.inject(as_stack(world))
        soon(lambda: not bites(fault, world), "the end")
        seen = shape(world)
        fault.heal(as_stack(world))
        assert [what for what, _ in seen] == ["inject a", "heal a"] * 4
        return on_time(seen, (0.15 * (n // 2) + (0.1 if n % 2 else 0) for n in range(8)))

    assert any(is_on_time() for _ in range(TRIES))


def test_late_changes_do_not_add_up(world: World) -> None:
    @dataclass(frozen=True)
    class Tardy(Break):
        def inject(self, stack: Any) -> None:
            threading.Event().wait(0.1)
            super().inject(stack)

    fault = Flapping(Tardy("a"), on_s=0.12, off_s=0.12, cycles=6)

    def took_s() -> float:
        world.done.clear()
        begun = time.monotonic()
        fault.inject(as_stack(world))
        soon(lambda: world.order().count("inject a") == 6, "the last cycle")
        ended = time.monotonic()
        fault.heal(as_stack(world))
        return ended - begun

    # Added up, they would be 0.6 s late.
    assert any(took_s() < 5 * 0.24 + 0.1 + LATE_S for _ in range(TRIES))


def test_a_turn_that_ends_while_it_is_looked_at_is_not_judged(world: World) -> None:
    @dataclass(frozen=True)
    class Looked(Break):
        def is_effective(self, stack: Any) -> Evidence:
            soon(lambda: "inject b" in stack.order(), "the next turn")
            return Evidence(False, "too late")

    fault = Sequence([(Looked("a"), 0.05), (B, None)])
    fault.inject(as_stack(world))
    evidence = fault.is_effective(as_stack(world))
    assert evidence.holds
    assert "turn 2 of 2" in evidence.seen
    fault.heal(as_stack(world))


def test_a_pause_is_part_of_the_plan_only_while_nothing_bites(world: World) -> None:
    fault = Flapping(A, on_s=0.02, off_s=30, cycles=2)
    fault.inject(as_stack(world))
    soon(lambda: world.order()[-1] == "heal a", "the pause")
    evidence = fault.is_effective(as_stack(world))
    assert evidence.holds
    assert "turn 2 of 4, a pause" in evidence.seen
    world.broken["a"] = 1
    assert not bites(fault, world), "a pause in which it bites is none"
    fault.heal(as_stack(world))


def test_a_turn_that_someone_else_has_ended_is_noticed(world: World) -> None:
    fault = Sequence([(A, 30), (B, 30)])
    fault.inject(as_stack(world))
    assert bites(fault, world)
    world.broken.clear()
    assert not bites(fault, world)
    fault.heal(as_stack(world))


def test_a_ramp_goes_through_its_doses_and_stays_at_the_last(world: World) -> None:
    given: list[int] = []

    @dataclass(frozen=True)
    class Noted(Break):
        def inject(self, stack: Any) -> None:
            super().inject(stack)
            given.append(self.dose)

    fault = Ramp(Noted("a"), "dose", (1, 5, 9), step_s=0.05)
    fault.inject(as_stack(world))
    soon(lambda: world.broken.get("a") == 9, "the last dose")
    soon(lambda: bites(fault, world), "the last step")
    assert given == [1, 5, 9]
    assert fault.name == "ramp(break(a))"
    fault.heal(as_stack(world))
    assert world.broken == {}


def test_healing_ends_it_at_once_and_nothing_comes_after(world: World) -> None:
    fault = Flapping(A, on_s=0.03, off_s=0.03, cycles=1_000)
    fault.inject(as_stack(world))
    soon(lambda: len(world.done) > 6, "some cycles")
    begun = time.monotonic()
    fault.heal(as_stack(world))
    assert time.monotonic() - begun < 5, "the cycles would take a minute"
    done = len(world.done)
    soon(
        lambda: not any(thread.name == f"drives {fault.name}" for thread in threading.enumerate()),
        "the thread to end",
    )
    assert (len(world.done), world.broken) == (done, {})
    fault.heal(as_stack(world))


def test_healing_does_not_wait_for_traffic_to_be_counted(world: World) -> None:
    counting, counted = threading.Event(), threading.Event()

    @dataclass(frozen=True)
    class Counting(Break):
        def exposure(self, stack: Any) -> Exposure | None:
            if stack.broken:
                counting.set()
                counted.wait(10)
            return super().exposure(stack)

    fault = Sequence([(Counting("a"), 30), (B, None)])
    fault.inject(as_stack(world))
    assert counting.wait(5)
    fault.heal(as_stack(world))
    assert not counted.is_set()
    assert world.broken == {}
    counted.set()


def test_what_is_healed_amid_a_change_is_not_followed_by_the_next(world: World) -> None:
    changing, go_on = threading.Event(), threading.Event()

    @dataclass(frozen=True)
    class Lingering(Break):
        def heal(self, stack: Any) -> None:
            changing.set()
            go_on.wait(5)
            super().heal(stack)

    fault = Sequence([(Lingering("a"), 0.02), (B, None)])
    fault.inject(as_stack(world))
    changing.wait(5)
    healer = threading.Thread(target=fault.heal, args=(as_stack(world),))
    healer.start()
    driver = compose._RECORDS.of(as_stack(world), fault).driver
    soon(lambda: driver is not None and driver._stopped.is_set(), "healing to begin")
    go_on.set()
    healer.join(5)
    assert "inject b" not in world.order()
    assert world.broken == {}


def test_healing_waits_for_an_injection_that_is_under_way(world: World) -> None:
    world.slow = {"b": threading.Event()}
    fault = Sequence([(A, 0.02), (B, None)])
    fault.inject(as_stack(world))
    soon(lambda: "wait b" in world.order(), "the change to b")
    healer = threading.Thread(target=fault.heal, args=(as_stack(world),))
    healer.start()
    healer.join(0.1)
    assert healer.is_alive(), "b could still be injected after it"
    world.slow["b"].set()
    healer.join(5)
    assert world.order().index("inject b") < len(world.done) - 1
    assert world.broken == {}


def test_an_injection_that_never_ends_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "TURN_S", 0.05)
    world.slow = {"b": threading.Event()}
    fault = Sequence([(A, 0.02), (B, None)])
    fault.inject(as_stack(world))
    soon(lambda: "wait b" in world.order(), "the change to b")
    with pytest.raises(FaultError, match="a part is still being injected"):
        fault.heal(as_stack(world))
    assert not fault.is_healed(as_stack(world)).holds
    monkeypatch.undo()
    world.slow["b"].set()
    soon(lambda: "inject b" in world.order(), "the injection to end")
    fault.heal(as_stack(world))
    assert world.broken == {}


def test_an_equal_fault_stops_what_another_one_has_begun(world: World) -> None:
    one, other = (Flapping(A, on_s=0.02, off_s=0.02, cycles=1_000) for _ in range(2))
    one.inject(as_stack(world))
    assert driven(as_stack(world)) == ["flapping(break(a))"]
    other.heal(as_stack(world))
    assert driven(as_stack(world)) == []
    assert world.broken == {}


def test_another_run_is_another_matter(world: World) -> None:
    other = World(run_id=f"{world.run_id}-other")
    fault = Flapping(A, on_s=30, off_s=1, cycles=1)
    fault.inject(as_stack(world))
    fault.heal(as_stack(other))
    assert bites(fault, world)
    assert driven(as_stack(other)) == []
    fault.heal(as_stack(world))


def test_another_process_heals_every_part_and_knows_that_it_drives_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.broken = {"a": 1, "b": 1}  # left by a process that was killed
    monkeypatch.setattr(compose, "_RECORDS", compose._Records())
    fault = Sequence([(A, 1), (B, None)])
    assert "nobody in this process drives" in fault.is_effective(as_stack(world)).seen
    assert not fault.is_healed(as_stack(world)).holds
    fault.heal(as_stack(world))
    assert fault.is_healed(as_stack(world)).holds


def test_injected_again_it_starts_from_the_beginning(world: World) -> None:
    fault = Sequence([(A, 0.02), (B, None)])
    fault.inject(as_stack(world))
    soon(lambda: "b" in world.broken, "the second step")
    world.done.clear()
    fault.inject(as_stack(world))
    assert world.order()[:3] == ["heal b", "heal a", "inject a"]
    assert len(driven(as_stack(world))) == 1
    fault.heal(as_stack(world))


def test_a_step_that_can_not_be_injected_is_no_fault_that_bites(world: World) -> None:
    fault = Sequence([(A, 0.02), (B, 30)])
    world.failing = {"inject b"}
    fault.inject(as_stack(world))
    soon(lambda: not bites(fault, world), "the driver to give up")
    assert "its driver gave up: can't inject b" in fault.is_effective(as_stack(world)).seen
    with pytest.raises(FaultError, match="gave up"):
        fault.exposure(as_stack(world))
    fault.heal(as_stack(world))
    world.failing = {"inject a"}
    with pytest.raises(FaultError, match="can't inject a"):
        fault.inject(as_stack(world))
    assert world.broken == {}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_driver_that_died_of_a_bug_is_not_taken_for_one_that_drives(world: World) -> None:
    fault = Sequence([(A, 0.05), (B, 30)])
    world.crashes.add("heal a")
    fault.inject(as_stack(world))
    soon(lambda: driven(as_stack(world)) == [], "the driver to die")
    assert "has died" in fault.is_effective(as_stack(world)).seen
    world.crashes.clear()
    fault.heal(as_stack(world))


def test_each_step_must_meet_traffic_of_its_own(world: World) -> None:
    fault = Sequence([(A, 2.0), (B, None)])
    world.met = {"a": 50, "b": 50}
    before = count(fault, world)
    fault.inject(as_stack(world))

    def meets(what: str) -> bool:
        world.met[what] += 1
        return count(fault, world) > before

    soon(lambda: meets("a"), "traffic in the first step")
    met = count(fault, world)
    soon(lambda: "b" in world.broken, "the second step")
    assert count(fault, world) >= met, "the second step has not met less, it has just begun"
    soon(lambda: meets("b"), "traffic in the second step")
    fault.heal(as_stack(world))


def test_a_step_that_met_nothing_makes_the_whole_unmet(world: World) -> None:
    fault = Sequence([(A, 0.1), (B, None)])
    fault.inject(as_stack(world))
    soon(lambda: "b" in world.broken, "the second step")

    def meets() -> bool:
        world.met["b"] = world.met.get("b", 0) + 1
        return world.met["b"] > 5 and count(fault, world) == 0

    for _ in range(3):
        soon(meets, "the second step's traffic to be of no use")
    fault.heal(as_stack(world))


def test_traffic_of_a_pause_met_nothing(world: World) -> None:
    fault = Flapping(A, on_s=0.1, off_s=30, cycles=2)
    fault.inject(as_stack(world))
    soon(lambda: "heal a" in world.order(), "the pause")
    world.met["a"] = 99
    assert count(fault, world) == 0
    fault.heal(as_stack(world))
    assert Flapping(Break("a", unit=None), 1, 1, 1).exposure(as_stack(world)) is None


@settings(max_examples=40)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0.001, 0.02)), min_size=1, max_size=6
    ),
    after_s=st.floats(0, 0.1),
)
def test_healed_at_any_moment_nothing_is_left_and_nothing_comes(
    steps: list[tuple[str, float]], after_s: float
) -> None:
    world = World(run_id="any moment")
    fault = Sequence([(Break(what), seconds) for what, seconds in steps])
    fault.inject(as_stack(world))
    threading.Event().wait(after_s)
    fault.heal(as_stack(world))
    assert world.broken == {}
    assert driven(as_stack(world)) == []
    present: set[str] = set()
    for what, name, _ in world.done:
        (present.add if what == "inject" else present.discard)(name)
        assert len(present) <= 1, "two steps at once"


def test_a_driver_ends_with_its_process() -> None:
    program = (
        "from tests.faults.test_compose import A, Flapping, World\n"
        "Flapping(A, 0.01, 0.01, 100_000).inject(World('gone'))\n"
        "print('injected')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "injected\n", "")


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: Sequence([]), "begins with a fault"),
        (lambda: Sequence([(None, 1), (A, 1)]), "begins with a fault"),
        (lambda: Sequence([(A, 0)]), "more than 0 seconds, not 0"),
        (lambda: Sequence([(A, float("nan"))]), "more than 0 seconds"),
        (lambda: Sequence([(A, None), (B, 1)]), "only the last step"),
        (lambda: Sequence([(A, 1), (None, 1), (None, 1), (B, 1)]), "two pauses in a row"),
        (lambda: Sequence([(A, 1), (None, 1)]), "ends with a fault"),
        (lambda: Flapping(A, 0, 1, 1), "more than 0 seconds on and off"),
        (lambda: Flapping(A, 1, 1, 0), "1 cycle or more"),
        (lambda: Ramp(A, "speed", (1, 2), 1), "Break has no 'speed'; it has what, dose"),
        (lambda: Ramp(A, "dose", (1,), 1), "two or more doses"),
        (lambda: Ramp(A, "dose", (1, 3, 2), 1), "go up or down"),
        (lambda: Ramp(A, "dose", (1, 1), 1), "go up or down"),
        (lambda: Ramp(A, "dose", (1, 2), 0), "more than 0 seconds"),
        (
            lambda: Ramp(Latency("postgres", 5, client="hub"), "latency_ms", (0, 5), 1),
            "latency must be from 1 ms",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(build: Callable[[], Fault], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        build()


def test_every_part_gets_its_chance_from_the_seed() -> None:
    steps = Sequence([(A, 1), (None, 1), (B, None)]).seeded(7)
    assert steps == Sequence([(replace(A, seed=7), 1), (None, 1), (replace(B, seed=9), None)])
    assert Flapping(A, 1, 2, 3).seeded(7) == Flapping(replace(A, seed=7), 1, 2, 3)
    assert Ramp(A, "dose", (1, 2), 3).seeded(7) == Ramp(replace(A, seed=7), "dose", (1, 2), 3)
    assert Sequence([(A, 1), (B, 2)]).breaks == {"a", "b"}
    assert Sequence([(A, 1), (None, 1), (B, 2)]).name == "sequence(break(a)>pause>break(b))"
