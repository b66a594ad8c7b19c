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
from collections.abc import Iterator

import docker
from docker.errors import APIError, DockerException, NotFound

from alertdrill.errors import DeadlineExceeded
from alertdrill.signals.wait import eventually

RUN_LABEL = "alertdrill.run"
COMPONENT_LABEL = "alertdrill.component"
# The engine may still be creating a container whose client has just died.
SETTLED_SWEEPS = 3
SWEEP_INTERVAL_S = 0.5
ENGINE_TIMEOUT_S = 10


def sweep(client: docker.DockerClient, run_id: str) -> int:
    """Remove every container and network that carries ``run_id``: how many were there.

    Raises docker.errors.APIError when the engine refuses for another reason than that the
    thing is already gone or is being removed by somebody else.
    """
    label: dict[str, str | list[str] | bool] = {"label": f"{RUN_LABEL}={run_id}"}
    found = 0
    for container in client.containers.list(all=True, filters=label, ignore_removed=True):
        found += 1
        with _already_going():
            container.remove(force=True, v=True)
    for network in client.networks.list(filters=label):
        found += 1
        with _already_going():
            network.remove()
    return found


@contextlib.contextmanager
def _already_going() -> Iterator[None]:
    try:
        yield
    except NotFound:
        return
    except APIError as error:
        # 409: the removal is in progress; 403: a network that still has a leaving container.
        if error.status_code not in (403, 409):
            raise


class Reaper:
    """The runner's end: ``Reaper(run_id)`` starts watching, ``dismiss()`` when nothing is left."""

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

    def dismiss(self, timeout_s: float = 30.0) -> None:
        """Close the pipe; the reaper sweeps once more, finds nothing and ends."""
        if self._write >= 0:
            os.write(self._write, b"d")
            os.close(self._write)
            self._write = -1
            self._process.wait(timeout=timeout_s)


def main(run_id: str, read_fd: int) -> None:
    """Block until the runner is gone, then sweep until nothing is found any more."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    dismissed = os.read(read_fd, 1) == b"d"
    empty_sweeps = 0

    def settled() -> bool:
        nonlocal empty_sweeps
        try:
            client = docker.from_env(timeout=ENGINE_TIMEOUT_S)
            found = sweep(client, run_id)
        except (DockerException, OSError):
            return False  # the engine is busy or restarting: ask again until the deadline
        empty_sweeps = 0 if found else empty_sweeps + 1
        return empty_sweeps >= (1 if dismissed else SETTLED_SWEEPS)

    with contextlib.suppress(DeadlineExceeded):
        eventually(
            settled, timeout_s=120.0, what=f"run {run_id} to be gone", interval_s=SWEEP_INTERVAL_S
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
