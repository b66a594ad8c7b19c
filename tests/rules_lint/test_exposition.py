"""What targets expose, from files and over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from alertdrill.errors import UsageError
from alertdrill.rules.lint.exposition import load_exposition

TEXT = r"""
# HELP http_requests_total Requests, with a "quoted" word.
# TYPE http_requests_total counter
http_requests_total{path="a\\b",text="say \"hi\", {x}",} 5 1700000000000
http_requests_total { path = "c" } 6
# TYPE latency_seconds histogram
latency_seconds_bucket{le="0.5"} 1
latency_seconds_bucket{le="2.5"} 2
latency_seconds_bucket{le="+Inf"} 3 # {trace_id="abc"} 0.67 1.6
latency_seconds_sum NaN
# TYPE "dotted.name" gauge
{"dotted.name", zone="a"} 3
pool_limit 20
pool_limit{shard="b"} 30
"""


def _write(folder: Path, text: str) -> str:
    file = folder / "metrics.txt"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_names_labels_types_values_and_bounds(tmp_path: Path) -> None:
    found = load_exposition([_write(tmp_path, TEXT)])
    assert found.series["http_requests_total"] == [
        {"path": "a\\b", "text": 'say "hi", {x}'},
        {"path": "c"},
    ]
    assert found.types == {
        "http_requests_total": "counter",
        "latency_seconds": "histogram",
        "dotted.name": "gauge",
    }
    assert found.series["dotted.name"] == [{"zone": "a"}]
    assert found.last_finite_bucket("latency_seconds_bucket") == 2.5
    assert found.last_finite_bucket("http_requests_total") is None
    assert found.highest["pool_limit"] == 30
    assert "latency_seconds_sum" not in found.highest


@pytest.mark.parametrize(
    "line",
    ["<html>", "name", "name{", 'name{a="b"', "name{a=b} 1", 'name{a="b"} x', "{} 1", '{"a"'],
)
def test_a_line_that_is_no_sample_is_told_with_its_number(line: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"metrics\.txt:2: not a text exposition"):
        load_exposition([_write(tmp_path, f"up 1\n{line}\n")])


@pytest.fixture
def target() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 500)
            self.end_headers()
            self.wfile.write(b"up 1\n")

        def log_message(self, format: str, *args: object) -> None:
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join(timeout=5)
    server.server_close()


def test_a_target_s_own_page(target: str) -> None:
    assert load_exposition([f"{target}/metrics"]).series == {"up": [{}]}
    with pytest.raises(UsageError, match="can't be fetched"):
        load_exposition([f"{target}/elsewhere"])
