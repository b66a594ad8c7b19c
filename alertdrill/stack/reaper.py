"""A detached process that outlives a killed runner and removes what it left behind.

The runner holds the write end of a pipe and the reaper the read end. Whatever ends the runner,
SIGKILL included, closes the write end, and the read returns: no polling, no confusion by a
process id that was given to somebody else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from alertdrill.errors import DeadlineExceeded
from alertdrill.stack.leftovers import sweep
from alertdrill.wait import eventually

# The engine may still be creating a container whose client has just died.
SETTLED_SWEEPS = 3
SWEEP_INTERVAL_S = 0.5
ENGINE_TIMEOUT_S = 10
ENDS_WITHIN_S = 30.0
DISMISSED, RELEASED = b"d", b"k"


class Reaper:
    """The runner's end: ``Reaper(run_id)`` starts watching.

    ``dismiss()`` when nothing is left; ``release()`` to leave everything as it is, for a stack
    that shall outlive its starter. Both may be called when the reaper is already gone.
    """

    def __init__(self, run_id: str) -> None:
        read, self._write = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "alertdrill.stack.reaper", run_id, str(read)],
                pass_fds=(read,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(read)

    @property
    def pid(self) -> int:
        return self._process.pid

    def dismiss(self) -> None:
        """The reaper sweeps once more and ends."""
        self._tell(DISMISSED)

    def release(self) -> None:
        """The reaper ends and touches nothing."""
        self._tell(RELEASED)

    def _tell(self, word: bytes) -> None:
        if self._write < 0:
            return
        with contextlib.suppress(BrokenPipeError):
            os.write(self._write, word)
        os.close(self._write)
        self._write = -1
        # One that still waits for a slow engine ends by itself.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=ENDS_WITHIN_S)


def main(run_id: str, read_fd: int) -> None:
    """Block until the runner is gone, then sweep until nothing is found any more."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    word = os.read(read_fd, 1)
    if word == RELEASED:
        return
    dismissed = word == DISMISSED
    empty_sweeps = 0

    def settled() -> bool:
        nonlocal empty_sweeps
        try:
            client = docker.from_env(timeout=ENGINE_TIMEOUT_S)
            found = sweep(client, run_id)
        except (DockerException, RequestException, OSError):
            return False  # the engine is busy or restarting: ask again until the deadline
        empty_sweeps = 0 if found else empty_sweeps + 1
        return empty_sweeps >= (1 if dismissed else SETTLED_SWEEPS)

    with contextlib.suppress(DeadlineExceeded):
        eventually(
            settled, timeout_s=120.0, what=f"run {run_id} to be gone", interval_s=SWEEP_INTERVAL_S
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
