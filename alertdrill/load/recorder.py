"""The generator's side of the protocol: runs inside Locust, writes to the runner, dies with it.

Imported by ``alertdrill.load.users`` only; the runner never imports it, since Locust patches its
process with gevent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import gevent
import gevent.socket

from alertdrill.load.pacing import SlotClock
from alertdrill.load.protocol import HEARTBEAT_S, OUT_FD, Broken, Event, Finished, Heartbeat

_STDIN = 0
_PARENT_GONE = 70


@dataclass
class Lane:
    """One user class at work: its schedule and its counters."""

    name: str
    clock: SlotClock
    timeout_s: float
    started: int = 0
    inflight: int = 0


@dataclass
class Recorder:
    """Writes events to ``fd``; without one (Locust run by hand) it stays silent."""

    fd: int | None
    lanes: Mapping[str, Lane] = field(default_factory=dict)
    users: Callable[[], int] = lambda: 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Recorder:
        fd = environment.get(OUT_FD)
        return cls(None if fd is None else int(fd))

    def watch(self, lanes: Mapping[str, Lane], users: Callable[[], int]) -> None:
        """Start the heartbeat, and end this process as soon as its parent is gone.

        ``users`` says how many there are.
        """
        self.lanes = lanes
        self.users = users
        if self.fd is not None:
            gevent.spawn(self._heartbeat, os.getppid())
            gevent.spawn(_exit_at_end_of_stdin)

    def finished(self, event: Finished) -> None:
        self._write(event)

    def broken(self, user: str, error: BaseException) -> None:
        self._write(Broken(time.monotonic(), user, f"{type(error).__name__}: {error}"[:500]))

    def beat(self) -> None:
        """Write a heartbeat now."""
        lanes = self.lanes
        self._write(
            Heartbeat(
                at=time.monotonic(),
                users=self.users(),
                started={name: lane.started for name, lane in lanes.items()},
                inflight={name: lane.inflight for name, lane in lanes.items()},
                missed={name: lane.clock.missed for name, lane in lanes.items()},
            )
        )

    def _heartbeat(self, parent: int) -> None:
        while True:
            self.beat()
            gevent.sleep(HEARTBEAT_S)
            # The pipe alone does not tell when someone else inherited the runner's end of it.
            if os.getppid() != parent:
                os._exit(_PARENT_GONE)

    def _write(self, event: Event) -> None:
        if self.fd is None:
            return
        try:
            # Unbuffered, so that nothing is lost when this process is killed. A line is shorter
            # than PIPE_BUF (4096 bytes on Linux), so it is written whole.
            os.write(self.fd, event.line())
        except BrokenPipeError:
            os._exit(_PARENT_GONE)


def _exit_at_end_of_stdin() -> None:
    # The runner holds the other end and never writes: readable means that it is gone, however
    # it died. PR_SET_PDEATHSIG would also fire when only the thread ends that started us.
    gevent.socket.wait_read(_STDIN)
    os._exit(_PARENT_GONE)
