"""Who gives way when the processor is short: the tests do, and what they test goes first.

A scrape that is late because of its own tests would look like a fault. All containers together
weigh as much as a single process of the host, so a busy runner starves them.

A nice value alone does next to nothing where Linux groups processes by session (autogroup, see
sched(7)): it counts within the session, and sessions share the processor as equals. There the
session has a nice value of its own.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from alertdrill.errors import DeadlineExceeded
from alertdrill.wait import eventually


def give_way(niceness: int, pid: int | None = None, *, session: bool) -> None:
    """Lower the priority of a process: this one, or ``pid``. One that is lower stays so.

    ``niceness``  0 to 19, see nice(2)
    ``session``   lower all of its session, which should be its own, where sessions count

    A session that can't be lowered stays as it is: that is slower, and not wrong. Raises
    ProcessLookupError when the process is gone.
    """
    process = os.getpid() if pid is None else pid
    inherited = os.getpriority(os.PRIO_PROCESS, process)
    os.setpriority(os.PRIO_PROCESS, process, max(inherited, niceness))
    of_session = session_niceness(process) if session else None
    if of_session is None or of_session >= niceness:
        return

    def taken() -> bool:
        try:
            _autogroup(process).write_text(str(niceness), encoding="ascii")
        except BlockingIOError:
            return False  # those who aren't root may do it once in 100 ms, all of them together
        return True

    with contextlib.suppress(DeadlineExceeded, OSError):  # a read-only /proc, say
        eventually(taken, timeout_s=2.0, what="the kernel to lower a session", interval_s=0.05)


def session_niceness(pid: int) -> int | None:
    """The nice value of the session of a process; None where sessions have none."""
    try:
        words = _autogroup(pid).read_text(encoding="ascii").split()
    except FileNotFoundError:
        return None  # a kernel without autogroups, or another system than Linux
    return int(words[2]) if len(words) == 3 else None  # "/autogroup-23 nice 5"


def _autogroup(pid: int) -> Path:
    return Path("/proc", str(pid), "autogroup")
