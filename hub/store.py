"""Every statement that the hub sends to PostgreSQL, by what it is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from hub.database import Database
from hub.items import Conflict, Item, Merge, Policy
from hub.schema import conflicts, items, sync_runs, webhook_events

_PUBLIC_ITEM = [column for column in items.c if column.name != "fingerprint"]
_KEYS = sa.bindparam("keys", type_=ARRAY(sa.Text))


@dataclass(frozen=True)
class Run:
    """One sync attempt, as the history keeps it. ``request_hash`` tells a replay from a reuse."""

    source: str
    target: str
    policy: str
    status: str
    started_at: datetime
    finished_at: datetime
    trace_id: str
    idempotency_key: str | None = None
    request_hash: str | None = None
    items_read: int = 0
    items_changed: int = 0
    conflicts_detected: int = 0
    conflicts_resolved: int = 0
    error: str | None = None
    id: int | None = None

    def document(self) -> dict[str, Any]:
        """What callers see."""
        return {
            "id": self.id,
            "status": self.status,
            "source": self.source,
            "target": self.target,
            "policy": self.policy,
            "started_at": self.started_at.isoformat(),
            "finished_at": self.finished_at.isoformat(),
            "duration_ms": round((self.finished_at - self.started_at).total_seconds() * 1000),
            "items": {"read": self.items_read, "changed": self.items_changed},
            "conflicts": {
                "detected": self.conflicts_detected,
                "resolved": self.conflicts_resolved,
            },
            "error": self.error,
            "trace_id": self.trace_id,
        }


class Store:
    """All methods raise DatabaseUnavailable; those that insert may raise Duplicate."""

    def __init__(self, database: Database):
        self._db = database

    # Items

    def list_items(self, page: int, per_page: int) -> tuple[list[dict[str, Any]], bool]:
        """One page in the order of ids, and whether there is more."""
        statement = sa.select(*_PUBLIC_ITEM).order_by(items.c.id)
        return self._page("list_items", "items", statement, page, per_page)

    def get_item(self, item_id: int) -> dict[str, Any] | None:
        statement = sa.select(*_PUBLIC_ITEM).where(items.c.id == item_id)
        return self._one("get_item", "select", statement)

    def create_item(self, item: Item) -> dict[str, Any]:
        """Raises Duplicate when the key is taken."""
        statement = items.insert().values(**_row(item)).returning(*_PUBLIC_ITEM)
        row = self._one("create_item", "insert", statement)
        assert row is not None
        return row

    def update_item(self, item_id: int, item: Item) -> dict[str, Any] | None:
        """Everything but key and origin; None when there is no such item."""
        statement = (
            items.update()
            .where(items.c.id == item_id)
            .values(**item.document(), fingerprint=item.fingerprint, updated_at=sa.func.now())
            .returning(*_PUBLIC_ITEM)
        )
        return self._one("update_item", "update", statement)

    def delete_item(self, item_id: int) -> bool:
        statement = items.delete().where(items.c.id == item_id).returning(items.c.id)
        return self._one("delete_item", "delete", statement) is not None

    # Syncs

    def write_sync(self, merge: Merge, run: Run) -> Run:
        """Items, conflicts and history in one transaction; only what changed is written.

        Raises Duplicate when another sync with the same idempotency key was first.
        """
        with self._db.transaction("write_sync") as connection:
            changed = self._changed_items(connection, merge)
            self._upsert_items(connection, changed)
            self._reconcile_conflicts(connection, merge)
            statement = sync_runs.insert().returning(sync_runs.c.id)
            done = {"items_changed": len(changed), "finished_at": datetime.now(UTC)}
            values = {**_values(run), **done}
            run_id = self._db.execute(
                connection, "insert", "sync_runs", statement, values
            ).scalar_one()
        return Run(**{**values, "id": run_id})

    def record_failure(self, run: Run) -> None:
        """Keep a failed attempt in the history. Its idempotency key stays free for another."""
        values = {**_values(run), "idempotency_key": None}
        with self._db.connection("record_failure") as connection:
            self._db.execute(connection, "insert", "sync_runs", sync_runs.insert(), values)

    def run_by_key(self, idempotency_key: str) -> Run | None:
        statement = sa.select(sync_runs).where(sync_runs.c.idempotency_key == idempotency_key)
        with self._db.connection("run_by_key") as connection:
            row = self._db.execute(connection, "select", "sync_runs", statement).mappings().first()
        return None if row is None else Run(**row)

    def last_runs(self) -> tuple[Run | None, Run | None]:
        """The latest attempt and the latest success."""
        latest = sa.select(sync_runs).order_by(sync_runs.c.id.desc()).limit(1)
        success = latest.where(sync_runs.c.status == "success")
        with self._db.connection("last_runs") as connection:
            rows = [
                self._db.execute(connection, "select", "sync_runs", statement).mappings().first()
                for statement in (latest, success)
            ]
        first, second = (None if row is None else Run(**row) for row in rows)
        return first, second

    def history(self, page: int, per_page: int) -> tuple[list[dict[str, Any]], bool]:
        """One page, latest first, and whether there is more."""
        statement = sa.select(sync_runs).order_by(sync_runs.c.id.desc())
        rows, more = self._page("history", "sync_runs", statement, page, per_page)
        return [Run(**row).document() for row in rows], more

    def resolve_conflicts(self, policy: Policy, keys: Sequence[str] | None) -> list[str]:
        """Settle open conflicts (all, or those of ``keys``); the keys that were settled.

        Items are written before conflicts, as a sync does, so that the two never deadlock.
        """
        statement = sa.select(conflicts).where(conflicts.c.winner.is_(None))
        if keys is not None:
            statement = statement.where(
                conflicts.c.key == sa.any_(sa.cast(list(keys), ARRAY(sa.Text)))
            )
        side, winner = (
            ("github", "github") if policy is Policy.GITHUB_WINS else ("ai_studio", "ai-studio")
        )
        with self._db.transaction("resolve_conflicts") as connection:
            rows = self._db.execute(
                connection, "select", "conflicts", statement.order_by(conflicts.c.key)
            ).mappings()
            winners = [Item(key=row["key"], origin=winner, **row[side]) for row in rows]
            self._upsert_items(connection, winners)
            if winners:
                self._db.execute(
                    connection,
                    "update",
                    "conflicts",
                    conflicts.update()
                    .where(conflicts.c.key == sa.bindparam("settled"))
                    .values(winner=winner, resolved_at=sa.func.now()),
                    [{"settled": item.key} for item in winners],
                )
        return [item.key for item in winners]

    def count_open_conflicts(self) -> int:
        statement = sa.select(sa.func.count()).where(conflicts.c.winner.is_(None))
        with self._db.connection("count_open_conflicts") as connection:
            count: int = self._db.execute(connection, "select", "conflicts", statement).scalar_one()
        return count

    # Webhooks

    def record_webhook(self, delivery_id: str, event: str, payload: Mapping[str, Any]) -> bool:
        """False when this delivery was seen before."""
        statement = (
            insert(webhook_events)
            .values(delivery_id=delivery_id, event=event, payload=payload)
            .on_conflict_do_nothing()
            .returning(webhook_events.c.delivery_id)
        )
        with self._db.connection("record_webhook") as connection:
            result = self._db.execute(connection, "insert", "webhook_events", statement)
            return result.first() is not None

    # How

    def _one(self, name: str, operation: str, statement: sa.Executable) -> dict[str, Any] | None:
        with self._db.connection(name) as connection:
            row = self._db.execute(connection, operation, "items", statement).mappings().first()
        return None if row is None else dict(row)

    def _page(
        self, name: str, table: str, statement: sa.Select[Any], page: int, per_page: int
    ) -> tuple[list[dict[str, Any]], bool]:
        # One row more than asked says whether there is more; counting all would cost a scan.
        limited = statement.limit(per_page + 1).offset((page - 1) * per_page)
        with self._db.connection(name) as connection:
            rows = self._db.execute(connection, "select", table, limited).mappings().all()
        return [dict(row) for row in rows[:per_page]], len(rows) > per_page

    def _changed_items(self, connection: sa.Connection, merge: Merge) -> list[Item]:
        statement = sa.select(items.c.key, items.c.fingerprint).where(items.c.key == sa.any_(_KEYS))
        keys = [item.key for item in merge.items]
        rows = self._db.execute(connection, "select", "items", statement, {"keys": keys})
        stored = {row.key: row.fingerprint for row in rows}
        return [item for item in merge.items if stored.get(item.key) != item.fingerprint]

    def _upsert_items(self, connection: sa.Connection, changed: Iterable[Item]) -> None:
        rows = [_row(item) for item in changed]
        if not rows:
            return
        statement = insert(items)
        new = statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=[items.c.key],
            set_={
                "title": new.title,
                "body": new.body,
                "state": new.state,
                "origin": new.origin,
                "fingerprint": new.fingerprint,
                "updated_at": sa.func.now(),
            },
            where=items.c.fingerprint != new.fingerprint,
        )
        self._db.execute(connection, "insert", "items", statement, rows)

    def _reconcile_conflicts(self, connection: sa.Connection, merge: Merge) -> None:
        """Store new conflicts, and those with other sides or another winner than before.

        One that was settled by hand and whose sides are the same stays settled; an open one
        whose sides agree by now is gone.
        """
        statement = sa.select(conflicts.c.key, conflicts.c.sides, conflicts.c.winner).where(
            conflicts.c.key == sa.any_(_KEYS)
        )
        current = {conflict.key: conflict for conflict in merge.conflicts}
        keys = sorted(current.keys() | {item.key for item in merge.items})
        rows = self._db.execute(connection, "select", "conflicts", statement, {"keys": keys})
        stored = {row.key: (row.sides, row.winner) for row in rows}

        def is_new(conflict: Conflict) -> bool:
            sides, winner = stored.get(conflict.key, (None, None))
            if sides != conflict.sides:
                return True
            return conflict.winner is not None and conflict.winner.origin != winner

        self._upsert_conflicts(connection, filter(is_new, merge.conflicts))
        gone = [key for key, (_, winner) in stored.items() if winner is None and key not in current]
        if gone:
            delete = conflicts.delete().where(conflicts.c.key == sa.any_(_KEYS))
            self._db.execute(connection, "delete", "conflicts", delete, {"keys": sorted(gone)})

    def _upsert_conflicts(self, connection: sa.Connection, changed: Iterable[Conflict]) -> None:
        now = datetime.now(UTC)
        rows = [
            {
                "key": conflict.key,
                "sides": conflict.sides,
                "github": conflict.github.document(),
                "ai_studio": conflict.ai_studio.document(),
                "winner": conflict.winner.origin if conflict.winner else None,
                "resolved_at": now if conflict.winner else None,
            }
            for conflict in changed
        ]
        if not rows:
            return
        statement = insert(conflicts)
        new = statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=[conflicts.c.key],
            set_={
                "sides": new.sides,
                "github": new.github,
                "ai_studio": new.ai_studio,
                "winner": new.winner,
                "detected_at": sa.func.now(),
                "resolved_at": new.resolved_at,
            },
        )
        self._db.execute(connection, "insert", "conflicts", statement, rows)


def _row(item: Item) -> dict[str, Any]:
    return {
        "key": item.key,
        "origin": item.origin,
        "fingerprint": item.fingerprint,
        **item.document(),
    }


def _values(run: Run) -> dict[str, Any]:
    return {name: value for name, value in vars(run).items() if name != "id"}
