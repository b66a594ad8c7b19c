"""The hub's users, for Locust: some synchronise, some work with items.

By hand: ``locust -f loadtests/hub.py --host http://127.0.0.1:8000``.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import ClassVar

from locust import task

from alertdrill.load.users import Exchange, PacedHttpUser
from fixtures.keys import ItemWrite, content, headers_of, new_sync

ITEMS = "/api/v1/items"
ITEM = "/api/v1/items/<item_id>"
SYNC = "/api/v1/sync/bidirectional"
STATUS = "/api/v1/sync/status"
HISTORY = "/api/v1/sync/history"
# More own items than this are deleted rather than kept: the table shall not grow with the run.
ENOUGH_ITEMS = 100


@dataclass
class Sync:
    """A sync that clients ask for until it is answered. ``due``: not before that, in seconds of
    ``time.monotonic()``."""

    key: str
    attempts: int = 0
    due: float = 0.0


class SyncUser(PacedHttpUser):
    """Starts synchronisations, each under its own idempotency key. One that failed is sent again
    under the same key, in place of a new one."""

    rate = 6.0
    # Soon enough to be answered once a fault is healed, and for longer than one of a drill lasts.
    again_after_s: ClassVar[float] = 1.0
    most_attempts: ClassVar[int] = 40
    failed: ClassVar[deque[Sync]] = deque()

    @task
    def synchronise(self) -> None:
        # Not from the seed: a key of an earlier run would be answered from that run's history.
        sync = self._failed() or Sync(new_sync())
        sent = self.call(
            "POST",
            SYNC,
            route=SYNC,
            body={"source": "github"},
            headers=headers_of(sync.key),
            key=sync.key,
        )
        sync.attempts += 1
        is_refused = 400 <= sent.status < 500
        if not sent.ok and not is_refused and sync.attempts < self.most_attempts:
            sync.due = time.monotonic() + self.again_after_s
            self.failed.append(sync)

    def _failed(self) -> Sync | None:
        """One that is due."""
        is_due = self.failed and self.failed[0].due <= time.monotonic()
        return self.failed.popleft() if is_due else None


@dataclass
class OwnItem:
    """An item that the load made. ``version``: of its last write, acknowledged or not;
    ``settled``: the write was acknowledged."""

    number: int
    key: str
    version: int = 0
    settled: bool = True

    @property
    def path(self) -> str:
        return f"{ITEMS}/{self.number}"


class ApiUser(PacedHttpUser):
    """Reads items and the state of synchronisation; writes only items that it created."""

    rate = 20.0
    # Own items that no request is about at the moment: whoever uses one takes it out, so that no
    # update meets another, nor a deletion.
    idle: ClassVar[deque[OwnItem]] = deque()

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
        body = {"key": key, **content(key, 0)}
        made = self.call("POST", ITEMS, route=ITEMS, body=body, key=ItemWrite(key, 0).promise)
        if made.ok:
            self.idle.append(OwnItem(made.document["id"], key))

    def get_item(self) -> None:
        item = self.idle.popleft()
        self._keep(item, self.call("GET", item.path, route=ITEM))

    def update_item(self) -> None:
        if not self.idle[0].settled:
            # An update that failed may be applied yet, after any that followed it.
            self.delete_item()
            return
        item = self.idle.popleft()
        item.version += 1
        promise = ItemWrite(item.key, item.version).promise
        body = content(item.key, item.version)
        sent = self.call("PUT", item.path, route=ITEM, body=body, key=promise)
        item.settled = sent.ok
        self._keep(item, sent)

    def delete_item(self) -> None:
        # Whatever the answer: the item may be gone, so nobody may rely on it.
        item = self.idle.popleft()
        promise = ItemWrite(item.key, None).promise
        self.call("DELETE", item.path, route=ITEM, key=promise)

    def _keep(self, item: OwnItem, exchange: Exchange) -> None:
        # An item that is missing was reported as a failure once; that is enough.
        if exchange.status != 404:
            self.idle.append(item)
