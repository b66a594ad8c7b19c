"""Signals don't cut clean-up short: they wait until it is done, or for the child that does it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)


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


@contextlib.contextmanager
def _handled(handle: Callable[[int], None]) -> Iterator[None]:
    """``handle`` gets the number of every signal that would stop the process in the block."""
    before = {number: signal.signal(number, lambda n, _: handle(n)) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
