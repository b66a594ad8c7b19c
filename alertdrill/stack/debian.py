"""What Debian's package tools do on the host: install packages, make a root file system."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from alertdrill.errors import AlertdrillError
from alertdrill.stack.progress import Task

INSTALL_TIMEOUT_S = 900.0
ROOTFS_TIMEOUT_S = 900.0
LOG_LINES_SHOWN = 10


def is_here() -> bool:
    """Whether this is Debian or one of its descendants."""
    return shutil.which("apt-get") is not None and Path("/etc/debian_version").exists()


def is_root_here() -> bool:
    """Whether packages can be installed here."""
    return is_here() and os.geteuid() == 0


def install(packages: Sequence[str], task: Task) -> None:
    """Install packages without asking. Raises AlertdrillError with apt's last lines."""
    # RUNLEVEL=1 keeps a package's script from starting its service: we choose its options.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    # One stale third-party list makes `update` fail while Debian's own lists are fine.
    _run(["apt-get", "update", "-q"], task, INSTALL_TIMEOUT_S, environment, may_fail=True)
    words = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
    _run(words, task, INSTALL_TIMEOUT_S, environment)


def make_rootfs(suite: str, tar: Path, task: Task) -> None:
    """Write a minimal root file system of ``suite`` to ``tar``. Raises AlertdrillError."""
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
        install(missing, task)
    words = ["mmdebstrap", "--variant=minbase", "--components=main", suite, str(tar)]
    _run(words, task, ROOTFS_TIMEOUT_S, dict(os.environ))


def last_lines(text: str, count: int) -> str:
    return "\n".join(text.rstrip().splitlines()[-count:])


def _run(
    words: Sequence[str],
    task: Task,
    timeout_s: float,
    environment: dict[str, str],
    *,
    may_fail: bool = False,
) -> None:
    line = " ".join(words)
    task.update(line)
    process = subprocess.Popen(
        words,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        _end_session(process)
        raise AlertdrillError(f"`{line}` was stopped after {timeout_s:.0f} s") from error
    except BaseException:
        _end_session(process)
        raise
    if process.returncode != 0 and not may_fail:
        raise AlertdrillError(
            f"`{line}` ended with code {process.returncode}:\n"
            + last_lines(output, LOG_LINES_SHOWN)
        )


def _end_session(process: subprocess.Popen[str]) -> None:
    """End the command and all that it started, with time to clean up (mounts of a chroot)."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
