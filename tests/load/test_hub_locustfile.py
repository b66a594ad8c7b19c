"""The hub's locustfile sends what it says, at the planned rates."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

import loadtests
from alertdrill.load.session import LoadSession
from alertdrill.wait import eventually
from fixtures.keys import deletion_of

from .conftest import Server

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
    syncs = [seen for seen in server.manners.seen if seen[1].endswith("/bidirectional")]
    keys = [headers["Idempotency-Key"] for _, _, headers, _ in syncs]
    assert len(set(keys)) == len(keys)
    made_keys = {
        json.loads(body)["key"]
        for method, path, _, body in server.manners.seen
        if (method, path) == ("POST", "/api/v1/items")
    }
    deletions = {deletion_of(key) for key in made_keys}
    acknowledged = set(window.acknowledged)
    assert acknowledged <= {*keys, *made_keys, *deletions}
    assert all(acknowledged & promised for promised in (set(keys), made_keys, deletions))
    assert json.loads(syncs[0][3]) == {"source": "github"}
    # Items are changed and deleted after they were created, and never after their deletion.
    gone: set[str] = set()
    made = 0
    for method, path, _, _ in server.manners.seen:
        if path == "/api/v1/items" and method == "POST":
            made += 1
        elif path.startswith("/api/v1/items/"):
            number = path.rsplit("/", 1)[1]
            assert int(number) <= made
            assert number not in gone
            if method == "DELETE":
                gone.add(number)
    assert gone
