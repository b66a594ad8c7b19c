"""The hub's locustfile sends what it says, at the planned rates."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

import loadtests
from alertdrill.load.plan import Load
from alertdrill.load.session import LoadSession
from alertdrill.load.window import Window
from alertdrill.wait import eventually
from fixtures.keys import ItemWrite, content

from .conftest import Server, kept_plan, wait_for_requests

ITEMS = "/api/v1/items"
SYNC = "/api/v1/sync/bidirectional"
ROOT = Path(loadtests.__file__).parent.parent


def test_the_hubs_users_send_what_the_plan_says(server: Server, tmp_path: Path) -> None:
    load = loadtests.sync_and_api(sync_rps=40, api_rps=120)
    with LoadSession(load, server.url, tmp_path, ROOT, seed=7) as running:
        running.wait_started(30)
        since, until = kept_plan(running, 240, SyncUser=40, ApiUser=120)
        health = running.validity(since, until)

        def versions() -> set[int | None]:
            writes = map(ItemWrite.of, running.since(since).acknowledged)
            return {write.version for write in writes if write is not None}

        eventually(
            lambda: versions() >= {None, 0, 1, 2}, timeout_s=20, what="an item's second update"
        )
        window = running.since(since)

    assert health.valid, health.why
    assert window.failed == 0, window.errors
    assert set(window.by_name) >= {
        "POST /api/v1/sync/bidirectional",
        "GET /api/v1/sync/status",
        "GET /api/v1/sync/history",
        "GET /api/v1/items",
        "POST /api/v1/items",
        "GET /api/v1/items/<item_id>",
        "PUT /api/v1/items/<item_id>",
        "DELETE /api/v1/items/<item_id>",
    }
    syncs = syncs_of(server)
    keys = [headers["Idempotency-Key"] for headers in syncs]
    assert len(set(keys)) == len(keys)
    assert all(headers["traceparent"][3:35] == headers["Idempotency-Key"] for headers in syncs)
    made = {
        json.loads(body)["key"]
        for method, path, _, body in server.manners.seen
        if (method, path) == ("POST", ITEMS)
    }
    acknowledged = set(window.acknowledged)
    writes = {write for key in acknowledged if (write := ItemWrite.of(key))}
    assert acknowledged - {write.promise for write in writes} <= set(keys)
    assert {write.item_key for write in writes} <= made
    # Items are changed and deleted after they were created, and never after their deletion.
    gone: set[str] = set()
    count = 0
    for method, path, _, _ in server.manners.seen:
        if path == ITEMS and method == "POST":
            count += 1
        elif path.startswith(f"{ITEMS}/"):
            number = path.rsplit("/", 1)[1]
            assert int(number) <= count
            assert number not in gone
            if method == "DELETE":
                gone.add(number)
    assert gone


def test_updates_of_an_item_follow_each_other_and_none_follows_one_that_failed(
    server: Server, tmp_path: Path
) -> None:
    load = loadtests.api_only(120)
    with LoadSession(load, server.url, tmp_path, ROOT, seed=7) as running:
        running.wait_started(30)
        since = time.monotonic()
        eventually(lambda: running.since(since).requests > 240, timeout_s=20, what="requests")
        server.manners.failing.set()
        failing = len(server.manners.seen)
        eventually(lambda: running.since(since).failed > 100, timeout_s=20, what="failures")
        server.manners.failing.clear()
        until = time.monotonic()
        eventually(lambda: running.since(until).requests > 240, timeout_s=20, what="requests")
        window = running.since(0.0)

    written: dict[str, list[int]] = {}
    after_a_failure = 0
    for number, (method, path, _, body) in enumerate(server.manners.seen):
        if method == "PUT":
            said = json.loads(body)
            version = int(said["title"].split()[-1])
            (key,) = {w for w in said["body"].split() if w.startswith("load/")}
            assert said == content(key.rstrip(","), version)
            written.setdefault(path, []).append(version)
            after_a_failure += number > failing
    assert all(versions == sorted(set(versions)) for versions in written.values())
    assert after_a_failure > 0
    # What failed is the last that was written.
    last: dict[str, int] = {}
    for write in filter(None, map(ItemWrite.of, window.acknowledged)):
        if write.version is not None:
            last[write.item_key] = max(write.version, last.get(write.item_key, 0))
    failed = [write for write in map(ItemWrite.of, window.uncertain) if write and write.version]
    assert failed
    assert all(write.version == last[write.item_key] + 1 for write in failed)


HASTY = """
from loadtests import hub

class HastyUser(hub.SyncUser):
    again_after_s = 0.5
    most_attempts = 4
"""


def test_a_sync_that_failed_is_sent_again_in_place_of_a_new_one(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hasty.py").write_text(HASTY)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    server.manners.failing.set()
    load = Load("hasty.py", {"HastyUser": 40.0})
    with LoadSession(load, server.url, tmp_path, tmp_path) as running:
        running.wait_started(30)
        kept_plan(running, 80, HastyUser=40.0)
        # Some twenty wait to be sent again: the first are given up after two seconds.
        eventually(lambda: 4 in sent_to(server).values(), timeout_s=20, what="one that is given up")
        wait_for_requests(running, time.monotonic(), 20)
        server.manners.failing.clear()

        def nobody_waits() -> Window | None:
            window = running.since(0.0)
            sent = sent_to(server)
            return window if all(sent[key] == 4 for key in window.uncertain) else None

        window = eventually(nobody_waits, timeout_s=20, what="all to be sent again")

    sent = sent_to(server)
    assert max(sent.values()) == 4
    given_up = set(window.uncertain)
    assert given_up
    answered = set(window.repeated) - given_up
    assert answered
    assert answered <= set(window.acknowledged)
    assert all(sent[key] == 1 for key in window.acknowledged if key not in answered)


def sent_to(server: Server) -> Counter[str]:
    """How often each sync was sent."""
    return Counter(headers["Idempotency-Key"] for headers in syncs_of(server))


def syncs_of(server: Server) -> list[dict[str, str]]:
    """The headers of all syncs that the server was asked for."""
    return [
        headers
        for _, path, headers, body in server.manners.seen
        if path == SYNC and json.loads(body) == {"source": "github"}
    ]
