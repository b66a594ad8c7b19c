"""The HTTP fault addon's own decisions, without mitmproxy: validation, sequences, counters, API."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

SOURCE = Path(__file__).parents[2] / "images" / "http-faults" / "addon.py"
SERVICES = {"github": 8081, "ai-studio": 8082}


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("http_faults_addon", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


addon = _load()


def config(**fields: Any) -> dict[str, Any]:
    document = {"kind": "status", "service": "github"} | fields
    return dict(addon.parse_fault("f", document, SERVICES))


def test_a_minimal_fault_is_filled_with_defaults() -> None:
    assert config() == {
        "id": "f",
        "kind": "status",
        "service": "github",
        "code": 503,
        "method": None,
        "path": None,
        "rate": 1.0,
        "seed": 0,
        "every": None,
    }


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "a fault is a JSON object"),
        ({"kind": "status"}, "service None is not known; there are ai-studio, github"),
        ({"kind": "status", "service": "postgres"}, "service 'postgres' is not known"),
        ({"kind": "boom", "service": "github"}, "kind 'boom' is not known; there are fail_first"),
        ({"kind": ["status"], "service": "github"}, "is not known"),
        ({"kind": "status", "service": "github", "cod": 500}, "status has no field 'cod'"),
        ({"kind": "status", "service": "github", "code": 200}, "code must be an integer from 400"),
        ({"kind": "status", "service": "github", "rate": 1.1}, "rate must be a number from 0 to 1"),
        ({"kind": "status", "service": "github", "rate": True}, "rate must be a number"),
        ({"kind": "status", "service": "github", "rate": math.nan}, "rate must be a number"),
        ({"kind": "status", "service": "github", "every": 0}, "every must be an integer from 1"),
        ({"kind": "status", "service": "github", "rate": 1, "every": 2}, "exclude each other"),
        ({"kind": "status", "service": "github", "seed": "x"}, "seed must be an integer"),
        ({"kind": "status", "service": "github", "path": "items"}, "path must be a path"),
        ({"kind": "status", "service": "github", "method": "get"}, "method must be a method"),
        ({"kind": "slow", "service": "github"}, "slow needs the field 'delay_s'"),
        ({"kind": "slow", "service": "github", "delay_s": -1}, "delay_s must be"),
        ({"kind": "hang", "service": "github", "delay_s": 1}, "hang has no field 'delay_s'"),
        ({"kind": "hang", "service": "github", "rate": 2}, "rate must be a number from 0 to 1"),
        ({"kind": "fail_first", "service": "github"}, "fail_first needs the field 'n'"),
        ({"kind": "fail_first", "service": "github", "n": 1, "rate": 1}, "no field 'rate'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(document: object, sentence: str) -> None:
    with pytest.raises(addon.Invalid, match=sentence):
        addon.parse_fault("f", document, SERVICES)


@pytest.mark.parametrize("identifier", ["", "A", "a b", "-a", "a" * 101])
def test_odd_ids_are_refused(identifier: str) -> None:
    with pytest.raises(addon.Invalid, match="the id"):
        addon.parse_fault(identifier, {"kind": "status", "service": "github"}, SERVICES)


def test_upstreams_are_read_strictly() -> None:
    assert addon.parse_upstreams("github=8081, ai-studio=8082") == SERVICES
    for text in ("", "github", "github=x", "github=0", "=1", "a=1,a=2", "a=1,b=1"):
        with pytest.raises(ValueError, match="UPSTREAMS"):
            addon.parse_upstreams(text)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.9])
def test_the_share_that_fails_is_the_rate_within_3_3_sigma(rate: float) -> None:
    fault = config(rate=rate, seed=7)
    count = 20_000
    failing = sum(addon.fails(fault, n) for n in range(1, count + 1))
    sigma = math.sqrt(count * rate * (1 - rate))
    assert abs(failing - count * rate) < 3.3 * sigma


def test_the_same_seed_fails_the_same_requests_and_another_seed_others() -> None:
    def failing(seed: int) -> list[int]:
        fault = config(rate=0.5, seed=seed)
        return [n for n in range(1, 501) if addon.fails(fault, n)]

    assert failing(7) == failing(7)
    assert failing(7) != failing(8)


def test_every_and_fail_first_are_exact() -> None:
    third = config(every=3)
    assert [n for n in range(1, 10) if addon.fails(third, n)] == [3, 6, 9]
    first = config(kind="fail_first", n=2)
    assert [n for n in range(1, 10) if addon.fails(first, n)] == [1, 2]


def test_only_matching_requests_advance_the_sequence() -> None:
    registry = addon.Registry(SERVICES)
    registry.put("f", {"kind": "status", "service": "github", "method": "GET", "path": "/repos/*"})
    assert registry.arrived("github", "POST", "/repos/a") == []
    assert registry.arrived("github", "GET", "/users") == []
    assert registry.arrived("ai-studio", "GET", "/repos/a") == []
    assert len(registry.arrived("github", "GET", "/repos/a")) == 1
    assert registry.faults()["faults"][0]["seen"] == 1
    assert registry.requests() == {"github": 3, "ai-studio": 1}


def test_proofs_are_counted_nowhere_and_shift_no_request() -> None:
    def failing(*, probed: bool) -> list[bool]:
        registry = addon.Registry(SERVICES)
        registry.put("f", {"kind": "status", "service": "github", "rate": 0.5, "seed": 3})
        outcome = []
        for _ in range(50):
            if probed:
                registry.probed("github")
            outcome.append(bool(registry.arrived("github", "GET", "/")))
        assert registry.requests()["github"] == 50
        return outcome

    assert failing(probed=True) == failing(probed=False)


def test_proofs_of_fail_first_meet_it_however_often_they_look() -> None:
    registry = addon.Registry(SERVICES)
    registry.put("f", {"kind": "fail_first", "service": "github", "n": 1})
    assert all(registry.probed("github") for _ in range(5))


def test_a_removed_fault_meets_nothing_and_its_total_stays() -> None:
    registry = addon.Registry(SERVICES)
    document = {"kind": "status", "service": "github"}
    registry.put("f", document)
    for fault in registry.arrived("github", "GET", "/"):
        registry.met(fault)
    assert len(registry.remove("f")) == 1
    assert registry.remove("f") == []
    assert registry.arrived("github", "GET", "/") == []
    assert registry.faults() == {"faults": [], "affected": {"f": 1}}
    registry.put("f", document)
    for fault in registry.arrived("github", "GET", "/"):
        registry.met(fault)
    assert registry.faults()["affected"] == {"f": 2}


# --- a request that is held ----------------------------------------------------------------


def _held(*, healed_after_s: float | None, gone_after_s: float | None) -> tuple[bool, float]:
    """Whether the request may go on, and after how many seconds."""

    async def run() -> tuple[bool, float]:
        loop = asyncio.get_running_loop()
        begun, healed, gone = loop.time(), asyncio.Event(), asyncio.Event()
        for after_s, event in ((healed_after_s, healed), (gone_after_s, gone)):
            if after_s is not None:
                loop.call_later(after_s, event.set)
        goes_on = await asyncio.wait_for(addon.held(healed, lambda: not gone.is_set()), 5)
        return goes_on, loop.time() - begun

    return asyncio.run(run())


def test_a_held_request_goes_on_as_soon_as_the_fault_is_healed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addon, "CLIENT_LOOK_S", 60.0)  # it need not look for the client first
    goes_on, after_s = _held(healed_after_s=0.25, gone_after_s=None)
    assert goes_on
    assert 0.2 < after_s < 5


def test_a_held_request_is_dropped_when_its_client_has_given_up() -> None:
    goes_on, after_s = _held(healed_after_s=None, gone_after_s=0.25)
    assert not goes_on
    assert 0.2 < after_s < 5


def test_healing_does_not_send_on_what_nobody_waits_for() -> None:
    assert _held(healed_after_s=0.05, gone_after_s=0.02)[0] is False
    assert _held(healed_after_s=0.0, gone_after_s=0.0)[0] is False


def test_a_request_is_still_held_while_neither_has_happened() -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(addon.held(asyncio.Event(), lambda: True), 0.3))


# --- what happens to a body ----------------------------------------------------------------


@pytest.mark.parametrize("body", [b'{"a": [1, 2]}', b"[]", b"[1,2,3]", b'"text"', b"12", b"1234"])
def test_malformed_is_never_json(body: bytes) -> None:
    json.loads(body)
    with pytest.raises(ValueError):  # noqa: PT011  # whatever its message, it isn't JSON
        json.loads(addon.malformed(body))


def test_a_wrong_schema_is_json_without_a_key_of_the_right_one() -> None:
    assert json.loads(addon.wrong_schema(b'{"items": [1]}')) == {"items_v2": [1]}
    assert json.loads(addon.wrong_schema(b"[1]")) == {"value_v2": [1]}
    assert json.loads(addon.wrong_schema(b"<html>")) == {"value_v2": None}


# --- the control API -----------------------------------------------------------------------


@pytest.fixture
def released() -> list[Any]:
    return []


@pytest.fixture
def control(released: list[Any]) -> Iterator[httpx.Client]:
    server = addon.ControlServer(("127.0.0.1", 0), addon.Registry(SERVICES), released.extend)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    with httpx.Client(base_url=url, timeout=2, trust_env=False) as client:
        yield client
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_fault_is_put_listed_and_removed(control: httpx.Client, released: list[Any]) -> None:
    assert control.get("/-/ready").status_code == 200
    assert control.get("/services").json() == SERVICES
    put = control.put("/faults/f", json={"kind": "slow", "service": "github", "delay_s": 1})
    assert put.status_code == 200
    [fault] = control.get("/faults").json()["faults"]
    assert (fault["id"], fault["kind"], fault["seen"], fault["affected"]) == ("f", "slow", 0, 0)
    assert control.delete("/faults/f").json()["faults"] == []
    assert control.delete("/faults/f").status_code == 200
    assert [f.config["id"] for f in released] == ["f"]


def test_replacing_a_fault_releases_what_the_old_one_held(
    control: httpx.Client, released: list[Any]
) -> None:
    for delay_s in (1, 2):
        control.put("/faults/f", json={"kind": "slow", "service": "github", "delay_s": delay_s})
    assert [f.config["delay_s"] for f in released] == [1]
    control.put("/faults/g", json={"kind": "malformed", "service": "github"})
    control.delete("/faults")
    assert len(released) == 3


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "sentence"),
    [
        ("PUT", "/faults/f", b"{", 400, "not JSON"),
        ("PUT", "/faults/f", b"{}", 422, "kind None is not known"),
        ("PUT", "/faults/F", b'{"kind":"malformed","service":"github"}', 422, "the id 'F'"),
        ("PUT", "/faults/f", b" " * 70_000, 413, "at most"),
        ("PUT", "/faults/", b"{}", 404, "there is no PUT"),
        ("PUT", "/other/f", b"{}", 404, "there is no PUT"),
        ("DELETE", "/other", b"", 404, "there is no DELETE"),
        ("GET", "/other", b"", 404, "there is no GET"),
        ("GET", "/requests?service=x", b"", 422, "service 'x' is not known"),
    ],
)
def test_bad_requests_are_told_why_and_change_nothing(
    control: httpx.Client, method: str, path: str, content: bytes, status: int, sentence: str
) -> None:
    answer = control.request(method, path, content=content)
    assert answer.status_code == status
    assert sentence in answer.json()["error"]
    assert control.get("/faults").json() == {"faults": [], "affected": {}}
