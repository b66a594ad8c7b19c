"""Waiting: the first answer that holds, within its time, and never less than two slow looks."""

from __future__ import annotations

import threading
import time

import pytest

from alertdrill.errors import DeadlineExceeded
from alertdrill.wait import eventually


def test_one_slow_look_is_not_the_only_one() -> None:
    answers = iter([False, True])

    def slow() -> bool:
        time.sleep(0.05)
        return next(answers)

    assert eventually(slow, timeout_s=0.01, what="it")


def test_without_time_it_looks_once() -> None:
    looks: list[int] = []
    with pytest.raises(DeadlineExceeded, match=r"waited 0\.0 s for it"):
        eventually(lambda: looks.append(1), timeout_s=0.0, what="it")
    assert looks == [1]


def test_what_never_holds_is_given_up() -> None:
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        eventually(lambda: None, timeout_s=0.1, what="it")
    assert time.monotonic() - begun >= 0.1


def test_zero_is_an_answer() -> None:
    assert eventually(lambda: 0, timeout_s=0.0, what="it") == 0


def test_who_cancels_ends_the_wait() -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(DeadlineExceeded, match="cancelled"):
        eventually(lambda: None, timeout_s=60.0, what="it", cancelled=cancelled)
