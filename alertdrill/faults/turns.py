"""What a fault that changes with time breaks when, and the thread that walks through it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alertdrill.errors import AlertdrillError
from alertdrill.faults.contract import Exposure, Fault, Target

# Counting takes its time, so a turn's traffic is counted a little before its end.
COUNTED_AHEAD_S = 0.5


@dataclass(frozen=True)
class Turn:
    """``fault`` None: nothing is broken. ``seconds`` None: until it is healed."""

    fault: Fault | None
    seconds: float | None


@dataclass(frozen=True)
class Now:
    """Which turn it is, and since when (monotonic seconds).

    ``turn`` None: all are over. A new one is made for each turn, so identity tells them apart.
    """

    number: int
    turn: Turn | None
    since: float


class Driver(threading.Thread):
    """Walks through the turns on an absolute schedule, from the first injection on."""

    def __init__(self, fault: str, turns: Sequence[Turn], stack: Target) -> None:
        super().__init__(name=f"drives {fault}", daemon=True)
        self.fault = fault
        self.error: str | None = None
        self._turns = turns
        self._stack = stack
        self._stopped = threading.Event()
        self._changing = threading.RLock()
        self._begun = time.monotonic()
        self._now = Now(0, turns[0], self._begun)
        self._before: Exposure | None = None
        self._grown: list[tuple[Fault, int]] = []

    def begin(self) -> None:
        """The first turn, in the caller's thread. Raises what its injection raises."""
        first = self._turns[0].fault
        if first is not None:
            first.inject(self._stack)
        self.start()

    def stop(self, timeout_s: float) -> bool:
        """From now on nothing more is injected; whether a change that was under way has ended.

        The thread itself may live a little longer, if it was counting: that breaks nothing, and
        healing need not wait for it.
        """
        self._stopped.set()
        ended = self._changing.acquire(timeout=timeout_s)
        if ended:
            self._changing.release()
        return ended

    def now(self) -> Now:
        """The present turn; never in the middle of a change."""
        with self._changing:
            return self._now

    def growths(self) -> list[int]:
        """What each part met that has had a turn, and the present one if it met anything yet."""
        with self._changing:
            now, before, turns = self._now, self._before, list(self._grown)
        present = self._met(now, before)
        if present and now.turn is not None and now.turn.fault is not None:
            turns.append((now.turn.fault, present))
        parts = once(fault for fault, _ in turns)
        return [sum(met for fault, met in turns if fault == part) for part in parts]

    def run(self) -> None:
        try:
            due = self._begun
            for number, turn in enumerate(self._turns):
                if number and not self._change(number, turn):
                    return
                self._count_from(turn.fault)
                if turn.seconds is None:
                    self._stopped.wait()
                    return
                due += turn.seconds
                ahead = min(COUNTED_AHEAD_S, turn.seconds / 2)
                if self._stopped.wait(max(0.0, due - ahead - time.monotonic())):
                    return
                self._count()
                if self._stopped.wait(max(0.0, due - time.monotonic())):
                    return
            self._change(len(self._turns), None)
        except AlertdrillError as error:
            self.error = str(error)

    def _change(self, number: int, turn: Turn | None) -> bool:
        """From one turn to the next; False: stopped, and so the next one was not injected."""
        with self._changing:
            if self._stopped.is_set():
                return False
            before = self._turns[number - 1].fault
            if before is not None:
                before.heal(self._stack)
            if self._stopped.is_set():
                return False
            if turn is not None and turn.fault is not None:
                turn.fault.inject(self._stack)
            self._now = Now(number, turn, time.monotonic())
            self._before = None
            return True

    def _count_from(self, fault: Fault | None) -> None:
        counted = fault.exposure(self._stack) if fault is not None else None
        with self._changing:
            self._before = counted

    def _count(self) -> None:
        """Close the present turn's count."""
        met = self._met(self._now, self._before)
        with self._changing:
            turn = self._now.turn
            if met is not None and turn is not None and turn.fault is not None:
                self._grown.append((turn.fault, met))
            self._before = None

    def _met(self, now: Now, before: Exposure | None) -> int | None:
        if before is None or now.turn is None or now.turn.fault is None:
            return None
        return grown(before, now.turn.fault.exposure(self._stack))


def grown(before: Exposure | None, now: Exposure | None) -> int | None:
    """What was met between two counts; None where nothing counts."""
    if before is None or now is None:
        return None
    return max(0, now.count - before.count)


def once(faults: Iterable[Fault]) -> list[Fault]:
    """Each of ``faults`` once, in their order."""
    found: list[Fault] = []
    for fault in faults:
        if fault not in found:  # not every fault can be hashed
            found.append(fault)
    return found
