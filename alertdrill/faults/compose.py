"""Faults made of faults: several at once, one after another, on and off, with a growing dose.

What changes with time is driven by a thread of the process that injected it: it ends with the
process, and healing ends it first. Healing from another process undoes every part, but can't keep
a driver that is still alive elsewhere from injecting the next one.

A composed fault met traffic only if every part did that counts it and has had its turn. What is
told is the least that any of them met, never a sum: a thousand requests through one proxy don't
make up for none through the other. A part that can't count (a killed container) is vouched for
by its proof alone; if no part counts, neither does the whole.
"""

from __future__ import annotations

import collections.abc
import threading
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace

from alertdrill.errors import AlertdrillError, DeadlineExceeded, FaultError, UsageError
from alertdrill.faults.contract import Evidence, Exposure, Fault, Target
from alertdrill.faults.turns import Driver, Now, Turn, grown, once
from alertdrill.wait import eventually

# The longest that a single part may take to be injected or healed: a container has 10 s to stop.
TURN_S = 20.0
# How long after its turn began a part may be seen not to bite yet.
SETTLES_S = 2.0
LOOKS = 3


# --- what must be remembered of one composed fault on one stack ----------------------------


@dataclass
class _Record:
    """``told`` is the highest count told, ``past`` what it was at injection, ``base`` what the
    parts had counted then; the driver is there from injection until healing."""

    told: int = 0
    past: int = 0
    base: list[Exposure | None] | None = None
    injected: bool = False
    driver: Driver | None = None
    units: list[Exposure | None] | None = None

    def grown_to(self, growth: int) -> int:
        self.told = max(self.told, self.past + growth)
        return self.told


class _Records:
    """By run and fault, so that an equal fault heals what another one has injected."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[tuple[str, str], _Record] = {}

    def of(self, stack: Target, fault: Fault) -> _Record:
        # Not every fault can be hashed: one may hold a mapping.
        with self._lock:
            return self._records.setdefault((stack.run_id, repr(fault)), _Record())

    def driven(self, run_id: str) -> list[Driver]:
        with self._lock:
            records = [record for (run, _), record in self._records.items() if run == run_id]
        drivers = [record.driver for record in records if record.driver is not None]
        return [driver for driver in drivers if driver.is_alive()]


# Threads can't be read back from what they break; it is theirs to be known by run and fault.
_RECORDS = _Records()


def driven(stack: Target) -> list[str]:
    """The faults that a thread of this process is driving on ``stack``, by name."""
    return [driver.fault for driver in _RECORDS.driven(stack.run_id)]


def _counted(parts: Iterable[Fault], stack: Target) -> list[Exposure | None]:
    return [part.exposure(stack) for part in parts]


def _unit(exposures: Iterable[Exposure | None]) -> str | None:
    units = list(dict.fromkeys(e.unit for e in exposures if e is not None))
    if len(units) < 2:
        return units[0] if units else None
    return f"the least of {', '.join(units[:-1])} and {units[-1]}"


# --- what all composed faults share --------------------------------------------------------


@dataclass(frozen=True)
class _Composed(Fault):
    layer = "combination"

    @property
    @abstractmethod
    def _parts(self) -> tuple[Fault, ...]:
        """Each part once, in the order of injection."""

    @property
    def breaks(self) -> frozenset[str]:
        return frozenset().union(*(part.breaks for part in self._parts))

    @property
    def touches(self) -> frozenset[str]:
        return frozenset().union(*(part.touches for part in self._parts))

    def is_healed(self, stack: Target) -> Evidence:
        return _all(part.is_healed(stack) for part in self._parts)

    @contextmanager
    def _all_or_nothing(self, stack: Target) -> Iterator[None]:
        """Whatever ends the block, an interrupt too, heals every part before it goes on."""
        try:
            yield
        except BaseException as error:
            try:
                self.heal(stack)
            except FaultError as also:
                if isinstance(error, AlertdrillError):
                    raise FaultError(f"{error}; then {also}") from error
                error.add_note(str(also))
            raise

    def _heal_parts(self, stack: Target) -> None:
        """All of them, last one first, whatever happens to one. Raises FaultError at the end."""
        failed: list[str] = []

        def heal(part: Fault) -> None:
            try:
                part.heal(stack)
            except AlertdrillError as error:
                failed.append(f"{part.name}: {error}")

        with ExitStack() as healing:
            for part in self._parts:
                healing.callback(heal, part)
        if failed:
            raise FaultError(f"{self.name} is not healed: " + "; ".join(failed))


def _all(evidence: Iterable[Evidence]) -> Evidence:
    seen = list(evidence)
    return Evidence(all(e.holds for e in seen), "; ".join(e.seen for e in seen))


def _identity(fault: Fault) -> str:
    """What tells a fault from its like in the thing that it breaks."""
    return str(getattr(fault, "identifier", fault.name))


def _reseeded(parts: Iterable[Fault], seed: int) -> list[Fault]:
    """With one seed for all, two faults of the same rate would pick the same requests."""
    return [part.seeded(seed + n) for n, part in enumerate(parts)]


# --- at once -------------------------------------------------------------------------------


@dataclass(frozen=True, init=False)
class Together(_Composed):
    """Two or more faults at once, injected in this order and healed in reverse.

    Proven by: every part is, while the others are in force; so parts that hide one another (a
    latency behind a refused connection) are never proven. Two parts that would replace each other
    (two latencies of one service) raise UsageError.
    """

    parts: tuple[Fault, ...]

    def __init__(self, *parts: Fault) -> None:
        if len(parts) < 2:
            raise UsageError(f"faults together are two or more, not {len(parts)}")
        twice = sorted(
            {p.name for p in parts if sum(_identity(p) == _identity(o) for o in parts) > 1}
        )
        if twice:
            raise UsageError(f"{', '.join(twice)} stands twice among faults together")
        object.__setattr__(self, "parts", parts)

    @property
    def _parts(self) -> tuple[Fault, ...]:
        return self.parts

    @property
    def name(self) -> str:
        return f"together({'+'.join(part.name for part in self.parts)})"

    def seeded(self, seed: int) -> Fault:
        return Together(*_reseeded(self.parts, seed))

    def inject(self, stack: Target) -> None:
        """All or nothing: when one part fails, all are healed and its FaultError is raised."""
        record = _RECORDS.of(stack, self)
        if not record.injected:
            if record.base is None:
                record.base = _counted(self.parts, stack)
            record.past = record.told
            record.injected = True
        with self._all_or_nothing(stack):
            for part in self.parts:
                part.inject(stack)

    def is_effective(self, stack: Target) -> Evidence:
        return _all(part.is_effective(stack) for part in self.parts)

    def heal(self, stack: Target) -> None:
        self._heal_parts(stack)
        record = _RECORDS.of(stack, self)
        record.injected, record.base = False, None

    def exposure(self, stack: Target) -> Exposure | None:
        """Of what was met since injection, the least that any part counted."""
        now = _counted(self.parts, stack)
        unit = _unit(now)
        if unit is None:
            return None
        record = _RECORDS.of(stack, self)
        if not record.injected or record.base is None:
            record.base = now
            return Exposure(record.told, unit)
        growths = [grown(b, n) for b, n in zip(record.base, now, strict=True)]
        return Exposure(record.grown_to(min(g for g in growths if g is not None)), unit)


# --- in time -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Timed(_Composed):
    """What faults that change with time share.

    ``inject`` breaks the first thing and starts the driver. Proven by: the part whose turn it is
    bites, or, in a pause, the one before it doesn't; when all turns are over nothing holds.
    """

    @abstractmethod
    def _turns(self) -> tuple[Turn, ...]:
        """What is broken when, from injection on."""

    @property
    def _parts(self) -> tuple[Fault, ...]:
        return tuple(once(turn.fault for turn in self._turns() if turn.fault is not None))

    def inject(self, stack: Target) -> None:
        """From the first turn on, also when it was injected before."""
        record = _RECORDS.of(stack, self)
        if record.driver is not None:
            self.heal(stack)
        record.past = record.told
        driver = record.driver = Driver(self.name, self._turns(), stack)
        with self._all_or_nothing(stack):
            driver.begin()

    def is_effective(self, stack: Target) -> Evidence:
        driver = _RECORDS.of(stack, self).driver
        if driver is None:
            return Evidence(False, f"nobody in this process drives {self.name}")
        for _ in range(LOOKS):
            now = driver.now()
            evidence = self._as_planned(driver, now, stack)
            if driver.now() is now:
                return evidence
        return Evidence(False, f"{self.name} changes faster than it can be looked at")

    def _as_planned(self, driver: Driver, now: Now, stack: Target) -> Evidence:
        if driver.error is not None:
            return Evidence(False, f"its driver gave up: {driver.error}")
        if now.turn is not None and not driver.is_alive():
            return Evidence(False, f"the driver of {self.name} has died")
        turns = self._turns()
        if now.turn is None:
            gone_s = time.monotonic() - now.since
            return Evidence(False, f"all {len(turns)} turns are over since {gone_s:.1f} s")
        where = f"turn {now.number + 1} of {len(turns)}"
        fault, expected = now.turn.fault, True
        if fault is None:
            # The pause after a pause is refused, and so is one at the beginning.
            fault, expected = turns[now.number - 1].fault, False
        assert fault is not None
        evidence = fault.is_effective(stack)

        def settled() -> bool:
            nonlocal evidence
            if evidence.holds is not expected and driver.now() is now:
                evidence = fault.is_effective(stack)
            return evidence.holds is expected or driver.now() is not now

        left_s = now.since + SETTLES_S - time.monotonic()
        try:
            eventually(settled, timeout_s=max(0.0, left_s), what=f"{where} to be seen")
        except DeadlineExceeded:
            return Evidence(False, f"{where} is not as planned: {evidence.seen}")
        return Evidence(True, f"{where}{'' if expected else ', a pause'}: {evidence.seen}")

    def heal(self, stack: Target) -> None:
        """Nothing is injected from the call on; a part that is being injected is waited for."""
        record = _RECORDS.of(stack, self)
        driver = record.driver
        stopped = driver is None or driver.stop(TURN_S)
        self._heal_parts(stack)
        if not stopped:
            raise FaultError(f"{self.name}: a part is still being injected after {TURN_S:.0f} s")
        record.driver = None

    def is_healed(self, stack: Target) -> Evidence:
        if _RECORDS.of(stack, self).driver is not None:
            return Evidence(False, f"{self.name} is still being driven")
        return super().is_healed(stack)

    def exposure(self, stack: Target) -> Exposure | None:
        """Of what was met during their turns, the least that any part counted.

        It may shrink within a drill, when a part has had its turn and met less; it is never less
        than what was told before injection.
        """
        record = _RECORDS.of(stack, self)
        if record.units is None:
            record.units = _counted(self._parts, stack)
        unit = _unit(record.units)
        if unit is None:
            return None
        driver = record.driver
        if driver is None:
            return Exposure(record.told, unit)
        if driver.error is not None:
            raise FaultError(f"{self.name}: its driver gave up: {driver.error}")
        growth = min(driver.growths(), default=0)
        record.grown_to(growth)
        return Exposure(record.past + growth, unit)


@dataclass(frozen=True)
class Sequence(_Timed):
    """Faults one after another: pairs of a fault, or None for a pause, and its seconds.

    The seconds of the last one may be None: it stays until it is healed. Else all is whole again
    at the end, and a drill that goes on is told so.
    """

    steps: collections.abc.Sequence[tuple[Fault | None, float | None]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple((fault, seconds) for fault, seconds in self.steps))
        if not self.steps or self.steps[0][0] is None:
            raise UsageError("a sequence begins with a fault")
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            if before[1] is None:
                raise UsageError("only the last step of a sequence may last until it is healed")
            if before[0] is None and after[0] is None:
                raise UsageError("a sequence has two pauses in a row; make them one")
        for _, seconds in self.steps:
            if seconds is not None and not seconds > 0:
                raise UsageError(f"a step lasts more than 0 seconds, not {seconds:g}")
        if self.steps[-1][0] is None:
            raise UsageError("a sequence ends with a fault: a pause at its end is its end")

    def _turns(self) -> tuple[Turn, ...]:
        return tuple(Turn(fault, seconds) for fault, seconds in self.steps)

    @property
    def name(self) -> str:
        return f"sequence({'>'.join(f.name if f else 'pause' for f, _ in self.steps)})"

    def seeded(self, seed: int) -> Fault:
        steps = enumerate(self.steps)
        return Sequence([(f.seeded(seed + n) if f else None, seconds) for n, (f, seconds) in steps])


@dataclass(frozen=True)
class Flapping(_Timed):
    """A fault that comes for ``on_s`` seconds and goes for ``off_s``, ``cycles`` times over."""

    fault: Fault
    on_s: float
    off_s: float
    cycles: int

    def __post_init__(self) -> None:
        if not (self.on_s > 0 and self.off_s > 0 and self.cycles >= 1):
            raise UsageError(
                "flapping takes more than 0 seconds on and off and 1 cycle or more, "
                f"not {self.on_s:g}, {self.off_s:g} and {self.cycles}"
            )

    def _turns(self) -> tuple[Turn, ...]:
        return (Turn(self.fault, self.on_s), Turn(None, self.off_s)) * self.cycles

    @property
    def name(self) -> str:
        return f"flapping({self.fault.name})"

    def seeded(self, seed: int) -> Fault:
        return replace(self, fault=self.fault.seeded(seed))


@dataclass(frozen=True)
class Ramp(_Timed):
    """A fault whose ``dose``, one of its fields, takes each of ``doses`` for ``step_s`` seconds.

    ``doses`` go up or down; the last one stays until it is healed. For example
    ``Ramp(Latency("postgres", 50, client="hub"), "latency_ms", (50, 100, 200), step_s=5)``.
    """

    fault: Fault
    dose: str
    doses: collections.abc.Sequence[float]
    step_s: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "doses", tuple(self.doses))
        known = [f.name for f in fields(self.fault) if f.init]  # type: ignore[arg-type]
        if self.dose not in known:
            raise UsageError(
                f"{type(self.fault).__name__} has no {self.dose!r}; it has {', '.join(known)}"
            )
        if len(self.doses) < 2 or list(self.doses) not in (
            sorted(set(self.doses)),
            sorted(set(self.doses), reverse=True),
        ):
            raise UsageError(f"a ramp takes two or more doses that go up or down, not {self.doses}")
        if not self.step_s > 0:
            raise UsageError(f"a dose lasts more than 0 seconds, not {self.step_s:g}")
        self._turns()  # a dose that the fault refuses is refused here

    def _turns(self) -> tuple[Turn, ...]:
        dosed = [replace(self.fault, **{self.dose: dose}) for dose in self.doses]  # type: ignore[type-var]
        seconds = [*[self.step_s] * (len(dosed) - 1), None]
        return tuple(Turn(fault, s) for fault, s in zip(dosed, seconds, strict=True))

    @property
    def name(self) -> str:
        return f"ramp({self.fault.name})"

    def seeded(self, seed: int) -> Fault:
        return replace(self, fault=self.fault.seeded(seed))
