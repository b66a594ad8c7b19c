"""A Prometheus of one's own: a child process that scrapes nothing and runs no rules, written to
and asked over loopback. It is the engine that judges rules, on whatever data it is given."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from alertdrill.errors import AlertdrillError, ComponentNotReady
from alertdrill.rules.durations import format_ms
from alertdrill.wait import eventually

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
QUERY_TIMEOUT_S = 300.0
# Prometheus refuses more than 11,000 steps in one range query.
MAX_STEPS = 10_000

# One block holds everything: nothing is compacted, and data of any age is taken.
_BLOCK = "50y"
_RETENTION = "100y"
_MAX_SAMPLES = "500000000"
_LISTENING = re.compile(r'msg="Listening on".*? address="?(127\.0\.0\.1:\d+)')

# Prometheus must not outlive this process, however it ends. The shell reads a pipe that only this
# process holds; when it breaks, the shell ends Prometheus and removes its data. A line on the
# pipe asks for an orderly end instead, which keeps the data. Standard error is left to Prometheus
# alone, so that it ends when Prometheus does.
_WATCHED = """
"$@" &
child=$!
exec 2>/dev/null
if read -r line; then
  kill -TERM $child
  wait $child
else
  kill -KILL $child
  wait $child
  rm -rf "$ALERTDRILL_SCRATCH"
fi
"""


class QueryFailed(AlertdrillError):
    """Prometheus could not evaluate an expression on the data it has; the words are its own."""


@dataclass(frozen=True)
class Answer:
    """One series of a range query: its labels, the times (ms) at which it had a value, and them."""

    labels: dict[str, str]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]


class Prometheus:
    """Start with ``with``; data and process are gone at the end.

    ``binary`` is the server; ``evaluation_interval_s`` is the step of subqueries that name none.
    Raises ComponentNotReady when it doesn't start.
    """

    def __init__(self, binary: Path, *, evaluation_interval_s: float = 60.0):
        self._binary = binary
        self._interval_ms = round(evaluation_interval_s * 1000)
        self._log: deque[str] = deque(maxlen=20)
        self._folder: Path | None = None
        self._process: subprocess.Popen[str] | None = None
        self._client: httpx.Client | None = None

    def __enter__(self) -> Prometheus:
        self._folder = Path(tempfile.mkdtemp(prefix="alertdrill-prometheus-"))
        config = f"global: {{evaluation_interval: {format_ms(self._interval_ms)}}}\n"
        try:
            (self._folder / "prometheus.yml").write_text(config, encoding="utf-8")
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()
        process = self._process
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=STOP_TIMEOUT_S)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        assert self._folder is not None
        command = [
            str(self._binary),
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--storage.tsdb.min-block-duration={_BLOCK}",
            f"--storage.tsdb.max-block-duration={_BLOCK}",
            f"--storage.tsdb.retention.time={_RETENTION}",
            f"--query.max-samples={_MAX_SAMPLES}",
            f"--query.timeout={QUERY_TIMEOUT_S:.0f}s",
            "--web.enable-remote-write-receiver",
            "--web.listen-address=127.0.0.1:0",
        ]
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHED, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env={"ALERTDRILL_SCRATCH": str(self._folder)},
                start_new_session=True,  # a Ctrl-C is for this process, which ends it in order
            )
        except OSError as error:
            raise ComponentNotReady(f"Prometheus can't be started: {error}") from error
        address = self._listening(self._process)
        self._client = httpx.Client(
            base_url=f"http://{address}", timeout=QUERY_TIMEOUT_S, trust_env=False
        )
        eventually(self._ready, timeout_s=START_TIMEOUT_S, what="Prometheus to be ready")

    def _listening(self, process: subprocess.Popen[str]) -> str:
        """The address that it took, which only its log tells."""
        found: list[str] = []
        ended = threading.Event()

        def drain() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                self._log.append(line.rstrip())
                match = _LISTENING.search(line)
                if match:
                    found.append(match[1])
                    ended.set()
            ended.set()

        threading.Thread(target=drain, name="prometheus-log", daemon=True).start()
        if not ended.wait(START_TIMEOUT_S) or not found:
            last = self._log[-1] if self._log else "it said nothing"
            raise ComponentNotReady(f"Prometheus ({self._binary}) did not start: {last}")
        return found[0]

    def _ready(self) -> bool:
        try:
            return self._http.get("/-/ready", timeout=5.0).status_code == 200
        except httpx.TransportError:
            return False

    @property
    def _http(self) -> httpx.Client:
        assert self._client is not None, "Prometheus was not started"
        return self._client

    def restart(self) -> None:
        """Stop in order and start on the same data.

        Chunks that were written since the start are a linked list, and reading a long one takes
        time in the square of its length; a start puts them where they are found at once.
        """
        process = self._process
        assert process is not None
        assert process.stdin is not None
        self._http.close()
        process.stdin.write("stop\n")
        process.stdin.close()
        process.wait(timeout=STOP_TIMEOUT_S)
        self._start()

    def write(self, body: bytes) -> None:
        """Take a remote-write request. Raises AlertdrillError when it is refused."""
        headers = {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        answer = self._post("/api/v1/write", content=body, headers=headers)
        if not answer.is_success:
            raise AlertdrillError(f"Prometheus refused samples: {answer.text.strip()[:300]}")

    def query_range(self, expr: str, start_ms: int, end_ms: int, step_ms: int) -> list[Answer]:
        """Evaluate ``expr`` at ``start_ms``, every ``step_ms`` after it, to ``end_ms`` (included);
        at most MAX_STEPS steps. Raises QueryFailed, AlertdrillError."""
        form = {
            "query": expr,
            "start": f"{start_ms / 1000:.3f}",
            "end": f"{end_ms / 1000:.3f}",
            "step": f"{step_ms / 1000:.3f}",
        }
        answer = self._post("/api/v1/query_range", data=form)
        if answer.status_code not in (200, 400, 422):
            raise AlertdrillError(f"Prometheus answered {answer.status_code} to a range query")
        document: dict[str, Any] = answer.json()
        if document["status"] != "success":
            raise QueryFailed(str(document["error"]))
        return [_answer(series) for series in document["data"]["result"]]

    def _post(self, path: str, **request: Any) -> httpx.Response:
        try:
            return self._http.post(path, **request)
        except httpx.TransportError as error:
            raise AlertdrillError(f"Prometheus did not answer: {error}") from error


def _answer(series: dict[str, Any]) -> Answer:
    if "values" not in series:
        raise QueryFailed("the result has native histograms, which are not judged")
    pairs = series["values"]
    times = np.array([pair[0] for pair in pairs], np.float64)
    return Answer(
        labels=series["metric"],
        times_ms=np.rint(times * 1000).astype(np.int64),
        values=np.array([float(pair[1]) for pair in pairs], np.float64),
    )
