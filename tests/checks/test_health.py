"""Health documents: what is broken is told, and nothing else is."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from alertdrill.checks.expected import HealthExpected
from alertdrill.checks.health import complaint
from alertdrill.errors import SignalError
from alertdrill.signals.health import HealthReport, read_health
from alertdrill.verdict import Reason

WELL = HealthReport(200, {"database": True, "redis": True})
DEGRADED = HealthReport(503, {"database": False, "redis": True})


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (WELL, {}),
        (WELL, {"database": None}),
        (DEGRADED, {"database": False}),
        (DEGRADED, {"database": None}),
        ("ConnectError", "unreachable"),
    ],
)
def test_honest_documents_pass(report: HealthReport | str, expected: HealthExpected) -> None:
    assert complaint(report, expected) is None


@pytest.mark.parametrize(
    ("report", "expected", "reason", "words"),
    [
        (WELL, {"database": False}, Reason.HEALTH_DID_NOT_TELL, "database is well"),
        (WELL, {"disk": False}, Reason.HEALTH_DID_NOT_TELL, "nothing of disk"),
        (WELL, "unreachable", Reason.HEALTH_DID_NOT_TELL, "should be unreachable"),
        (
            HealthReport(200, DEGRADED.checks),
            {"database": False},
            Reason.HEALTH_DID_NOT_TELL,
            "status says that all is well",
        ),
        (DEGRADED, {}, Reason.HEALTH_COMPLAINS, "database isn't well"),
        (DEGRADED, {"redis": False, "database": None}, Reason.HEALTH_DID_NOT_TELL, "redis is well"),
        (HealthReport(503, WELL.checks), {}, Reason.HEALTH_COMPLAINS, "something isn't well"),
        ("ReadTimeout", {}, Reason.HEALTH_COMPLAINS, "nobody answers: ReadTimeout"),
    ],
)
def test_lies_are_caught(
    report: HealthReport | str, expected: HealthExpected, reason: Reason, words: str
) -> None:
    found = complaint(report, expected)
    assert found is not None
    assert (found.reason, words in found.message) == (reason, True), found.message


@pytest.fixture
def served() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A URL, and the bodies that it answers with (status 503) by path."""
    bodies: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(bodies[self.path])

        def log_message(self, *_: object) -> None:
            """Nothing: the tests say what went wrong."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", bodies
    server.shutdown()
    thread.join(5)
    server.server_close()


def test_a_document_is_read_whatever_its_status(served: tuple[str, dict[str, bytes]]) -> None:
    url, bodies = served
    bodies["/health"] = json.dumps({"checks": dict(DEGRADED.checks)}).encode()
    assert read_health(url + "/health", "checks") == DEGRADED


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"checks": {"database": "yes"}}'])
def test_another_document_is_no_answer(served: tuple[str, dict[str, bytes]], body: bytes) -> None:
    url, bodies = served
    bodies["/health"] = body
    with pytest.raises(SignalError, match="isn't a health document"):
        read_health(url + "/health", "checks")


def test_nobody_is_no_document() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as gone:
        port = gone.server_address[1]
    assert read_health(f"http://127.0.0.1:{port}/health", "checks") == "ConnectError"
