"""How a service is made to speak: by what it declares or by its port, never by its name."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from alertdrill.faults import network, vantage
from alertdrill.faults.network import BlackHole, Latency
from alertdrill.faults.toxiproxy import Proxy
from alertdrill.faults.vantage import HTTP, POSTGRESQL, REDIS, Protocol, protocol_at

SHOUT = Protocol("shout", b"HEY\n")


class Server:
    """Answers to one opening, and to nothing else: then it waits for more."""

    def __init__(self, opening: bytes, answer: bytes) -> None:
        self.opening = opening
        self.answer = answer
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                if connection.recv(1_000) == self.opening:
                    connection.sendall(self.answer)
                else:
                    connection.recv(1_000)  # until the other side has had enough


class Here:
    """A container that is this machine; whatever is asked of ``toxiproxy`` reaches ``server``."""

    def __init__(self, server: Server, tally: str) -> None:
        self.server = server
        self.tally = tally

    def exec(self, component: str, argv: list[str]) -> tuple[int, str]:
        *words, last = argv
        question = json.loads(last) | {"host": "127.0.0.1", "tally": self.tally}
        done = subprocess.run(
            [sys.executable, *words[1:], json.dumps(question)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(params=[POSTGRESQL, REDIS, HTTP, SHOUT], ids=lambda p: p.name)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    asked: Protocol = request.param
    return asked


@pytest.fixture
def server(protocol: Protocol) -> Iterator[Server]:
    server = Server(protocol.opening, b"+")
    yield server
    server.socket.close()


def look(
    fault: Any,
    server: Server,
    upstream: str,
    tally: str,
    monkeypatch: Any,
    patience_s: float = 10.0,
) -> Any:
    """What ``fault`` sees of ``server`` behind a proxy that leads to ``upstream``."""
    proxy = Proxy(fault.service, f"0.0.0.0:{server.port}", upstream, True, {})

    class OneProxy:
        def proxy(self, name: str) -> Proxy:
            return proxy

    monkeypatch.setattr(network, "toxiproxy", lambda _: OneProxy())
    return fault._look(Here(server, tally), patience_s)


def test_a_server_is_answered_in_the_protocol_that_is_declared(
    protocol: Protocol, server: Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = str(tmp_path / "tally")
    fault = Latency("anything", 10, client="hub", speaks=protocol)
    seen = look(fault, server, "anything:1234", tally, monkeypatch)
    assert (seen.connected, seen.answered, seen.error) == (True, True, None)


@pytest.mark.parametrize("protocol", [POSTGRESQL, REDIS], ids=lambda p: p.name, indirect=True)
def test_undeclared_it_follows_from_the_port_behind_the_proxy(
    protocol: Protocol, server: Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = protocol.ports
    tally = str(tmp_path / "tally")
    # The names lie: each is called like the other.
    name = {"PostgreSQL": "redis", "Redis": "postgres"}[protocol.name]
    fault = BlackHole(name, client="hub")
    assert look(fault, server, f"{name}:{port}", tally, monkeypatch).answered
    as_http = look(fault, server, f"{name}:9999", tally, monkeypatch, patience_s=0.5)
    assert not as_http.answered


def test_elsewhere_it_is_http() -> None:
    assert protocol_at(5432) is POSTGRESQL
    assert protocol_at(6379) is REDIS
    assert protocol_at(8081) is HTTP
    assert vantage.PROBE_HEADER.encode() in HTTP.opening, "the fault proxy must leave it alone"
