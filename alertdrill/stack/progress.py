"""What a long step is doing, how far it is and how long so far: live on a terminal, else lines."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress as Live
from rich.progress import ProgressColumn, SpinnerColumn, TaskID, TextColumn
from rich.progress import Task as LiveTask
from rich.text import Text

PLAIN_INTERVAL_S = 1.0
REMINDER_S = 30.0
DETAIL_WIDTH = 100
# In a detail, ``+12 s`` is the time that passes: that it does is no news.
_PASSING = re.compile(r"\+\d+(\.\d+)? s\b")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x1f\x7f]+")


class Task:
    """One subject of a ``Progress``. Made by ``Progress.task``; usable from any thread."""

    def __init__(
        self, progress: Progress, subject: str, live_id: TaskID | None, every_s: float | None
    ) -> None:
        self.subject = subject
        self.live_id = live_id
        self.detail = ""
        self.result = "done"
        self.begun = time.monotonic()
        self.printed = ""
        self.printed_at = 0.0
        self._every_s = every_s
        self._progress = progress

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    @property
    def has_news(self) -> bool:
        """Whether its detail says anything that was not printed, and is not too early."""
        every_s = PLAIN_INTERVAL_S if self._every_s is None else self._every_s
        if self.printed and time.monotonic() - self.printed_at < every_s:
            return False
        return _PASSING.sub("", self.detail) != _PASSING.sub("", self.printed)

    @property
    def silent_s(self) -> float:
        return time.monotonic() - max(self.printed_at, self.begun)

    def update(self, detail: str) -> None:
        """What is being done now, in a few words: ``step 4/9 RUN go build``."""
        self._progress._updated(self, detail)

    def finish(self, result: str) -> None:
        """What the last line says in place of "done"; printed when the task's block ends."""
        self.result = result


class Progress:
    """Reports long steps to ``stream`` (default: standard error). Thread-safe.

    On a terminal every running step has a live line. Elsewhere a step prints a line when it has
    news, at most one per second, and one each 30 s when it is silent, so that a log shows what is
    being waited for. Every line begins with the seconds since the ``Progress`` was made: one
    clock for the whole command.
    """

    def __init__(self, stream: TextIO | None = None, *, live: bool | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._live: Live | None = None
        self._begun = time.monotonic()
        self._lock = threading.RLock()
        self._running: list[Task] = []
        self._idle = threading.Event()
        self._reminder: threading.Thread | None = None
        if self._stream.isatty() if live is None else live:
            self._live = Live(
                SpinnerColumn(),
                _Clock(self),
                TextColumn("{task.description}"),
                TextColumn("[dim]{task.fields[detail]}"),
                console=Console(file=self._stream),
                transient=True,
            )

    @property
    def clock(self) -> str:
        """The seconds since the command began, as every line shows them."""
        return f"{time.monotonic() - self._begun:7.1f} s"

    def say(self, line: str) -> None:
        """Print ``line`` as it is, above whatever is live."""
        with self._lock:
            if self._live is not None:
                self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                print(line, file=self._stream, flush=True)

    @contextmanager
    def task(self, subject: str, *, every_s: float | None = None) -> Iterator[Task]:
        """A step that is under way while the block runs; its end is printed with its seconds.

        ``every_s``: without a terminal, at most one line in that many seconds (default: one).
        """
        task = self._begin(subject, every_s)
        try:
            yield task
        except KeyboardInterrupt:
            self._end(task, "interrupted")
            raise
        except BaseException:
            self._end(task, "failed")
            raise
        self._end(task, task.result)

    def _begin(self, subject: str, every_s: float | None) -> Task:
        with self._lock:
            live_id = None
            if self._live is not None:
                if not self._running:
                    self._live.start()
                live_id = self._live.add_task(escape(subject), total=None, detail="")
            task = Task(self, subject, live_id, every_s)
            self._running.append(task)
            if self._live is None and self._reminder is None:
                self._idle = threading.Event()
                self._reminder = threading.Thread(
                    target=self._remind, args=(self._idle,), name="progress", daemon=True
                )
                self._reminder.start()
            return task

    def _updated(self, task: Task, detail: str) -> None:
        clean = _CONTROL.sub(" ", detail).strip()[:DETAIL_WIDTH]
        with self._lock:
            if clean == task.detail:
                return
            task.detail = clean
            if self._live is not None and task.live_id is not None:
                self._live.update(task.live_id, detail=escape(clean))
            elif task.has_news:
                self._print(task, clean)

    def _end(self, task: Task, result: str) -> None:
        with self._lock:
            self._running.remove(task)
            if self._live is not None and task.live_id is not None:
                self._live.remove_task(task.live_id)
                if not self._running:
                    self._live.stop()
            elif not self._running:
                self._idle.set()
                self._reminder = None
            self._print(task, f"{result} ({task.seconds:.1f} s)")

    def _print(self, task: Task, text: str) -> None:
        task.printed = text
        task.printed_at = time.monotonic()
        self.say(f"{self.clock}  {task.subject}: {text}")

    def _remind(self, idle: threading.Event) -> None:
        while not idle.wait(PLAIN_INTERVAL_S):
            with self._lock:
                for task in self._running:
                    if task.has_news or task.silent_s >= REMINDER_S:
                        self._print(task, task.detail or "under way")


class _Clock(ProgressColumn):
    """The command's clock in front of every live line."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def render(self, task: LiveTask) -> Text:
        return Text(self._progress.clock)
