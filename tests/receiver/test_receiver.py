"""The receiver records what reaches it, in order, refuses what is no notification, and raises the
alarm when heartbeats stop."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from alertdrill.errors import DeadlineExceeded
from alertdrill.wait import eventually

SOURCE = Path(__file__).parents[2] / "images" / "receiver" / "receiver.py"
KEPT = 5
PATIENCE_S = 0.3


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("receiver_under_test", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(SOURCE.parent))  # as for a program that is started by its path
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SOURCE.parent))
    return module


receiver = _load()
switch = sys.modules["deadmansswitch"]
ALARM_S = PATIENCE_S + switch.READING_S


@contextlib.contextmanager
def served(patience_s: float | None = None) -> Iterator[httpx.Client]:
    server = receiver.Receiver(("127.0.0.1", 0), kept=KEPT, patience_s=patience_s)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    with server.switch, httpx.Client(base_url=url, timeout=20, trust_env=False) as http:
        yield http
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with served() as http:
        yield http


@pytest.fixture
def watched() -> Iterator[httpx.Client]:
    with served(PATIENCE_S) as http:
        yield http


def alarms(client: httpx.Client) -> list[str]:
    """The states of the dead man's switch that ``oncall`` was told of."""
    entries = client.get("/notifications").json()["notifications"]
    told = [entry["body"]["alerts"][0] for entry in entries if entry["receiver"] == "oncall"]
    assert {alert["labels"]["alertname"] for alert in told} <= {"DeadMansSwitch"}
    return [alert["status"] for alert in told]


def beat(client: httpx.Client, status: str = "firing") -> None:
    client.post("/notify/deadmansswitch", json={"status": status, "alerts": []})


def test_a_notification_is_recorded_with_receiver_time_and_number(client: httpx.Client) -> None:
    before = time.time()
    assert client.post("/notify/on-call", json={"status": "firing"}).json() == {"seq": 1}
    [entry] = client.get("/notifications").json()["notifications"]
    assert before <= entry.pop("received_at") <= time.time()
    assert entry == {"seq": 1, "receiver": "on-call", "body": {"status": "firing"}}
    assert client.get("/webhooks").json() == {"webhooks": []}


def test_after_gives_only_what_is_newer(client: httpx.Client) -> None:
    for n in range(3):
        client.post("/webhooks", json={"n": n})
    webhooks = client.get("/webhooks", params={"after": 1}).json()["webhooks"]
    assert [(w["seq"], w["body"]["n"]) for w in webhooks] == [(2, 1), (3, 2)]
    assert client.get("/webhooks", params={"after": 3}).json() == {"webhooks": []}


def test_memory_is_bounded_and_numbers_go_on(client: httpx.Client) -> None:
    for _ in range(KEPT + 3):
        client.post("/notify/x", json={})
    entries = client.get("/notifications").json()["notifications"]
    assert [e["seq"] for e in entries] == [4, 5, 6, 7, 8]


def test_each_notification_is_printed_as_one_json_line(
    client: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    client.post("/notify/x", json={"text": "two\nlines"})
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["body"] == {"text": "two\nlines"}


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/notify/x", b"{", 400),
        ("POST", "/notify/x", b"[]", 400),
        ("POST", "/notify/x", b"", 400),
        ("POST", "/notify/x", b"\xff\xfe", 400),
        ("POST", "/notify/x", b" " * (1024 * 1024 + 1), 413),
        ("POST", "/notify/", b"{}", 404),
        ("POST", "/notify/x/y", b"{}", 404),
        ("POST", "/other", b"{}", 404),
        ("GET", "/other", b"", 404),
        ("GET", "/notifications?after=x", b"", 400),
        ("GET", "/notifications?after=-1", b"", 400),
    ],
)
def test_anything_else_is_refused_and_not_recorded(
    client: httpx.Client, method: str, path: str, content: bytes, status: int
) -> None:
    assert client.request(method, path, content=content).status_code == status
    assert client.get("/notifications").json() == {"notifications": []}


def test_a_body_without_a_length_is_refused(client: httpx.Client) -> None:
    assert client.post("/webhooks", content=iter([b"{}"])).status_code == 411


def test_silence_raises_the_alarm_once_and_a_heartbeat_ends_it() -> None:
    begun = time.monotonic()
    with served(PATIENCE_S) as client:
        eventually(lambda: bool(alarms(client)), timeout_s=5, what="the alarm", interval_s=0.02)
        assert time.monotonic() - begun >= PATIENCE_S
        with pytest.raises(DeadlineExceeded):
            eventually(lambda: len(alarms(client)) > 1, timeout_s=2 * ALARM_S, what="another")
        beat(client)
        assert alarms(client)[:2] == ["firing", "resolved"]
        eventually(lambda: len(alarms(client)) == 3, timeout_s=5, what="the next alarm")


def test_heartbeats_keep_the_switch_quiet(watched: httpx.Client) -> None:
    last = time.monotonic()
    beat(watched)
    known = len(alarms(watched))

    def alarm_in_time() -> bool:
        """One that rises though the beats came in time; kept from the processor, they don't."""
        nonlocal last, known
        before, last = last, time.monotonic()
        beat(watched)
        told_before, known = known, len(alarms(watched))
        return known > told_before and time.monotonic() - before < PATIENCE_S

    with pytest.raises(DeadlineExceeded):
        eventually(alarm_in_time, timeout_s=2 * ALARM_S, what="an alarm", interval_s=0.05)


def test_a_heartbeat_that_was_still_to_be_read_keeps_it_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one is when the whole process had no processor for a while."""
    monkeypatch.setattr(switch, "READING_S", 10.0)
    with served(PATIENCE_S) as client:
        time.sleep(2 * PATIENCE_S)
        beat(client)
        monkeypatch.setattr(switch, "READING_S", 0.0)
        assert alarms(client) == []
        eventually(lambda: bool(alarms(client)), timeout_s=20, what="the alarm of the next silence")


@pytest.mark.parametrize(
    ("path", "status"), [("/notify/team", "firing"), ("/notify/deadmansswitch", "resolved")]
)
def test_what_is_no_heartbeat_does_not_stop_the_alarm(
    watched: httpx.Client, path: str, status: str
) -> None:
    def post_and_look() -> bool:
        watched.post(path, json={"status": status, "alerts": []})
        return bool(alarms(watched))

    eventually(post_and_look, timeout_s=5, what="the alarm", interval_s=0.05)


def test_without_patience_nothing_is_waited_for(client: httpx.Client) -> None:
    with pytest.raises(DeadlineExceeded):
        eventually(lambda: bool(alarms(client)), timeout_s=2 * ALARM_S, what="an alarm")


def test_a_client_that_says_nothing_blocks_nobody(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=2):
        assert client.get("/-/ready").json() == {"status": "ready"}
