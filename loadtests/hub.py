"""The hub's users, for Locust: some synchronise, some work with items.

By hand: ``locust -f loadtests/hub.py --host http://127.0.0.1:8000``.
"""

from __future__ import annotations

import uuid
from collections import deque
from typing import ClassVar

from locust import task

from alertdrill.load.users import Exchange, PacedHttpUser
from fixtures.keys import deletion_of

ITEMS = "/api/v1/items"
ITEM = "/api/v1/items/<item_id>"
SYNC = "/api/v1/sync/bidirectional"
STATUS = "/api/v1/sync/status"
HISTORY = "/api/v1/sync/history"
# More own items than this are deleted rather than kept: the table shall not grow with the run.
ENOUGH_ITEMS = 100


class SyncUser(PacedHttpUser):
    """Starts synchronisations, each under its own idempotency key."""

    rate = 6.0

    @task
    def synchronise(self) -> None:
        # Not from the seed: a key of an earlier run would be answered from that run's history.
        key = str(uuid.uuid4())
        self.call(
            "POST",
            SYNC,
            route=SYNC,
            body={"source": "github"},
            headers={"Idempotency-Key": key},
            key=key,
        )


class ApiUser(PacedHttpUser):
    """Reads items and the state of synchronisation; writes only items that it created."""

    rate = 20.0
    # Own items (id and key) that no request is about at the moment: whoever uses one takes it
    # out, so that no update meets a deletion.
    idle: ClassVar[deque[tuple[int, str]]] = deque()

    MIX: ClassVar[dict[str, int]] = {
        "list_items": 30,
        "get_item": 25,
        "sync_status": 10,
        "sync_history": 5,
        "create_item": 12,
        "update_item": 10,
        "delete_item": 8,
    }

    @task
    def step(self) -> None:
        (choice,) = self.rng.choices(list(self.MIX), weights=list(self.MIX.values()))
        if choice in ("get_item", "update_item", "delete_item") and not self.idle:
            choice = "create_item"
        if choice == "create_item" and len(self.idle) >= ENOUGH_ITEMS:
            choice = "delete_item"
        getattr(self, choice)()

    def list_items(self) -> None:
        page = self.rng.randint(1, 3)
        self.call("GET", f"{ITEMS}?page={page}&per_page=20", route=ITEMS)

    def sync_status(self) -> None:
        self.call("GET", STATUS, route=STATUS)

    def sync_history(self) -> None:
        self.call("GET", f"{HISTORY}?page=1&per_page=20", route=HISTORY)

    def create_item(self) -> None:
        key = f"load/{uuid.uuid4()}"
        made = self.call("POST", ITEMS, route=ITEMS, body={"key": key, **self._content()}, key=key)
        if made.ok:
            self.idle.append((made.document["id"], key))

    def get_item(self) -> None:
        item = number, _ = self.idle.popleft()
        self._keep(item, self.call("GET", f"{ITEMS}/{number}", route=ITEM))

    def update_item(self) -> None:
        item = number, _ = self.idle.popleft()
        self._keep(item, self.call("PUT", f"{ITEMS}/{number}", route=ITEM, body=self._content()))

    def delete_item(self) -> None:
        # Whatever the answer: the item may be gone, so nobody may rely on it.
        number, key = self.idle.popleft()
        self.call("DELETE", f"{ITEMS}/{number}", route=ITEM, key=deletion_of(key))

    def _keep(self, item: tuple[int, str], exchange: Exchange) -> None:
        # An item that is missing was reported as a failure once; that is enough.
        if exchange.status != 404:
            self.idle.append(item)

    def _content(self) -> dict[str, str]:
        number = self.rng.randint(1, 1_000_000)
        return {"title": f"Item {number}", "body": f"Written by load, {number}.", "state": "open"}
