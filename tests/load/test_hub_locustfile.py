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
from alertdrill.wait import eventually
from fixtures.keys import ItemWrite, content

from .conftest import Server

ITEMS = "/api/v1/items"
SYNC = "/api/v1/sync/bidirectional"
# As loadtests/hub.py says; importing that would import Locust.
MOST_ATTEMPTS = 8
ROOT = Path(loadtests.__file__).parent.parent


def test_the_hubs_users_send_what_the_plan_says(server: Server, tmp_path: Path) -> None:
    load = loadtests.sync_and_api(sync_rps=40, api_rps=120)
    with LoadSession(load, server.url, tmp_path, ROOT, seed=7) as running:
        running.wait_started(30)
        since = time.monotonic()
        eventually(lambda: running.since(since).requests > 240, timeout_s=20, what="requests")
        until = time.monotonic()
        window = running.since(since, until)
        health = running.validity(since, until)

    assert health.valid, health.why
    assert window.failed == 0, window.errors
    assert window.by_user["SyncUser"].requests / (until - since) == pytest.approx(40, rel=0.1)
    assert window.by_user["ApiUser"].requests / (until - since) == pytest.approx(120, rel=0.1)
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
    assert {write.version for write in writes} >= {None, 0, 1, 2}
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


def test_a_sync_that_failed_is_sent_again_in_place_of_a_new_one(
    server: Server, tmp_path: Path
) -> None:
    server.manners.failing.set()
    # Few users: each has its turn twice a second.
    load = Load(loadtests.LOCUSTFILE, {"SyncUser": 40.0}, hold_s=0.5)
    with LoadSession(load, server.url, tmp_path, ROOT, seed=7) as running:
        running.wait_started(30)
        since = time.monotonic()
        # Long enough for the first to be given up, and not for the next.
        eventually(lambda: running.since(0.0).failed > 220, timeout_s=20, what="failures")
        server.manners.failing.clear()
        eventually(lambda: running.since(since).requests > 320, timeout_s=20, what="requests")
        until = time.monotonic()
        rate = running.since(since, until).requests / (until - since)
        window = running.since(0.0)

    assert rate == pytest.approx(40, rel=0.1)
    sent = Counter(headers["Idempotency-Key"] for headers in syncs_of(server))
    assert max(sent.values()) == MOST_ATTEMPTS
    given_up = set(window.uncertain)
    assert len(given_up) == load.users["SyncUser"]
    assert {sent[key] for key in given_up} == {MOST_ATTEMPTS}
    assert set(window.repeated) - given_up <= set(window.acknowledged)
    assert len(set(window.repeated) - given_up) == load.users["SyncUser"]


def syncs_of(server: Server) -> list[dict[str, str]]:
    """The headers of all syncs that the server was asked for."""
    return [
        headers
        for _, path, headers, body in server.manners.seen
        if path == SYNC and json.loads(body) == {"source": "github"}
    ]
