"""A small server on loopback with every manner of answering, and projects with a locustfile."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from alertdrill.load.session import LoadSession
from alertdrill.load.window import Window
from alertdrill.wait import eventually

TRIES = 5


@dataclass
class Manners:
    """How the server behaves, and what it has seen.

    ``failing``  it answers 503 to all but GET
    """

    failing: threading.Event = field(default_factory=threading.Event)
    hung: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.manners = Manners()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    """The path says how to answer."""

    protocol_version = "HTTP/1.1"
    server: Server
    # Small answers leave at once.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        manners = self.server.manners
        manners.seen.append((self.command, self.path, dict(self.headers), body))
        if manners.hung.is_set():
            manners.released.wait(30)
        if manners.failing.is_set() and self.command != "GET":
            self.send(503, b"{}")
            return
        match self.path.split("?")[0]:
            case "/slow":
                manners.released.wait(0.8)
                self.send(200, b"{}")
            case "/503":
                self.send(503, b"{}")
            case "/redirect":
                self.send(302, b"", Location="/ok")
            case "/malformed":
                self.send(200, b'{"id": ')
            case "/truncated":
                self.send(200, b'{"id": 1}', length=100)
                self.close_connection = True
            case "/trickle":
                self.send(200, b"", length=100)
                for _ in range(100):
                    if manners.released.wait(0.2):
                        break
                    self.wfile.write(b" ")
            case path if path.endswith("/items") and self.command == "POST":
                self.send(201, json.dumps({"id": next(manners.ids)}).encode())
            case _:
                self.send(200, b"{}")

    do_POST = do_PUT = do_DELETE = do_GET

    def send(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            # The client gave up, which some tests provoke.
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests look at ``seen``."""


def wait_for_requests(running: LoadSession, since: float, count: int) -> None:
    eventually(
        lambda: running.since(since).requests >= count, timeout_s=20, what=f"{count} requests"
    )


def kept_plan(
    running: LoadSession,
    requests: int,
    also: Callable[[Window], bool] = lambda _: True,
    **rates: float,
) -> tuple[float, float]:
    """A stretch of about so many ``requests`` in which each class of users kept its rate within
    10 %, and ``also`` held: begin and end. Being kept from the processor spoils one stretch, a
    wrong rate all."""
    seen: list[dict[str, float]] = []
    for _ in range(TRIES):
        since = time.monotonic()
        wait_for_requests(running, since, requests)
        until = time.monotonic()
        window = running.since(since, until)
        by_user = window.by_user
        seen.append({user: by_user[user].requests / (until - since) for user in rates})
        if seen[-1] == pytest.approx(rates, rel=0.1) and also(window):
            return since, until
    raise AssertionError(f"{rates} a second were not kept: {seen}; the last: {window}")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield running
        running.manners.released.set()
        running.shutdown()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a locustfile of one class per manner."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "locustfile.py").write_text(LOCUSTFILE)
    return root


LOCUSTFILE = """
from locust import task
from alertdrill.load.users import PacedHttpUser

class Fast(PacedHttpUser):
    @task
    def go(self):
        self.call("GET", "/fast", route="/fast")

class Slow(PacedHttpUser):
    @task
    def go(self):
        self.call("POST", "/slow", route="/slow", body={}, key=str(self.rng.random()))

class Refused(PacedHttpUser):
    @task
    def go(self):
        self.call("POST", "/503", route="/503", key=str(self.rng.random()))

class Redirected(PacedHttpUser):
    @task
    def go(self):
        self.call("GET", "/redirect", route="/redirect")

class Malformed(PacedHttpUser):
    @task
    def go(self):
        self.call("GET", "/malformed", route="/malformed")

class Truncated(PacedHttpUser):
    @task
    def go(self):
        self.call("GET", "/truncated", route="/truncated")

class Trickled(PacedHttpUser):
    @task
    def go(self):
        self.call("GET", "/trickle", route="/trickle")

class Buggy(PacedHttpUser):
    @task
    def go(self):
        self.call("GET", "/fast", route="/fast")
        if self.rng.random() < 0.5:
            raise KeyError("nothing of the kind")

class Stray(PacedHttpUser):
    @task
    def go(self):
        self.call("GET", "http://192.0.2.1/", route="/")
"""
