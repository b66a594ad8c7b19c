"""The Docker engine: the one that answers, or one that is installed and started here."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException
from docker.types.daemon import CancellableStream
from requests import Response
from requests.exceptions import ReadTimeout, RequestException

from alertdrill.errors import AlertdrillError, DeadlineExceeded, EngineUnavailable, StackError
from alertdrill.stack import debian
from alertdrill.stack.leftovers import remove_dead_runs
from alertdrill.stack.progress import Progress, Task
from alertdrill.wait import eventually

CONNECT_TIMEOUT_S = 30
# The engine lists its networks in milliseconds, or never again.
NETWORKS_TIMEOUT_S = 20
START_TIMEOUT_S = 60.0
# An engine that is locked up needs some 18 s for what it does when it is asked to end.
ENDED_WITHIN_S = 30.0
LOG_LINES_SHOWN = 10
SOCKET = Path("/var/run/docker.sock")
PID_FILE = Path("/var/run/docker.pid")
PID_FILES = {
    PID_FILE: "dockerd",
    Path("/var/run/docker/containerd/containerd.pid"): "containerd",
}
SYSTEM_CONTAINERD = Path("/run/containerd/containerd.sock")
# Containers reach the bridge's address, so a Prometheus among them can scrape the engine. The
# engine listens only after it has made the bridge, so the address exists by then; where the
# bridge has another one, the engine exits and loopback is tried, then none.
METRICS_ADDRESSES = ("172.17.0.1:9323", "127.0.0.1:9323", None)
# In the environment of an engine that was started here.
STARTED_HERE = "ALERTDRILL_ENGINE"
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def connect(timeout_s: int = CONNECT_TIMEOUT_S) -> docker.DockerClient:
    """A client of the engine that DOCKER_HOST names, or of the local one.

    Every call of the client ends after ``timeout_s`` seconds without an answer. Raises
    EngineUnavailable.
    """
    try:
        client = docker.from_env(timeout=timeout_s)
    except (DockerException, RequestException) as error:
        raise EngineUnavailable(
            f"no Docker engine answers at {address()} ({_innermost(error)}); {remedy()}"
        ) from error
    return client


@contextlib.contextmanager
def engine_errors(what: str) -> Iterator[None]:
    """What the engine refuses, and an engine that doesn't answer, is a StackError: ``what``."""
    try:
        yield
    except APIError as error:
        raise StackError(f"{what}: {error.explanation or error}") from error
    except (DockerException, RequestException) as error:
        raise StackError(f"{what}: the engine doesn't answer: {error}") from error


class HangUp:
    """Ends the answers that the engine streams to one client, from another thread.

    The engine gives up on a pull or a build whose client is gone. ``client`` must be this call's
    own: its connection breaks.
    """

    def __init__(self, client: docker.DockerClient) -> None:
        self._cancelled = threading.Event()
        self._response: Response | None = None
        client.api.hooks["response"].append(self._keep_response)

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """End the answer under way, and every later one as soon as it begins."""
        self._cancelled.set()
        self._close()

    def _keep_response(self, response: Response, *_: Any, **__: Any) -> None:
        self._response = response
        if self.is_cancelled:  # while the request was on its way
            self._close()

    def _close(self) -> None:
        if self._response is not None:
            with contextlib.suppress(OSError, AttributeError, DockerException):
                CancellableStream(iter(()), self._response).close()


def ensure_engine(progress: Progress, cache_dir: Path) -> docker.DockerClient:
    """The engine that answers; where there is none, install and start one.

    Installs and starts only as root on Debian or Ubuntu and only when DOCKER_HOST is unset. The
    engine outlives this process; its log is ``cache_dir``/dockerd.log. One that is locked up is
    started anew if it was started so, and what its runs left is removed. Raises
    EngineUnavailable.
    """
    locked_up: int | None = None
    try:
        client = connect()
    except EngineUnavailable:
        if not can_start():
            raise
    else:
        if not _is_locked_up(client):
            return client
        locked_up = _started_here()
        if locked_up is None:
            raise EngineUnavailable(
                f"the Docker engine at {address()} is locked up: it answers, but not for its "
                f"networks (waited {NETWORKS_TIMEOUT_S} s); restart it"
            )
    with progress.task("docker engine") as task:
        if locked_up is not None:
            task.update("the one that runs is locked up, and is started anew")
            _end(locked_up)
        if _dockerd() is None:
            _install(task)
        client = _start(task, cache_dir / "dockerd.log")
        if locked_up is not None:
            remove_dead_runs(client)
        version = client.version()["Version"]
        task.finish(f"{version} answers at {address()}")
    return client


def _is_locked_up(client: docker.DockerClient) -> bool:
    """Whether it never answers for its networks: docs/decisions/0010-one-leaves-at-a-time.md."""
    patient, client.api.timeout = client.api.timeout, NETWORKS_TIMEOUT_S
    try:
        client.api.networks()
    except ReadTimeout:
        return True
    except (DockerException, RequestException):
        return False  # whatever it is, whoever needs the engine will say so
    finally:
        client.api.timeout = patient
    return False


def _started_here() -> int | None:
    """The process id of the local engine, if ``ensure_engine`` has started it."""
    if not can_start() or not _has_process():
        return None
    pid = int(PID_FILE.read_text(encoding="ascii").strip())
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return pid if f"{STARTED_HERE}=1".encode() in environment else None


def _end(pid: int) -> None:
    """End the engine, by force if it doesn't end by itself."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, DeadlineExceeded):
            os.kill(pid, number)
            eventually(
                lambda: not Path(f"/proc/{pid}/exe").exists(),  # which a zombie has no more
                timeout_s=ENDED_WITHIN_S,
                what="dockerd to end",
            )
            break
    PID_FILE.unlink(missing_ok=True)  # one that was killed leaves it


def can_start() -> bool:
    """Whether ``ensure_engine`` would try to install and start an engine."""
    return "DOCKER_HOST" not in os.environ and debian.is_root_here()


def remedy() -> str:
    """What a person can do about a missing engine: the end of a sentence."""
    if "DOCKER_HOST" in os.environ:
        return "DOCKER_HOST names it: start it there, or unset the variable"
    if SOCKET.exists() and not os.access(SOCKET, os.R_OK | os.W_OK):
        return f"this user may not use {SOCKET}: join the group docker, or run as root"
    if not debian.is_here():
        return "install Docker Engine 20.10 or newer and start it"
    if os.geteuid() != 0:
        return "run `make setup` as root, or install docker.io and start dockerd"
    return "`make setup` installs and starts one"


def address() -> str:
    """Where ``connect`` looks for the engine."""
    return os.environ.get("DOCKER_HOST", f"unix://{SOCKET}")


def _dockerd() -> str | None:
    # A login shell's PATH often lacks the sbin folders, and a docker client is no engine.
    return shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:{_SBIN}")


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None or error.__context__ is not None:
        inner = error.__cause__ or error.__context__
        assert inner is not None
        error = inner
    return str(error) or type(error).__name__


def _install(task: Task) -> None:
    packages = ["docker.io", "iptables"]
    apparmor = Path("/sys/module/apparmor/parameters/enabled")
    if apparmor.exists() and apparmor.read_text(encoding="ascii").startswith("Y"):
        packages.append("apparmor")  # without its parser the engine can't start a container
    try:
        debian.install(packages, task)
    except AlertdrillError as error:
        raise EngineUnavailable(f"no Docker engine could be installed: {error}") from error
    if _dockerd() is None:
        raise EngineUnavailable("docker.io was installed, but there is no dockerd in it")


def _start(task: Task, log: Path) -> docker.DockerClient:
    dockerd = _dockerd()
    assert dockerd is not None
    log.parent.mkdir(parents=True, exist_ok=True)
    for address in METRICS_ADDRESSES:
        if _has_process():
            task.update("dockerd is already starting")
            return _await_engine(None, log)
        _drop_stale_files()
        words = [dockerd]
        if address is not None:
            # 20.10 offers its metrics only with --experimental.
            words += ["--experimental", "--metrics-addr", address]
        task.update(" ".join(words))
        with log.open("ab") as output:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
                env=os.environ | {STARTED_HERE: "1"},
            )
        try:
            return _await_engine(process, log)
        except EngineUnavailable:
            if process.poll() is None or address is None:
                raise
    raise AssertionError("the last address is None, which returns or raises")


def _await_engine(process: subprocess.Popen[bytes] | None, log: Path) -> docker.DockerClient:
    def answers() -> docker.DockerClient | None:
        if process is not None and process.poll() is not None:
            raise EngineUnavailable(
                f"dockerd exited with code {process.returncode}; the end of {log}:\n"
                + debian.last_lines(
                    log.read_text(encoding="utf-8", errors="replace"), LOG_LINES_SHOWN
                )
            )
        try:
            return connect()
        except EngineUnavailable:
            return None

    try:
        return eventually(
            answers, timeout_s=START_TIMEOUT_S, what="dockerd to answer", interval_s=0.2
        )
    except DeadlineExceeded as error:
        raise EngineUnavailable(f"{error}; see {log}") from error


def _has_process() -> bool:
    return _process_name(PID_FILE) == PID_FILES[PID_FILE]


def _drop_stale_files() -> None:
    """Remove what a killed engine left: its pid may belong to someone else by now.

    dockerd refuses to start over a pid file whose number is alive, whatever that process is, and
    waits for a system containerd whose socket exists, whoever made it.
    """
    for pid_file, name in PID_FILES.items():
        if pid_file.exists() and _process_name(pid_file) != name:
            pid_file.unlink(missing_ok=True)
    if SYSTEM_CONTAINERD.exists() and not _accepts(SYSTEM_CONTAINERD):
        SYSTEM_CONTAINERD.unlink(missing_ok=True)


def _process_name(pid_file: Path) -> str | None:
    try:
        pid = int(pid_file.read_text(encoding="ascii").strip())
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(2.0)
        return client.connect_ex(str(path)) not in (errno.ECONNREFUSED, errno.ENOENT)
