"""What Debian's package tools do on the host: install packages, make a root file system."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from alertdrill.errors import AlertdrillError, DeadlineExceeded
from alertdrill.shield import signals_deferred
from alertdrill.stack.progress import Task
from alertdrill.wait import eventually

INSTALL_TIMEOUT_S = 900.0
ROOTFS_TIMEOUT_S = 900.0
# mmdebstrap was seen to take 1.4 s to undo what it had begun.
CLEAN_UP_S = 1.8
KILLED_TIMEOUT_S = 10.0
LOG_LINES_SHOWN = 10


def is_here() -> bool:
    """Whether this is Debian or one of its descendants."""
    return shutil.which("apt-get") is not None and Path("/etc/debian_version").exists()


def is_root_here() -> bool:
    """Whether packages can be installed here."""
    return is_here() and os.geteuid() == 0


def install(packages: Sequence[str], task: Task, cancelled: threading.Event | None = None) -> None:
    """Install packages without asking; ``cancelled``, once set, ends it.

    Raises AlertdrillError with apt's last lines.
    """
    # RUNLEVEL=1 keeps a package's script from starting its service: we choose its options.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    # An interrupted set-up may have left packages unpacked, and then apt refuses everything else.
    repair = ["dpkg", "--configure", "-a"]
    _run(repair, task, INSTALL_TIMEOUT_S, environment, cancelled=cancelled, may_fail=True)
    # One stale third-party list makes `update` fail while Debian's own lists are fine.
    update = ["apt-get", "update", "-q"]
    _run(update, task, INSTALL_TIMEOUT_S, environment, cancelled=cancelled, may_fail=True)
    words = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
    _run(words, task, INSTALL_TIMEOUT_S, environment, cancelled=cancelled)


def make_rootfs(
    suite: str, tar: Path, task: Task, cancelled: threading.Event | None = None
) -> None:
    """Write a minimal root file system of ``suite`` to ``tar``; ``cancelled``, once set, ends it.

    Raises AlertdrillError.
    """
    missing = [
        package
        for package, there in {
            "mmdebstrap": shutil.which("mmdebstrap") is not None,
            "debian-archive-keyring": Path(
                "/usr/share/keyrings/debian-archive-keyring.gpg"
            ).exists(),
        }.items()
        if not there
    ]
    if missing:
        install(missing, task, cancelled)
    words = ["mmdebstrap", "--variant=minbase", "--components=main", suite, str(tar)]
    _run(words, task, ROOTFS_TIMEOUT_S, dict(os.environ), cancelled=cancelled)


def last_lines(text: str, count: int) -> str:
    return "\n".join(text.rstrip().splitlines()[-count:])


def _run(
    words: Sequence[str],
    task: Task,
    timeout_s: float,
    environment: dict[str, str],
    *,
    cancelled: threading.Event | None = None,
    may_fail: bool = False,
) -> None:
    line = " ".join(words)
    task.update(line)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process: subprocess.Popen[bytes] | None = None
        try:
            with signals_deferred():  # one that came amid it would leave a process that nobody ends
                process = subprocess.Popen(
                    words,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            eventually(
                lambda: process.poll() is not None,
                timeout_s=timeout_s,
                what="its end",
                interval_s=0.1,
                cancelled=cancelled,
            )
        except BaseException as error:
            if process is not None:
                _end_session(process)
            if isinstance(error, DeadlineExceeded):
                raise AlertdrillError(f"`{line}` was ended: {error}") from error
            raise
        output.seek(0)
        if process.returncode != 0 and not may_fail:
            raise AlertdrillError(
                f"`{line}` ended with code {process.returncode}:\n"
                + last_lines(output.read(), LOG_LINES_SHOWN)
            )


def _end_session(process: subprocess.Popen[bytes]) -> None:
    """End the command and all that it started, with time to clean up (mounts of a chroot)."""

    def ended() -> bool:
        process.poll()  # a leader that nobody has waited for would count as alive
        return not _signal_group(process.pid, 0)

    with signals_deferred():
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(DeadlineExceeded):
            eventually(ended, timeout_s=CLEAN_UP_S, what="its clean-up")
        _signal_group(process.pid, signal.SIGKILL)
        process.wait(timeout=KILLED_TIMEOUT_S)


def _signal_group(leader: int, number: int) -> bool:
    """Send a signal to all of the group; whether there was anybody."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return False
    return True
