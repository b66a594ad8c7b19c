"""The connection pool, its guards, and the one way to talk to PostgreSQL.

A pool must survive what a network does: connections that died while idle are found before they
are used (a look at the socket, no round trip), and a statement that hangs longer than
``hold_limit_s`` has its socket shut, so that a silent network can't keep the pool for ever.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import dup
from typing import Any

import sqlalchemy as sa
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from opentelemetry.metrics import NoOpMeter
from opentelemetry.trace import Tracer
from sqlalchemy import exc
from sqlalchemy.pool import QueuePool

from hub.errors import DatabaseUnavailable, Duplicate
from hub.logs import LOGGER
from hub.metrics import Metrics
from hub.schema import create_schema

CONNECT_TIMEOUT_S = 3
SLOW_QUERY_S = 0.5

log = logging.getLogger(LOGGER)


class Database:
    """A bounded pool of connections to PostgreSQL.

    Every method that talks to PostgreSQL raises DatabaseUnavailable when it can't be reached,
    hangs up or when no connection is free within ``pool_timeout_s``, and Duplicate when a unique
    constraint refuses a write.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int,
        pool_timeout_s: float,
        hold_limit_s: float,
        metrics: Metrics,
        tracer: Tracer,
    ):
        self._metrics = metrics
        self._tracer = tracer
        self._schema_lock = threading.Lock()
        self._schema_ready = False
        self.engine = sa.create_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout_s,
            pool_use_lifo=True,
            # Looking for the hstore type costs each new connection a round trip.
            use_native_hstore=False,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "application_name": "hub",
                "options": f"-c statement_timeout={int(hold_limit_s * 1000)}",
            },
        )
        # The public instrumentor patches SQLAlchemy for the whole process and refuses newer
        # releases; its engine tracer alone is what is wanted here, and a test covers it.
        connections = NoOpMeter("hub").create_up_down_counter("connections")
        EngineTracer(tracer, self.engine, connections)  # type: ignore[no-untyped-call]
        self._guard = _Guard(self.engine, hold_limit_s)
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)
        metrics.watch_pool(
            lambda: pool.size() + pool.overflow(), pool.checkedout, limit=pool.size()
        )

    @contextmanager
    def connection(self, name: str) -> Iterator[sa.Connection]:
        """A connection on which each statement commits on its own: one round trip each."""
        with self._span(name), self._connect(autocommit=True) as connection:
            yield connection

    @contextmanager
    def transaction(self, name: str) -> Iterator[sa.Connection]:
        """All or nothing: commits at the end, rolls back on any exception."""
        with self._span(name), self._connect(autocommit=False) as connection:
            yield connection
            with self._timed("commit", "none"):
                connection.commit()

    def execute(
        self,
        connection: sa.Connection,
        operation: str,
        table: str,
        statement: sa.Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> sa.CursorResult[Any]:
        """Run ``statement``, counted and timed as ``operation`` on ``table``."""
        with self._timed(operation, table):
            return connection.execute(statement, parameters)

    def ping(self) -> None:
        """Prove that a request would be served: a connection, the schema, an answer."""
        with self.connection("ping") as connection:
            self.execute(connection, "ping", "none", sa.text("SELECT 1"))

    def close(self) -> None:
        """Close the pool's idle connections and stop the guard."""
        self._guard.stop()
        self.engine.dispose()

    @contextmanager
    def _span(self, name: str) -> Iterator[None]:
        with self._tracer.start_as_current_span(f"db.{name}"):
            try:
                yield
            except exc.IntegrityError as error:
                raise Duplicate(_said(error)) from error
            except exc.SQLAlchemyError as error:
                if not _is_outage(error):
                    raise
                if _is_missing_table(error):
                    self._schema_ready = False
                raise DatabaseUnavailable(_said(error)) from error

    @contextmanager
    def _connect(self, *, autocommit: bool) -> Iterator[sa.Connection]:
        with self._timed("connect", "none"):
            connection = self.engine.connect()
        with connection:
            if not self._schema_ready:
                self._ensure_schema(connection)
            if autocommit:
                connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection

    def _ensure_schema(self, connection: sa.Connection) -> None:
        """Create what is missing. The hub may start long before PostgreSQL does."""
        if not self._schema_lock.acquire(timeout=CONNECT_TIMEOUT_S):
            raise DatabaseUnavailable("the schema is still being created")
        try:
            if not self._schema_ready:
                create_schema(connection)
                connection.commit()
                self._schema_ready = True
                log.info("schema_ready")
        finally:
            self._schema_lock.release()

    @contextmanager
    def _timed(self, operation: str, table: str) -> Iterator[None]:
        started = time.perf_counter()
        status = "error"
        try:
            yield
            status = "success"
        except exc.IntegrityError:
            # The database did its work: it refused a duplicate.
            status = "success"
            raise
        finally:
            seconds = time.perf_counter() - started
            self._metrics.db_operations.labels(operation, table, status).inc()
            self._metrics.db_query_duration.labels(operation).observe(seconds)
            if seconds >= SLOW_QUERY_S:
                self._metrics.db_slow_queries.inc()
                log.warning(
                    "slow_query",
                    extra={
                        "db.operation": operation,
                        "db.table": table,
                        "event.duration_ms": round(seconds * 1000),
                    },
                )


class _Guard:
    """Watches sockets of the pool: dead ones before use, hung ones while in use."""

    def __init__(self, engine: sa.Engine, hold_limit_s: float):
        self._hold_limit_s = hold_limit_s
        self._held: dict[Any, tuple[float, int]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        sa.event.listen(engine, "checkout", self._on_checkout)
        sa.event.listen(engine, "checkin", self._on_release)
        sa.event.listen(engine, "invalidate", self._on_release)
        threading.Thread(target=self._watch, name="db-guard", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _on_checkout(self, dbapi_connection: Any, record: Any, _proxy: object) -> None:
        fd = dbapi_connection.pgconn.socket
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if poll.poll(0):
            # An idle connection has nothing to say; one that is readable was closed.
            raise exc.InvalidatePoolError("the server closed this connection while it was idle")
        with self._lock:
            self._held[record] = (time.monotonic(), fd)

    def _on_release(self, _dbapi_connection: Any, record: Any, _error: object = None) -> None:
        with self._lock:
            self._held.pop(record, None)

    def _watch(self) -> None:
        while not self._stopped.wait(1.0):
            limit = time.monotonic() - self._hold_limit_s
            with self._lock:
                overdue = [record for record, (since, _) in self._held.items() if since < limit]
                for record in overdue:
                    _shut(self._held.pop(record)[1])
            if overdue:
                log.error("db_connections_shut", extra={"connections": len(overdue)})


def _shut(fd: int) -> None:
    """End both directions, so that whoever waits on the socket reads its end."""
    with socket.socket(fileno=dup(fd)) as twin:
        try:
            twin.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            log.warning("db_socket_already_closed", extra={"error.message": str(error)})


def _is_outage(error: exc.SQLAlchemyError) -> bool:
    if isinstance(error, exc.TimeoutError | exc.DisconnectionError):
        return True
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(
        error, exc.OperationalError | exc.InterfaceError | exc.InternalError
    ) or _is_missing_table(error)


def _is_missing_table(error: exc.SQLAlchemyError) -> bool:
    """Someone restored an empty database under a running hub."""
    return isinstance(error, exc.ProgrammingError) and "UndefinedTable" in str(error)


def _said(error: Exception) -> str:
    original = getattr(error, "orig", None) or error
    return " ".join(str(original).split())[:300]
