"""The hub's tables."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

metadata = sa.MetaData()

_NOW = sa.func.now()
_Time = sa.DateTime(timezone=True)

items = sa.Table(
    "items",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("created_at", _Time, nullable=False, server_default=_NOW),
    sa.Column("updated_at", _Time, nullable=False, server_default=_NOW),
)

conflicts = sa.Table(
    "conflicts",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("sides", sa.Text, nullable=False),
    sa.Column("github", JSONB, nullable=False),
    sa.Column("ai_studio", JSONB, nullable=False),
    sa.Column("winner", sa.Text),
    sa.Column("detected_at", _Time, nullable=False, server_default=_NOW),
    sa.Column("resolved_at", _Time),
)
"""The latest conflict of each item; ``winner`` is null while it is open."""

sync_runs = sa.Table(
    "sync_runs",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("idempotency_key", sa.Text, unique=True),
    sa.Column("request_hash", sa.Text),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("started_at", _Time, nullable=False),
    sa.Column("finished_at", _Time, nullable=False),
    sa.Column("items_read", sa.Integer, nullable=False, server_default="0"),
    sa.Column("items_changed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("conflicts_detected", sa.Integer, nullable=False, server_default="0"),
    sa.Column("conflicts_resolved", sa.Integer, nullable=False, server_default="0"),
    sa.Column("error", sa.Text),
    sa.Column("trace_id", sa.Text, nullable=False),
)

webhook_events = sa.Table(
    "webhook_events",
    metadata,
    sa.Column("delivery_id", sa.Text, primary_key=True),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("payload", JSONB, nullable=False),
    sa.Column("received_at", _Time, nullable=False, server_default=_NOW),
)

_SCHEMA_LOCK = 0x48_55_42


def create_schema(connection: sa.Connection) -> None:
    """Create missing tables. Several hubs may start at once: an advisory lock lets one do it."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
    metadata.create_all(connection)
