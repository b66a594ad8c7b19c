"""A Prometheus of one's own: a child process that scrapes nothing and runs no rules, written to
and asked over loopback. It is the engine that judges rules, on whatever data it is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from alertdrill.errors import AlertdrillError
from alertdrill.rules.child import START_TIMEOUT_S, WatchedChild
from alertdrill.rules.durations import format_ms
from alertdrill.wait import eventually

QUERY_TIMEOUT_S = 300.0
# Prometheus refuses more than 11,000 steps in one range query.
MAX_STEPS = 10_000

# One block holds everything: nothing is compacted, and data of any age is taken.
_BLOCK = "50y"
_RETENTION = "100y"
_MAX_SAMPLES = "500000000"


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
        self._child: WatchedChild | None = None
        self._client: httpx.Client | None = None

    def __enter__(self) -> Prometheus:
        self._child = WatchedChild("Prometheus")
        try:
            config = f"global: {{evaluation_interval: {format_ms(self._interval_ms)}}}\n"
            (self._child.scratch / "prometheus.yml").write_text(config, encoding="utf-8")
            self._start(self._child)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()
        if self._child is not None:
            self._child.close()

    def _start(self, child: WatchedChild) -> None:
        address = child.start(
            [
                str(self._binary),
                f"--config.file={child.scratch / 'prometheus.yml'}",
                f"--storage.tsdb.path={child.scratch / 'data'}",
                f"--storage.tsdb.min-block-duration={_BLOCK}",
                f"--storage.tsdb.max-block-duration={_BLOCK}",
                f"--storage.tsdb.retention.time={_RETENTION}",
                f"--query.max-samples={_MAX_SAMPLES}",
                f"--query.timeout={QUERY_TIMEOUT_S:.0f}s",
                "--web.enable-remote-write-receiver",
                "--web.listen-address=127.0.0.1:0",
            ]
        )
        self._client = httpx.Client(
            base_url=f"http://{address}", timeout=QUERY_TIMEOUT_S, trust_env=False
        )
        eventually(self._ready, timeout_s=START_TIMEOUT_S, what="Prometheus to be ready")

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
        assert self._child is not None, "Prometheus was not started"
        self._http.close()
        self._child.stop()
        self._start(self._child)

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
