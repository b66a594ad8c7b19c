"""Progress without a terminal: every step is told, none floods the log."""

from __future__ import annotations

import io
import re
import threading
import time

import pytest

from alertdrill.stack import progress as module
from alertdrill.stack.progress import Progress
from alertdrill.wait import eventually


def test_a_step_prints_its_first_word_and_its_result_with_seconds() -> None:
    stream = io.StringIO()
    with Progress(stream).task("image x") as task:
        task.update("step 1/2 \x1b[91mCOPY\x1b[0m\n .")
        task.finish("built x:1")
    first, last = stream.getvalue().splitlines()
    assert re.fullmatch(r" +\d+\.\d s  image x: step 1/2  COPY   \.", first)
    assert re.fullmatch(r" +\d+\.\d s  image x: built x:1 \(\d+\.\d s\)", last)


def test_every_line_has_the_clock_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    stream = io.StringIO()
    progress = Progress(stream)
    for subject in ("first", "second"):
        now += 10
        with progress.task(subject) as task:
            now += 5
            task.update("half way")
            now += 1
    assert stream.getvalue().splitlines() == [
        "   15.0 s  first: half way",
        "   16.0 s  first: done (6.0 s)",
        "   31.0 s  second: half way",
        "   32.0 s  second: done (6.0 s)",
    ]


def test_a_flood_of_updates_is_one_line_per_second() -> None:
    stream = io.StringIO()
    with Progress(stream).task("image x") as task:
        for number in range(1_000):
            task.update(f"step {number}")
    assert len(stream.getvalue().splitlines()) == 2


@pytest.mark.parametrize(
    ("details", "told"),
    [
        (("+1 s, awaiting A, B", "+2 s, awaiting A, B", "+11 s, awaiting A, B"), 1),
        (("+1 s, awaiting A, B", "+2 s, awaiting B", "+11 s, awaiting B"), 2),
        (("step 1", "step 2", "step 3"), 2),
    ],
    ids=["only time passed", "one alert less", "numbers that count"],
)
def test_a_step_that_speaks_rarely_prints_news_only(
    monkeypatch: pytest.MonkeyPatch, details: tuple[str, ...], told: int
) -> None:
    """One update each 6 s, one line each 10 s at most."""
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    stream = io.StringIO()
    with Progress(stream).task("stack 0", every_s=10) as task:
        for detail in details:
            task.update(detail)
            now += 6
        said = stream.getvalue().splitlines()
    assert len(said) == told
    assert said[-1].endswith(details[-1] if told == 2 else details[0])


def test_the_last_update_of_a_flood_is_told_when_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLAIN_INTERVAL_S", 0.05)
    stream = io.StringIO()
    with Progress(stream).task("image x") as task:
        task.update("short")
        task.update("long")
        eventually(lambda: "long" in stream.getvalue(), timeout_s=5, what="the last update")
        threading.Event().wait(0.2)
        said = stream.getvalue()
    assert said.count("long") == 1


def test_a_silent_step_reminds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLAIN_INTERVAL_S", 0.02)
    monkeypatch.setattr(module, "REMINDER_S", 0.1)
    stream = io.StringIO()
    with Progress(stream).task("image x") as task:
        begun = time.monotonic()
        task.update("long")
        eventually(lambda: stream.getvalue().count("long") >= 2, timeout_s=5, what="a reminder")
        threading.Event().wait(0.3)
        said = stream.getvalue()
        took_s = time.monotonic() - begun
    assert said.count("long") <= 2 + took_s / 0.1


def test_a_failed_step_says_so() -> None:
    stream = io.StringIO()
    with pytest.raises(RuntimeError), Progress(stream).task("image x"):
        raise RuntimeError
    assert "image x: failed (" in stream.getvalue()


def test_an_interrupted_step_did_not_fail() -> None:
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), Progress(stream).task("image x"):
        raise KeyboardInterrupt
    assert "image x: interrupted (" in stream.getvalue()


def test_on_a_terminal_results_stay_above_the_live_lines() -> None:
    stream = io.StringIO()
    with Progress(stream, live=True).task("image [x]") as task:
        task.update("[bold]step")
        task.finish("built")
    assert "image [x]: built" in stream.getvalue()
