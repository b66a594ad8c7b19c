"""An interrupted set-up: everything that it started ends with it, and nothing is half done."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from alertdrill.errors import AlertdrillError, ImageUnavailable
from alertdrill.stack import debian
from alertdrill.stack import images as module
from alertdrill.stack.component import Image
from alertdrill.stack.images import ImageStore
from alertdrill.stack.progress import Progress
from alertdrill.wait import eventually
from fixtures.images import IMAGES

PROJECT = Path(__file__).parents[2]
EXIT_INTERRUPTED = 130
# Ending the commands may take CLEAN_UP_S; the rest is for Python, on a busy machine. Whoever waits
# for the commands waits for minutes.
ENDS_WITHIN_S = debian.CLEAN_UP_S + 10.0
# Ends neither by SIGTERM nor with its parent, and neither does what it starts.
STUBBORN = "trap '' TERM INT HUP"
SLOW_COMMAND = """#!/bin/sh
{manners}
sleep 300 &
echo $$ $! > "$PIDS.new"
mv "$PIDS.new" "$PIDS"
sleep 300
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a base image; a folder for temporary files, one for commands."""
    folder = tmp_path / "images" / "base"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("ARG ROOTFS\nFROM ${ROOTFS}\n")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "bin").mkdir()
    return tmp_path


def plant_slow_commands(root: Path, manners: str) -> None:
    for name, text in {
        "apt-get": SLOW_COMMAND,
        "mmdebstrap": SLOW_COMMAND,
        "dpkg": "#!/bin/sh\n",
    }.items():
        command = root / "bin" / name
        command.write_text(text.format(manners=manners))
        command.chmod(0o755)


Runner = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start(root: Path) -> Iterator[Runner]:
    """Starts one long step of set-up in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def run(step: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.stack.setup_runner", step, str(root)],
            cwd=PROJECT,
            env={
                **os.environ,
                "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
                "PIDS": str(root / "pids"),
                "TMPDIR": str(root / "tmp"),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


def stop(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Signal it and wait for its end: what it said."""
    begun = time.monotonic()
    process.send_signal(number)
    try:
        _, said = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGUSR1)  # it says where its threads hang
        time.sleep(1)
        process.kill()
        raise AssertionError(process.communicate(timeout=10)[1]) from None
    assert time.monotonic() - begun < ENDS_WITHIN_S
    assert process.returncode == EXIT_INTERRUPTED, said
    assert said.endswith("interrupted\n")
    assert "Traceback" not in said
    return said


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def await_ended(pids: list[int]) -> None:
    """Killed, they may yet wait for a processor to end on; not killed, they last for minutes."""
    eventually(lambda: not [p for p in pids if runs(p)], timeout_s=10, what="the commands' end")


def pids_of(root: Path, process: subprocess.Popen[str]) -> list[int]:
    """The slow command's and its child's, once it runs."""
    file = root / "pids"

    def begun() -> bool:
        assert process.poll() is None, process.stderr and process.stderr.read()
        return file.exists()

    eventually(begun, timeout_s=30, what="the slow command", interval_s=0.05)
    pids = [int(word) for word in file.read_text().split()]
    assert all(runs(pid) for pid in pids)
    return pids


@pytest.mark.parametrize(
    ("step", "number", "manners"),
    [
        ("install", signal.SIGINT, STUBBORN),
        ("install", signal.SIGTERM, ""),
        ("rootfs", signal.SIGINT, ""),
        ("rootfs", signal.SIGTERM, STUBBORN),
    ],
    ids=["stubborn, ctrl-c", "sigterm", "in a thread, ctrl-c", "in a thread, stubborn, sigterm"],
)
def test_the_commands_of_an_interrupted_setup_end_with_it(
    root: Path, start: Runner, step: str, number: signal.Signals, manners: str
) -> None:
    plant_slow_commands(root, manners)
    process = start(step)
    pids = pids_of(root, process)
    stop(process, number)
    await_ended(pids)
    assert list((root / "tmp").iterdir()) == []
    for path in (root / ".cache/locks").glob("*"):
        with path.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_command_that_takes_too_long_is_ended(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_slow_commands(root, "")
    monkeypatch.setenv("PATH", f"{root / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PIDS", str(root / "pids"))
    monkeypatch.setattr(debian, "INSTALL_TIMEOUT_S", 6.0)
    with (
        Progress().task("packages") as task,
        pytest.raises(AlertdrillError, match=r"`apt-get update -q` was ended: waited \d+\.\d s"),
    ):
        debian.install(["one"], task)
    await_ended([int(word) for word in (root / "pids").read_text().split()])


def test_a_command_that_fails_shows_its_last_lines(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_slow_commands(root, "")
    (root / "bin/apt-get").write_text("#!/bin/sh\necho no such package >&2; exit 100\n")
    monkeypatch.setenv("PATH", f"{root / 'bin'}:{os.environ['PATH']}")
    with (
        Progress().task("packages") as task,
        pytest.raises(AlertdrillError, match=r"(?s)ended with code 100:.*no such package"),
    ):
        debian.install(["one"], task)


# --- with an engine ---------------------------------------------------------------------------


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    client = docker.from_env(timeout=60)
    yield client
    client.close()


@pytest.mark.docker
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interrupted_build_leaves_no_image_and_no_container(
    tmp_path: Path, start: Runner, client: docker.DockerClient, number: signal.Signals
) -> None:
    store = ImageStore(client, PROJECT, PROJECT / ".cache", IMAGES)
    base = store.resolve([store.image("base")], Progress())["base"].reference
    name = f"test-{uuid.uuid4().hex[:8]}"
    (tmp_path / "images/base/Dockerfile").unlink()
    (tmp_path / "images/base").rename(tmp_path / "images" / name)
    dockerfile = tmp_path / "images" / name / "Dockerfile"
    # Again and again: the engine may lose the begin of what a step says.
    says = f"while :; do echo begun {name}; sleep 0.2; done"
    dockerfile.write_text(f"FROM {base}\nRUN {says}\n")
    log = tmp_path / ".cache/logs" / f"image-{name}.log"
    process = start("build")
    eventually(
        lambda: log.exists() and f"\nbegun {name}\n" in log.read_text(),
        timeout_s=60,
        what="the build",
    )
    stop(process, number)

    def steps() -> list[str]:
        containers = client.containers.list(all=True, ignore_removed=True)
        return [c.id for c in containers if name in " ".join(c.attrs["Config"]["Cmd"] or ())]

    eventually(lambda: not steps(), timeout_s=10, what="the engine to give up", interval_s=0.2)
    assert client.images.list(f"alertdrill/{name}") == []


@pytest.mark.docker
@pytest.mark.parametrize("stopped", [False, True], ids=["clean twin", "cancelled"])
def test_half_a_root_file_system_is_no_image(
    tmp_path: Path, client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    reference = f"alertdrill/test-{uuid.uuid4().hex[:8]}:1"
    monkeypatch.setattr(module, "ROOTFS_BUILT", reference)
    tar = tmp_path / "rootfs.tar"
    subprocess.run(["tar", "-cf", str(tar), "-C", str(PROJECT), "README.md"], check=True)
    store = ImageStore(client, tmp_path, tmp_path / ".cache", (Image("base", "1"),))
    read = module._Upload.read

    def read_half(self: module._Upload, size: int | None = -1, /) -> bytes:
        if stopped and self.tell() > 0:
            store.cancel()
        return read(self, 1_000)

    monkeypatch.setattr(module._Upload, "read", read_half)
    with Progress().task("rootfs") as task:
        if stopped:
            with pytest.raises(ImageUnavailable, match="cancelled"):
                store._import(tar, task)
            with pytest.raises(ImageNotFound):
                client.images.get(reference)
        else:
            store._import(tar, task)
            client.images.remove(client.images.get(reference).id, force=True)
