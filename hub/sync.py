"""The sync: read both upstreams whole, merge, write in one transaction, tell the webhooks."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from opentelemetry.trace import Tracer

from hub.cache import Cache
from hub.errors import BadInput, DatabaseUnavailable, Duplicate, HubError
from hub.items import Policy, merge
from hub.logs import LOGGER
from hub.metrics import Metrics
from hub.readers import Reader
from hub.store import Run, Store
from hub.tracing import current_trace_id
from hub.upstream import Deadline
from hub.webhooks import Webhooks

READ_BUDGET_S = 15.0
IDEMPOTENCY_TTL_S = 24 * 3600

log = logging.getLogger(LOGGER)

Side = Literal["github", "ai-studio"]


@dataclass(frozen=True)
class SyncRequest:
    """``source`` is the side that asked for the sync; items flow both ways either way."""

    source: Side = "github"
    policy: Policy = Policy.AI_STUDIO_WINS
    idempotency_key: str | None = None

    @property
    def target(self) -> Side:
        return "ai-studio" if self.source == "github" else "github"

    @property
    def hash(self) -> str:
        return hashlib.sha256(f"{self.source}\0{self.policy}".encode()).hexdigest()


class Syncs:
    """Runs syncs, any number at the same time."""

    def __init__(
        self,
        github: Reader,
        ai_studio: Reader,
        store: Store,
        cache: Cache,
        webhooks: Webhooks,
        metrics: Metrics,
        tracer: Tracer,
    ):
        self._github = github
        self._ai_studio = ai_studio
        self._store = store
        self._cache = cache
        self._webhooks = webhooks
        self._metrics = metrics
        self._tracer = tracer

    def run(self, request: SyncRequest) -> tuple[dict[str, Any], bool]:
        """The result, and whether it is that of an earlier sync with the same key.

        Raises UpstreamError, DatabaseUnavailable, and BadInput (422) when the key was used for
        another request.
        """
        try:
            earlier = self._earlier(request)
        except DatabaseUnavailable:
            # Nobody knows whether it is a repetition: the client's sync has failed all the same.
            with self._counted(request):
                raise
        if earlier:
            return earlier, True
        try:
            with self._counted(request):
                run = self._attempt(request)
        except Duplicate:
            # Another sync with this key committed first; the unique constraint said so.
            first = self._stored(request)
            if first is None:
                raise DatabaseUnavailable("the first sync with this key is gone") from None
            return first, True
        document = run.document()
        self._remember(request, document)
        self._webhooks.publish("sync.completed", document)
        return document, False

    def _attempt(self, request: SyncRequest) -> Run:
        started_at = datetime.now(UTC)
        try:
            # No connection to PostgreSQL is held while the upstreams take their time.
            deadline = Deadline.within(READ_BUDGET_S)
            github = self._github.read(deadline)
            ai_studio = self._ai_studio.read(deadline)
        except HubError as error:
            self._record_failure(self._new_run(request, started_at, error=str(error)))
            raise
        merged = merge(github, ai_studio, request.policy)
        run = replace(
            self._new_run(request, started_at),
            items_read=len(github) + len(ai_studio),
            conflicts_detected=len(merged.conflicts),
            conflicts_resolved=merged.resolved,
        )
        written = self._store.write_sync(merged, run)
        self._metrics.sync_conflicts_detected.inc(len(merged.conflicts))
        if merged.resolved:
            self._metrics.sync_conflicts_resolved.labels(request.policy).inc(merged.resolved)
        for conflict in merged.conflicts:
            if conflict.winner is not None:
                self._metrics.sync_conflicts_won.labels(conflict.winner.origin).inc()
        return written

    @contextmanager
    def _counted(self, request: SyncRequest) -> Iterator[None]:
        """The span, the log lines and the metrics of one attempt, however it ends."""
        source, target = request.source, request.target
        fields = {"source": source, "target": target}
        status = "error"
        started = time.perf_counter()
        with (
            self._metrics.active_syncs.labels(source).track_inprogress(),
            self._tracer.start_as_current_span("sync_operation", attributes=fields) as span,
        ):
            log.info("sync_started", extra=fields)
            try:
                yield
                status = "success"
            except Duplicate:
                # A replay after all: the attempt counts for the sync that was first.
                status = "replayed"
                raise
            except Exception as error:
                log.error(
                    "sync_failed",
                    extra={
                        **fields,
                        "error.type": type(error).__name__,
                        "error.message": str(error),
                        "event.duration_ms": round((time.perf_counter() - started) * 1000),
                    },
                )
                raise
            finally:
                seconds = time.perf_counter() - started
                span.set_attribute("status", status)
                if status != "replayed":
                    self._metrics.sync_operations.labels(source, target, status).inc()
                    self._metrics.sync_duration.labels(source, target).observe(seconds)
            log.info("sync_finished", extra={**fields, "event.duration_ms": round(seconds * 1000)})

    def _new_run(
        self, request: SyncRequest, started_at: datetime, *, error: str | None = None
    ) -> Run:
        return Run(
            source=request.source,
            target=request.target,
            policy=request.policy,
            status="error" if error else "success",
            started_at=started_at,
            finished_at=datetime.now(UTC),
            trace_id=current_trace_id(),
            idempotency_key=request.idempotency_key,
            request_hash=request.hash if request.idempotency_key else None,
            error=error,
        )

    def _record_failure(self, run: Run) -> None:
        try:
            self._store.record_failure(run)
        except DatabaseUnavailable as error:
            # The sync has failed already; that the history can't say so changes nothing for it.
            log.error("history_not_written", extra={"error.message": str(error)})

    def _earlier(self, request: SyncRequest) -> dict[str, Any] | None:
        if request.idempotency_key is None:
            return None
        if cached := self._cache.get(_cache_key(request.idempotency_key)):
            entry = json.loads(cached)
            _same(request, entry["request_hash"])
            document: dict[str, Any] = entry["result"]
            return document
        return self._stored(request)

    def _stored(self, request: SyncRequest) -> dict[str, Any] | None:
        assert request.idempotency_key is not None
        run = self._store.run_by_key(request.idempotency_key)
        if run is None:
            return None
        _same(request, run.request_hash)
        return run.document()

    def _remember(self, request: SyncRequest, document: dict[str, Any]) -> None:
        if request.idempotency_key is not None:
            entry = json.dumps({"request_hash": request.hash, "result": document})
            self._cache.put(_cache_key(request.idempotency_key), entry, IDEMPOTENCY_TTL_S)


def _same(request: SyncRequest, request_hash: str | None) -> None:
    if request_hash != request.hash:
        raise BadInput("this idempotency key was used for a different request", status=422)


def _cache_key(idempotency_key: str) -> str:
    return "hub:sync:" + hashlib.sha256(idempotency_key.encode()).hexdigest()
