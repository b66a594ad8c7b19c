"""Signals don't cut clean-up short: they wait until it is done, or for the child that does it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

STOPPING = (signal.SIGINT, signal.SIGTERM)
LOOK_S = 0.2


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM until the block ends; the first one is then delivered.

    Outside the main thread, where Python delivers no signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    try:
        with _handled(arrived.append):
            yield
    finally:
        if arrived:
            signal.raise_signal(arrived[0])


def first_finished(futures: Iterable[Future[T]]) -> set[Future[T]]:
    """Those of ``futures`` that are finished, as soon as there is one.

    A signal ends the wait, between two looks. One that came just before an endless wait for a lock
    began would be noticed only with the next signal; one that came while the futures' own locks are
    held would leave them so.
    """
    while True:
        with signals_deferred():
            finished, _ = wait(futures, timeout=LOOK_S, return_when=FIRST_COMPLETED)
        if finished:
            return finished


def undone(work: Callable[[], None], undo: Callable[[], None]) -> None:
    """Do ``work``, then ``undo`` it, whatever ended it or kept it from beginning.

    A signal that would stop the process interrupts ``work`` (one that nobody handles does it as
    KeyboardInterrupt), and never ``undo``: what arrives from then on is delivered when all is
    undone. A ``finally`` that begins with ``signals_deferred`` is not enough: a signal between the
    two skips the rest. Here the first signal itself closes the door behind it. Outside the main
    thread no signal arrives anyway.
    """
    if threading.current_thread() is not threading.main_thread():
        try:
            work()
        finally:
            undo()
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in STOPPING}
    deferring = over = False
    arrived: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal deferring
        handler = before[number]
        if over:  # a signal has kept the handlers from being restored
            signal.signal(number, handler)
            signal.raise_signal(number)
        elif handler is signal.SIG_IGN:
            pass
        elif deferring:
            arrived.append(number)
        else:
            deferring = True
            if not callable(handler):
                arrived.append(number)  # its own effect comes when all is undone
                raise KeyboardInterrupt
            handler(number, frame)
            deferring = False  # it didn't mind

    try:
        try:
            try:
                for number in STOPPING:
                    signal.signal(number, handle)
                work()
            finally:
                deferring = True
        finally:
            undo()
    finally:
        over = True
        for taken, handler in before.items():
            signal.signal(taken, handler)
        if arrived:
            signal.raise_signal(arrived[0])


@contextlib.contextmanager
def signals_forwarded(pid: int) -> Iterator[None]:
    """Pass SIGINT and SIGTERM on as SIGINT, to the whole group of ``pid``: every worker heals its
    fault and removes its stack by itself, and at the same time."""

    def forward(_: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGINT)

    with _handled(forward):
        yield


def sigterm_interrupts() -> None:
    """From now on SIGTERM is a KeyboardInterrupt, so that a terminated process unwinds like an
    interrupted one. A handler that someone else has set stays."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)


def interrupted_once() -> None:
    """From now on the first SIGINT or SIGTERM is a KeyboardInterrupt; later ones change nothing,
    for who is stopping need not be told again, and must not be kept from cleaning up."""
    told = False

    def interrupt(_: int, __: FrameType | None) -> None:
        nonlocal told
        if not told:
            told = True
            raise KeyboardInterrupt

    for number in STOPPING:
        signal.signal(number, interrupt)


@contextlib.contextmanager
def _handled(handle: Callable[[int], None]) -> Iterator[None]:
    """``handle`` gets the number of every signal that would stop the process in the block."""
    before = {number: signal.signal(number, lambda n, _: handle(n)) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
