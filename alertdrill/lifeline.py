"""A process that must not outlive its parent: a gate's pytest, and pytest's workers.

It ends at once, by SIGKILL, and asks nobody: what it had started is removed by the reaper, and
the faults that it had injected go with their containers.
"""

from __future__ import annotations

import os
import signal
import threading

POLL_INTERVAL_S = 0.5


def die_with_parent() -> None:
    """Watch the parent process from a daemon thread, for as long as this process lives."""
    parent = os.getppid()
    pause = threading.Event()

    def watch() -> None:
        while os.getppid() == parent:
            pause.wait(POLL_INTERVAL_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
