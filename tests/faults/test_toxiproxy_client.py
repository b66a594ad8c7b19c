"""The Toxiproxy client believes no answer that the proxy's own state contradicts."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from alertdrill.errors import FaultError
from alertdrill.faults.toxiproxy import Toxiproxy


class Server:
    """A Toxiproxy in memory. ``lies``: it says yes and does nothing; ``fails``: paths that give
    a 500."""

    def __init__(self, *, lies: bool = False, fails: tuple[str, ...] = ()) -> None:
        self.lies = lies
        self.fails = fails
        self.changes: list[str] = []
        self.proxies: dict[str, dict[str, Any]] = {
            name: {
                "name": name,
                "listen": f"[::]:{port}",
                "upstream": f"{name}:{port}",
                "enabled": True,
                "toxics": [],
            }
            for name, port in (("postgres", 5432), ("redis", 6379))
        }

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path in self.fails:
            return httpx.Response(500, text="it broke")
        if request.method == "GET":
            return httpx.Response(200, json=self.proxies)
        self.changes.append(f"{request.method} {path}")
        if not self.lies:
            self._change(request.method, path.split("/")[2:], request.content)
        return httpx.Response(200, json={})

    def _change(self, method: str, path: list[str], content: bytes) -> None:
        match (method, path):
            case ("POST", [name]):
                self.proxies[name] |= json.loads(content)
            case ("POST", [name, "toxics"]):
                toxic = json.loads(content)
                toxic["attributes"] = {"jitter": 0} | toxic["attributes"]
                self.proxies[name]["toxics"].append(toxic)
            case ("DELETE", [name, "toxics", toxic]):
                kept = [t for t in self.proxies[name]["toxics"] if t["name"] != toxic]
                self.proxies[name]["toxics"] = kept

    def client(self) -> Toxiproxy:
        return Toxiproxy("http://toxiproxy", transport=httpx.MockTransport(self))

    def with_toxic(self) -> Server:
        self.proxies["postgres"]["toxics"] = [
            {"name": "t", "type": "latency", "stream": "downstream", "toxicity": 1.0}
        ]
        return self


def test_changes_are_made_and_read_back() -> None:
    server = Server()
    client = server.client()
    client.disable("postgres")
    assert not client.proxy("postgres").enabled
    client.enable("postgres")
    client.add_toxic("postgres", "alertdrill-x", "latency", attributes={"latency": 5})
    assert list(client.proxy("postgres").toxics) == ["alertdrill-x"]
    client.remove_toxic("postgres", "alertdrill-x")
    assert client.proxy("postgres").toxics == {}
    assert client.proxy("postgres").port == 5432


def test_a_yes_that_changed_nothing_is_an_error() -> None:
    client = Server(lies=True).with_toxic().client()
    with pytest.raises(FaultError, match=r"said yes, but postgres\.enabled"):
        client.disable("postgres")
    with pytest.raises(FaultError, match="said yes to"):
        client.add_toxic("redis", "alertdrill-x", "latency", attributes={"latency": 5})
    with pytest.raises(FaultError, match="still has the toxic t"):
        client.remove_toxic("postgres", "t")


def test_another_toxic_of_that_name_is_not_taken_for_the_one_asked_for() -> None:
    server = Server(lies=True).with_toxic()
    with pytest.raises(FaultError, match="said yes to"):
        server.client().add_toxic("postgres", "t", "timeout")


def test_a_500_is_an_error_with_its_words() -> None:
    client = Server(fails=("/proxies/postgres",)).client()
    with pytest.raises(FaultError, match="gave 500: it broke"):
        client.disable("postgres")


def test_a_server_that_is_gone_is_an_error() -> None:
    def gone(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(FaultError, match="refused"):
        Toxiproxy("http://toxiproxy", transport=httpx.MockTransport(gone)).proxies()


def test_an_answer_that_is_no_list_of_proxies_is_an_error() -> None:
    for text in ("nonsense", "[]", '{"a": 1}', '{"a": {}}'):
        transport = httpx.MockTransport(lambda _, text=text: httpx.Response(200, text=text))
        with pytest.raises(FaultError, match="no list of proxies"):
            Toxiproxy("http://toxiproxy", transport=transport).proxies()


def test_an_unknown_proxy_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(FaultError, match=r"no proxy 'mysql'; it has \['postgres', 'redis'\]"):
        Server().client().disable("mysql")


def test_undoing_what_was_never_done_changes_nothing() -> None:
    server = Server()
    server.client().enable("postgres")
    server.client().remove_toxic("postgres", "none")
    assert server.changes == []


def test_reset_goes_on_after_a_failure_and_then_tells() -> None:
    server = Server(fails=("/proxies/postgres/toxics/t",)).with_toxic()
    server.proxies["postgres"]["enabled"] = False
    server.proxies["redis"]["enabled"] = False
    with pytest.raises(FaultError, match=r"not clean: DELETE .*/toxics/t gave 500"):
        server.client().reset()
    assert all(proxy["enabled"] for proxy in server.proxies.values())


def test_finished_bytes_add_both_directions_of_one_proxy() -> None:
    text = (
        "# TYPE toxiproxy_proxy_received_bytes_total counter\n"
        'toxiproxy_proxy_received_bytes_total{direction="upstream",proxy="redis"} 6\n'
        'toxiproxy_proxy_received_bytes_total{direction="downstream",proxy="redis"} 1.5e+06\n'
        'toxiproxy_proxy_received_bytes_total{direction="upstream",proxy="postgres"} 100\n'
        'toxiproxy_proxy_sent_bytes_total{direction="upstream",proxy="redis"} 1000\n'
    )
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=text))
    client = Toxiproxy("http://toxiproxy", transport=transport)
    assert client.finished_bytes("redis") == 1_500_006
    assert client.finished_bytes("github") == 0
