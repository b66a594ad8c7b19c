"""Locust in a process of its own: started, listened to, judged and stopped.

The runner never imports Locust. The two talk over pipes: the generator writes events to one, and
ends when the other, its standard input, is closed, which the kernel does however the runner dies.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import urlsplit

from alertdrill.errors import DeadlineExceeded, LoadError, UsageError
from alertdrill.load.plan import Load
from alertdrill.load.protocol import (
    OUT_FD,
    PLAN,
    SEED,
    Finished,
    Plan,
    decode,
    encode_plan,
)
from alertdrill.load.window import (
    SHORTEST_JUDGED_S,
    LoadHealth,
    LoadSnapshot,
    Record,
    Window,
    judge,
)
from alertdrill.niceness import give_way
from alertdrill.wait import eventually

NICENESS = 5
_STOP_S = 3.0
_PIPE_BYTES = 1 << 20
_LOG_LINES = 30
# Settings of the runner's own tools that would change what Locust does, or where it connects.
_FOREIGN = ("PYTEST", "LOCUST", "COV_", "COVERAGE", "ALERTDRILL_LOAD")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class LoadSession:
    """A running load; a context manager that leaves no process behind.

    ``host``          base URL of the system under load: loopback only
    ``out_dir``       gets ``locust.log`` and ``requests.jsonl``, the events as they came; where
                      the latter goes can be changed while it runs (``write_to``)
    ``project_root``  where the load's locustfile is, and where Locust runs
    ``seed``          of everything random in the load

    Entering raises UsageError for a host that isn't on loopback or a missing locustfile. All
    times are ``time.monotonic()``. Safe to use from several threads.
    """

    def __init__(
        self, load: Load, host: str, out_dir: Path, project_root: Path, *, seed: int = 0
    ) -> None:
        self.load = load
        self.host = _loopback(host)
        self._out_dir = out_dir
        self._project_root = project_root
        self._seed = seed
        self._record = Record()
        self._lock = threading.Lock()
        self._protocol_error: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._copy: BinaryIO | None = None
        self._stopped_at: float | None = None
        self._ended_at: float | None = None
        self.started_at: float | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of Locust. Raises LoadError before the start."""
        return self._running().pid

    @property
    def log(self) -> Path:
        """What Locust said."""
        return self._out_dir / "locust.log"

    def start(self) -> None:
        """Start Locust; returns before the first request. See ``wait_started``."""
        if self._process is not None:
            raise LoadError(f"load {self.load.name!r} was started before; a session runs once")
        locustfile = self._project_root / self.load.locustfile
        if not locustfile.is_file():
            raise UsageError(f"load {self.load.name!r}: there is no locustfile {locustfile}")
        self.write_to(self._out_dir)
        source, sink = os.pipe()
        try:
            # Room for seconds of events, should this process be too busy to read.
            fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command(),
                    cwd=self._project_root,
                    env=self._environment(sink),
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(sink,),
                    # Ctrl-C is for the runner: the load goes on until the fault is healed.
                    start_new_session=True,
                )
            # Less than the runner does: a late load proves nothing (see ``validity``).
            give_way(NICENESS, self._process.pid, session=True)
        except OSError as error:
            os.close(source)
            raise LoadError(f"Locust could not be started: {error}") from error
        finally:
            os.close(sink)
        self._reader = threading.Thread(
            target=self._read, args=(os.fdopen(source, "rb"),), name="load-reader", daemon=True
        )
        self._reader.start()

    def write_to(self, out_dir: Path) -> None:
        """From now on ``requests.jsonl`` is written below ``out_dir``, anew."""
        out_dir.mkdir(parents=True, exist_ok=True)
        with self._lock:
            if self._copy is not None:
                self._copy.close()
            self._copy = (out_dir / "requests.jsonl").open("wb")

    def wait_started(self, timeout_s: float = 30.0) -> LoadSnapshot:
        """Wait until every user class has finished a request, successfully or not; when that was
        first seen is then ``started_at``.

        Raises LoadError, with the last lines of Locust's log, when it ends instead or when
        ``timeout_s`` seconds have passed.
        """

        def probe() -> LoadSnapshot | None:
            snapshot = self.snapshot()
            if not snapshot.alive:
                raise LoadError(self._ended_words())
            started = all(counts.finished > 0 for counts in snapshot.users.values())
            return snapshot if started and snapshot.heartbeat_age_s is not None else None

        try:
            snapshot = eventually(
                probe, timeout_s=timeout_s, what="the first request of every user class"
            )
        except DeadlineExceeded as error:
            raise LoadError(f"{error}{self._log_tail()}") from error
        self.started_at = self.started_at or time.monotonic()
        return snapshot

    def snapshot(self) -> LoadSnapshot:
        """The counters of every planned user class, and whether the generator lives."""
        now = time.monotonic()
        alive = self._alive()
        with self._lock:
            beats = self._record.heartbeats
            return LoadSnapshot(
                users=self._record.counts(self.load.rates),
                heartbeat_age_s=max(0.0, now - beats[-1].at) if beats else None,
                alive=alive,
            )

    def since(self, since: float, until: float | None = None) -> Window:
        """The requests that ended from ``since`` on and before ``until`` (None: now)."""
        with self._lock:
            return self._record.window(since, _now_if_none(until))

    def stuck(self) -> int:
        """Requests that wait now, of user classes none of whose requests ends any more."""
        with self._lock:
            return self._record.stuck(self.load.rates, time.monotonic())

    def requests(self, since: float, until: float | None = None) -> list[Finished]:
        """As ``since``, one by one in the order of their end."""
        with self._lock:
            return self._record.requests(since, _now_if_none(until))

    def longest_silence(self, since: float, until: float | None = None) -> float:
        """The longest time without a heartbeat of the generator that touches the window, in
        seconds; ``until`` None: now."""
        with self._lock:
            return self._record.longest_silence(since, _now_if_none(until))

    def validity(self, since: float, until: float | None = None) -> LoadHealth:
        """Whether the load kept its plan in a window: the generator lived, its heartbeats came,
        and each user class started at least half of its planned requests (not judged in windows
        under 2 s, nor where fewer than 4 requests are planned).

        ``until`` None: now, or when the session was stopped.
        """
        end = until if until is not None else self._stopped_at or time.monotonic()
        if end <= since:
            return LoadHealth(
                False, f"an empty window: it ends {since - end:.1f} s before it starts"
            )
        died = self._died_before(end)
        with self._lock:
            return judge(self._record, self.load.rates, since, end, died or self._protocol_error)

    def is_sound(self) -> bool:
        """Whether it runs, and has kept its plan lately."""
        now = time.monotonic()
        return self._stopped_at is None and self.validity(now - SHORTEST_JUDGED_S, now).valid

    def stop(self) -> None:
        """End Locust: ask it, wait 3 s at most, then kill it. Does nothing the second time."""
        process = self._process
        if process is None or self._stopped_at is not None:
            return
        self._alive()  # notes an end that came before this one
        self._stopped_at = time.monotonic()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdin is not None
        process.stdin.close()
        if self._reader is not None:
            self._reader.join(_STOP_S)

    def _command(self) -> list[str]:
        users = self.load.users
        total = str(sum(users.values()))
        return [
            *(sys.executable, "-m", "locust", "-f", self.load.locustfile),
            *("--headless", "--only-summary", "--loglevel", "WARNING"),
            *("--host", self.host, "--users", total, "--spawn-rate", total),
            *users,
        ]

    def _environment(self, sink: int) -> dict[str, str]:
        plan = Plan(self.load.rates, self.load.users, self.load.timeout_s)
        return {
            **_without_foreign(os.environ),
            "PYTHONUNBUFFERED": "1",
            OUT_FD: str(sink),
            PLAN: encode_plan(plan),
            SEED: str(self._seed),
        }

    def _read(self, source: BinaryIO) -> None:
        with source:
            for line in source:
                with self._lock:
                    if self._copy is not None:
                        self._copy.write(line)
                    try:
                        self._record.add(decode(line))
                    except ValueError as error:
                        self._protocol_error = self._protocol_error or str(error)
        with self._lock:
            if self._copy is not None:
                self._copy.close()
                self._copy = None
        self._note_end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise LoadError(f"load {self.load.name!r} was not started")
        return self._process

    def _alive(self) -> bool:
        if self._running().poll() is not None:
            self._note_end()
        return self._ended_at is None

    def _note_end(self) -> None:
        with self._lock:
            if self._ended_at is None:
                self._ended_at = time.monotonic()

    def _died_before(self, end: float) -> str | None:
        """How Locust ended by itself, when it did so before ``end``."""
        if self._alive() or self._ended_at is None or self._ended_at >= end:
            return None
        if self._stopped_at is not None and self._ended_at >= self._stopped_at:
            return "the load was stopped before the window ended"
        return self._ended_words()

    def _ended_words(self) -> str:
        try:
            code = self._running().wait(_STOP_S)
            how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        except subprocess.TimeoutExpired:
            how = "closed its pipe"
        return f"Locust {how}{self._log_tail()}"

    def _log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return f"; the end of {self.log}:\n" + "\n".join(lines) if lines else ""


def _now_if_none(moment: float | None) -> float:
    return time.monotonic() if moment is None else moment


def _loopback(host: str) -> str:
    """``host`` without a trailing slash. Raises UsageError unless it is on loopback."""
    parts = urlsplit(host)
    name = parts.hostname or ""
    try:
        local = name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        local = False
    if parts.scheme != "http" or not local or parts.path not in ("", "/") or parts.username:
        raise UsageError(
            f"load goes to loopback only: {host!r} is no http://127.0.0.1:PORT or http://localhost:PORT"
        )
    return host.rstrip("/")


def _without_foreign(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(_FOREIGN) and name.lower() not in _PROXIES
    }
