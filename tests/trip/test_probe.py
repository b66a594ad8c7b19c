"""One dose after the other on a stand-in for a bench: what a probe waits for, and what it refuses
to take for an answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from alertdrill.faults.contract import Dosage, Evidence, Exposure, Fault, Target
from alertdrill.rules.deadline import Deadline
from alertdrill.signals.alerts import AlertState
from alertdrill.trip import live
from alertdrill.trip.axis import Axis, dose_axis, duration_axis
from alertdrill.trip.live import live_probe
from alertdrill.trip.result import Pair
from alertdrill.trip.search import Probe, Unmeasured, search
from alertdrill.verdict import Reason
from tests.trip.planted import HALF_FAIL

FACTOR = 60.0
FOR_S = 0.2
WINDOW_S = 0.25


@dataclass
class World:
    """The system, its alert and whoever looks at them. The alert fires ``FOR_S`` after a dose
    above ``limit`` began, and is inactive when it has ended."""

    limit: float = 0.3
    bites: bool = True
    traffic: int = 10
    heals: bool = True
    late: list[str] = field(default_factory=list)
    load_ends: bool = False
    dose: float = 0.0
    since: float = 0.0
    ended: float = 0.0
    met: int = 0
    injections: int = 0
    takes_s: float = 0.0

    def firing_at(self) -> float | None:
        at = self.since + FOR_S
        begun = self.dose > self.limit and time.monotonic() >= at
        return at if begun else None

    # --- the watch ---
    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None: ...

    def first(self, _: str, state: AlertState, since: float) -> float | None:
        at = self.firing_at() if state is AlertState.FIRING else None
        return at if at is not None and at >= since else None

    def states(self) -> dict[str, AlertState]:
        firing = self.firing_at() is not None
        return {"High": AlertState.FIRING if firing else AlertState.INACTIVE}


@dataclass(frozen=True)
class Planted(Fault):
    """Breaks ``share`` of the world."""

    world: World = field(compare=False)
    share: float = 0.5

    @property
    def name(self) -> str:
        return "planted"

    @property
    def dosage(self) -> Dosage:
        return Dosage("share", "share", "share", 0.01, 1.0)

    def inject(self, stack: Target) -> None:
        time.sleep(self.world.takes_s)
        self.world.dose, self.world.since = self.share, time.monotonic()
        self.world.met += self.world.traffic
        self.world.injections += 1

    def is_effective(self, stack: Target) -> Evidence:
        return Evidence(self.world.bites, "looked")

    def heal(self, stack: Target) -> None:
        self.world.dose, self.world.ended = 0.0, time.monotonic()

    def is_healed(self, stack: Target) -> Evidence:
        return Evidence(self.world.heals, "looked")

    def exposure(self, stack: Target) -> Exposure:
        return Exposure(self.world.met, "requests")


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("target_down", "alert_active", "unsteady"):
        monkeypatch.setattr(live.steady, name, lambda *_: None)
    monkeypatch.setattr(live, "leftovers", lambda _: [])
    monkeypatch.setattr(live, "EFFECTIVE_S", 0.1)
    monkeypatch.setattr(live, "HEALED_S", 0.3)
    monkeypatch.setattr(live, "AlertWatch", lambda world, _: world)
    monkeypatch.setattr(live, "late_since", lambda _, bench, **__: bench.metrics.late)


def bench_of(world: World, **more: Any) -> Any:
    deadline = Deadline(
        (("window", WINDOW_S), ("for", FOR_S), ("evaluation", 0.05), ("margin", 0.2))
    )
    health = SimpleNamespace(valid=not world.load_ends, why="Locust exited with code 1")
    load = SimpleNamespace(
        wait_started=lambda timeout_s: None,
        started_at=time.monotonic(),
        validity=lambda *_: health,
    )
    world_as_metrics = SimpleNamespace(
        late=world.late, history=lambda *_: [2 * world.dose, float("nan"), 2 * world.dose]
    )
    given: dict[str, Any] = {
        "config": SimpleNamespace(
            gate=SimpleNamespace(seed=7, repeats=1), clock=SimpleNamespace(factor=FACTOR)
        ),
        "stack": None,
        "unsound": {},
        "monitoring": SimpleNamespace(
            alerts={"High": SimpleNamespace(expr="errors > 0.6", for_s=FOR_S)},
            interval_s=lambda _: 0.02,
            prometheus=SimpleNamespace(jobs=[]),
        ),
        "metrics": world_as_metrics,
        "alerts": world,
        "notifications": None,
        "whole_since": time.monotonic(),
        "timeline": SimpleNamespace(add=lambda *_, **__: None),
        "tell": lambda _: None,
        "load": lambda *_: load,
        "fire_deadline": lambda *_: deadline,
        "resolve_deadline": lambda *_: deadline,
    }
    return SimpleNamespace(**(given | more))


def pair_of(world: World, share: float = 0.5) -> Pair:
    return Pair("High", replace(HALF_FAIL, fault=Planted(world, share)))


def opened(world: World, axis: Axis | None = None, **more: Any) -> Any:
    pair = pair_of(world)
    return live_probe(pair, axis or dose_axis(pair.drill.fault), bench_of(world, **more))


def reason_of(world: World, dose: float = 0.5, **more: Any) -> Reason:
    probe: Probe
    with pytest.raises(Unmeasured) as raised, opened(world, **more) as probe:
        probe(dose)
    return raised.value.reason


def test_a_dose_that_fires_ends_at_once_and_is_healed() -> None:
    world = World()
    with opened(world) as probe:
        reading = probe(0.5)
    assert reading.fired
    assert reading.after_s is not None
    assert FOR_S * FACTOR - 1 <= reading.after_s < 3 * FOR_S * FACTOR
    assert reading.value is not None
    assert reading.value.mean == pytest.approx(1.0)
    assert reading.met == 10
    assert world.dose == 0.0


@pytest.mark.parametrize("takes_s", [0.0, 0.4])
def test_a_dose_that_stays_quiet_lasts_until_the_window_is_full(takes_s: float) -> None:
    world = World(takes_s=takes_s)
    with opened(world) as probe:
        reading = probe(0.2)
    assert not reading.fired
    assert world.ended - world.since >= WINDOW_S + FOR_S + 0.05


def test_the_next_dose_waits_until_no_window_remembers_the_last() -> None:
    world = World()
    with opened(world) as probe:
        probe(0.5)
        ended = world.ended
        probe(0.2)
    assert world.since - ended >= WINDOW_S + 0.05


def test_the_search_finds_the_planted_limit() -> None:
    world = World(limit=0.3)
    pair = pair_of(world)
    axis = dose_axis(pair.drill.fault, 0.1)
    with live_probe(pair, axis, bench_of(world)) as probe:
        found = search(axis, probe, most_probes=12)
    assert found.quiet_up_to is not None
    assert found.fires_from is not None
    assert found.quiet_up_to <= 0.3 < found.fires_from


def test_a_fault_of_a_duration_is_told_as_long_as_it_lasted() -> None:
    world = World()
    with opened(world, duration_axis(60.0, 1.0)) as probe:
        # The one that was served best: kept from the processor, one may last until it fires.
        short = min((probe(6.0) for _ in range(3)), key=lambda reading: reading.dose)
        long = probe(60.0)
    assert not short.fired
    assert short.dose == pytest.approx(6.0, abs=4.0)
    # It had fired after FOR_S, so it need not have lasted longer.
    assert long.fired
    assert FOR_S * FACTOR - 1 <= long.dose < 3 * FOR_S * FACTOR < 60.0


def test_what_proves_nothing_is_no_answer() -> None:
    assert reason_of(World(bites=False)) is Reason.FAULT_NOT_PROVEN
    assert reason_of(World(limit=2.0, traffic=0)) is Reason.NO_TRAFFIC
    assert reason_of(World(load_ends=True)) is Reason.LOAD_INVALID
    assert reason_of(World(heals=False)) is Reason.FAULT_NOT_HEALED
    sleeps = {"unsound": {"High": "it depends on the hour"}}
    assert reason_of(World(), **sleeps) is Reason.NOT_ON_THIS_CLOCK


def test_a_system_that_is_not_calm_before_a_dose_is_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    monkeypatch.setattr(live, "STEADY_S", 0.1)
    monkeypatch.setattr(live.steady, "alert_active", lambda *_: "Other is firing with value 1")
    assert reason_of(world) is Reason.PRECONDITION_UNMET
    assert world.injections == 0


def test_a_machine_that_is_too_slow_is_asked_again_and_then_not_believed() -> None:
    world = World(late=["no scrape for 3 s"])
    assert reason_of(world) is Reason.MACHINE_TOO_SLOW
    assert world.injections == 2
    assert world.dose == 0.0


def test_an_interrupted_probe_has_healed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(world, "states", interrupt)
    with pytest.raises(KeyboardInterrupt), opened(world) as probe:
        probe(0.5)
    assert world.injections == 1
    assert world.dose == 0.0
