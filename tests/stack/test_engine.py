"""The engine: its absence is one sentence; set-up starts one over what a dead one left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alertdrill.errors import EngineUnavailable
from alertdrill.stack import debian, engine
from alertdrill.stack.progress import Progress

PROJECT = Path(__file__).parents[2]


def test_no_engine_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(EngineUnavailable) as caught:
        engine.connect(2)
    text = str(caught.value)
    assert text.startswith(f"no Docker engine answers at unix://{tmp_path}/none.sock (")
    assert "DOCKER_HOST names it" in text
    assert "\n" not in text


def test_an_engine_that_a_person_named_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(EngineUnavailable):
        engine.ensure_engine(Progress(), tmp_path)
    assert not (tmp_path / "dockerd.log").exists()


@pytest.mark.parametrize(
    ("is_debian", "uid", "says"),
    [
        (False, 0, "install Docker Engine"),
        (True, 1000, "run `make setup` as root"),
        (True, 0, "`make setup` installs and starts one"),
    ],
)
def test_the_remedy_fits_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_debian: bool, uid: int, says: str
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "SOCKET", tmp_path / "none.sock")
    monkeypatch.setattr(debian, "is_here", lambda: is_debian)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert says in engine.remedy()
    assert engine.can_start() is (is_debian and uid == 0)


def test_a_pid_file_of_someone_else_is_stale(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stale, mine, gone = tmp_path / "stale", tmp_path / "mine", tmp_path / "gone"
    own_name = Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    for file, content in ((stale, str(os.getpid())), (mine, str(os.getpid())), (gone, "0x")):
        file.write_text(content)
    monkeypatch.setattr(engine, "PID_FILES", {stale: "dockerd", mine: own_name, gone: "containerd"})
    monkeypatch.setattr(engine, "SYSTEM_CONTAINERD", tmp_path / "none.sock")
    engine._drop_stale_files()
    assert not stale.exists()
    assert mine.exists()
    assert not gone.exists()


# In a mount and network namespace of its own, the machine has no engine, but remains of one: a
# pid file whose number belongs to another process, and a containerd socket where nobody listens.
ALONE = """
set -e
mount -t tmpfs none /run
mount -t tmpfs none /var/lib/docker
ip link set lo up
mkdir /run/containerd
exec "$0" -c "$@"
"""
STARTS = """
import os, signal, socket, subprocess, urllib.request
from pathlib import Path
from alertdrill.stack import engine
from alertdrill.stack.progress import Progress

other = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
Path("/run/docker.pid").write_text(str(other.pid))
with socket.socket(socket.AF_UNIX) as left:
    left.bind("/run/containerd/containerd.sock")
client = engine.ensure_engine(Progress(), Path("/run/cache"))
pid = int(Path("/run/docker.pid").read_text())
try:
    assert client.ping() and pid != other.pid
    with urllib.request.urlopen("http://172.17.0.1:9323/metrics", timeout=5) as answer:
        assert b"engine_daemon" in answer.read()
    assert engine.ensure_engine(Progress(), Path("/run/cache")).ping()
    assert os.getsid(pid) == pid, "it must outlive the terminal"
finally:
    os.kill(pid, signal.SIGTERM)
    other.kill()
print("all of it held")
"""


# Like an engine that is locked up: it answers, but never for its networks.
LOCKED_UP = """
import ctypes, os, sys, time
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingUnixStreamServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self):
        return "a client"
    def do_GET(self):
        if "/networks" in self.path:
            time.sleep(3600)
        body = b'{"ApiVersion": "1.41", "Version": "0"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ctypes.CDLL(None).prctl(15, b"dockerd", 0, 0, 0)
server = ThreadingUnixStreamServer(sys.argv[1], Handler)
print("listens", flush=True)
server.serve_forever()
"""
REPLACES = """
import os, signal, subprocess, sys
from pathlib import Path
from alertdrill.stack import engine
from alertdrill.stack.leftovers import RUN_LABEL
from alertdrill.stack.progress import Progress

engine.NETWORKS_TIMEOUT_S = 2
argv = [sys.executable, "-c", sys.argv[1], "/run/docker.sock"]
environment = os.environ | {engine.STARTED_HERE: "1"}
with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as other:
    assert other.stdout.readline()
    Path("/run/docker.pid").write_text(str(other.pid))
    client = engine.ensure_engine(Progress(), Path("/run/cache"))
    assert other.wait(5) == -signal.SIGTERM
first = int(Path("/run/docker.pid").read_text())
try:
    assert client.version()["Version"] != "0"
    assert len(client.networks.list()) == 3
    client.networks.create("of-a-run", labels={RUN_LABEL: "it"})
    client.volumes.create("of-a-run", labels={RUN_LABEL: "it"})
    engine._is_locked_up = lambda _: True
    client = engine.ensure_engine(Progress(), Path("/run/cache"))
    assert (len(client.networks.list()), client.volumes.list()) == (3, [])
finally:
    last = int(Path("/run/docker.pid").read_text())
    os.kill(last, signal.SIGTERM)
assert last != first
print("all of it held")
"""


def test_an_engine_of_somebody_that_is_locked_up_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "locked.sock"
    argv = [sys.executable, "-c", LOCKED_UP, str(path)]
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    monkeypatch.setattr(engine, "NETWORKS_TIMEOUT_S", 0.5)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        assert other.stdout is not None
        assert other.stdout.readline()
        with pytest.raises(EngineUnavailable, match=r"is locked up: .*; restart it$"):
            engine.ensure_engine(Progress(), tmp_path)
        assert other.poll() is None
        other.kill()


@pytest.mark.docker
@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is missing")
@pytest.mark.parametrize("script", [STARTS, REPLACES], ids=["remains", "locked up"])
def test_an_engine_is_started_over_what_is_left_of_another(script: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "DOCKER_HOST"}
    done = subprocess.run(
        ["unshare", "--net", "--mount", "bash", "-c", ALONE, sys.executable, script, LOCKED_UP],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "all of it held" in done.stdout, done.stdout + done.stderr
