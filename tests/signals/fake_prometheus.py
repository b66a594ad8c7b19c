"""A Prometheus on loopback that has exactly the samples that a test gives it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

QUERY = re.compile(
    r'\{__name__!="",__name__!~(?P<names>"(?:[^"\\]|\\.)*"),job=(?P<job>"(?:[^"\\]|\\.)*")\}'
    r"\[(?P<ms>\d+)ms\]"
)


@dataclass
class Fake:
    """A Prometheus with these series; ``samples``: Unix seconds and the value as text."""

    series: list[tuple[dict[str, str], list[tuple[float, str]]]] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    recorded: list[str] = field(default_factory=list)
    native: list[str] = field(default_factory=list)
    broken: Any = None
    queries: list[str] = field(default_factory=list)

    def add(self, name: str, samples: list[tuple[float, str]], **labels: str) -> None:
        self.series.append(({"__name__": name, **labels}, samples))

    def answer(self, path: str, params: dict[str, str]) -> Any:
        match path:
            case "/api/v1/label/job/values":
                return sorted({labels["job"] for labels, _ in self.series if "job" in labels})
            case "/api/v1/rules":
                return {"groups": [{"rules": [{"name": name} for name in self.recorded]}]}
            case "/api/v1/metadata":
                return {name: [{"type": kind}] for name, kind in self.types.items()}
            case "/api/v1/query":
                return {"resultType": "matrix", "result": self._matrix(params)}
        raise AssertionError(path)

    def _matrix(self, params: dict[str, str]) -> list[Any]:
        match = QUERY.fullmatch(params["query"])
        assert match, params["query"]
        self.queries.append(params["query"])
        until = float(params["time"])
        since = until - int(match["ms"]) / 1000
        left_out = re.compile(json.loads(match["names"]))
        rows: list[Any] = []
        for labels, samples in self.series:
            inside = [[at, value] for at, value in samples if since < at <= until]
            wanted = labels.get("job", "") == json.loads(match["job"])
            if wanted and inside and not left_out.fullmatch(labels["__name__"]):
                rows.append({"metric": labels, "values": inside})
        if json.loads(match["job"]) == "":
            rows += [
                {"metric": {"__name__": name}, "histograms": [[1, {}]]} for name in self.native
            ]
        return rows


@contextmanager
def serving(fake: Fake) -> Iterator[str]:
    """The URL at which ``fake`` answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            params = {key: values[0] for key, values in parse_qs(address.query).items()}
            answer = fake.broken or {
                "status": "success",
                "data": fake.answer(address.path, params),
            }
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: the tests say what went wrong."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


def ticks(values: str, since: float = 1000.0, step: float = 0.25) -> list[tuple[float, str]]:
    return [(since + i * step, value) for i, value in enumerate(values.split())]
