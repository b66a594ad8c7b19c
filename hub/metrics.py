"""Every metric of the hub, and every label set it will ever have, from the start.

A counter that was never incremented has no series, and an alert on it is blind to its first
event; so each label set is touched when the metrics are made.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

SOURCES = ("github", "ai-studio")
UPSTREAMS = ("github", "ai-studio")
UPSTREAM_OUTCOMES = (
    "success",
    "not_modified",
    "client_error",
    "rate_limited",
    "server_error",
    "timeout",
    "transport_error",
    "malformed",
)
WEBHOOK_OUTCOMES = ("delivered", "failed", "dropped")
POLICIES = ("ai_studio_wins", "github_wins")
UNMATCHED = "unmatched"
OTHER_METHOD = "OTHER"
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", OTHER_METHOD)

_WRITE = (400, 413, 415, 500, 503)
ROUTES: dict[tuple[str, str], tuple[int, ...]] = {
    ("GET", "/health"): (200, 500, 503),
    ("POST", "/api/v1/sync/bidirectional"): (200, 422, 502, *_WRITE),
    ("GET", "/api/v1/sync/status"): (200, 500, 503),
    ("GET", "/api/v1/sync/history"): (200, 400, 500, 503),
    ("POST", "/api/v1/sync/resolve-conflicts"): (200, *_WRITE),
    ("POST", "/api/v1/webhooks"): (202, 401, *_WRITE),
    ("GET", "/api/v1/items"): (200, 400, 500, 503),
    ("POST", "/api/v1/items"): (201, 409, *_WRITE),
    ("GET", "/api/v1/items/<item_id>"): (200, 404, 500, 503),
    ("PUT", "/api/v1/items/<item_id>"): (200, 404, *_WRITE),
    ("DELETE", "/api/v1/items/<item_id>"): (204, 404, 500, 503),
}
"""(method, route template) -> the statuses whose series exist from the start."""

DB_OPERATIONS: tuple[tuple[str, str], ...] = (
    ("connect", "none"),
    ("commit", "none"),
    ("ping", "none"),
    *((operation, "items") for operation in ("select", "insert", "update", "delete")),
    *((operation, "conflicts") for operation in ("select", "insert", "update", "delete")),
    *((operation, "sync_runs") for operation in ("select", "insert")),
    ("insert", "webhook_events"),
)
"""(operation, table) of every statement that the hub sends."""

# The guide's buckets, and 0.2 s for the objective "p95 < 200 ms"; the upper ones keep
# a quantile of slow operations apart from +Inf.
SYNC_BUCKETS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0)
HTTP_BUCKETS = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)
QUERY_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The hub's metrics on a registry of their own, so that two hubs fit into one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

        self.sync_operations = Counter(
            "sync_operations_total",
            "Sync attempts that ended, by outcome",
            ["source", "target", "status"],
            registry=registry,
        )
        self.sync_duration = Histogram(
            "sync_duration_seconds",
            "Duration of whole sync attempts, successful or not",
            ["source", "target"],
            buckets=SYNC_BUCKETS,
            registry=registry,
        )
        self.active_syncs = Gauge(
            "active_syncs", "Sync attempts in progress", ["source"], registry=registry
        )
        self.sync_conflicts_detected = Counter(
            "sync_conflicts_detected_total",
            "Items that differed between the upstreams, per sync",
            registry=registry,
        )
        self.sync_conflicts_resolved = Counter(
            "sync_conflicts_resolved_total",
            "Conflicts settled by a policy",
            ["policy"],
            registry=registry,
        )
        self.sync_conflicts_won = Counter(
            "sync_conflicts_won_total",
            "Conflicts settled by a sync, by the side whose content was kept",
            ["winner"],
            registry=registry,
        )
        self.http_requests = Counter(
            "http_requests_total",
            "HTTP requests by route template",
            ["method", "endpoint", "status"],
            registry=registry,
        )
        self.http_request_duration = Histogram(
            "http_request_duration_seconds",
            "Duration of HTTP requests by route template",
            ["method", "endpoint"],
            buckets=HTTP_BUCKETS,
            registry=registry,
        )
        self.db_operations = Counter(
            "db_operations_total",
            "Database operations",
            ["operation", "table", "status"],
            registry=registry,
        )
        self.db_query_duration = Histogram(
            "db_query_duration_seconds",
            "Duration of database operations; connect includes the wait for the pool",
            ["operation"],
            buckets=QUERY_BUCKETS,
            registry=registry,
        )
        self.db_slow_queries = Counter(
            "db_slow_queries_total", "Statements that took 0.5 s or longer", registry=registry
        )
        self.db_pool_size = Gauge(
            "db_connection_pool_size", "Connections open in the pool", registry=registry
        )
        self.db_pool_in_use = Gauge(
            "db_connection_pool_in_use", "Connections checked out of the pool", registry=registry
        )
        self.db_pool_limit = Gauge(
            "db_connection_pool_limit", "Connections that the pool may open", registry=registry
        )
        self.db_replication_lag = Gauge(
            "db_replication_lag_seconds",
            "Age of the oldest write that the slowest replica hasn't replayed; NaN: not known",
            registry=registry,
        )
        # Nobody has asked yet, and 0 would say that all is well.
        self.db_replication_lag.set(math.nan)
        self.app_time = Gauge(
            "app_time_seconds", "The hub's own clock at the scrape, Unix time", registry=registry
        )
        self.app_time.set_function(time.time)
        self.log_records_written = Counter(
            "log_records_written_total", "Log records that the log file took", registry=registry
        )
        self.log_records_lost = Counter(
            "log_records_lost_total",
            "Log records that the log file didn't take",
            registry=registry,
        )
        self.webhook_deliveries = Counter(
            "webhook_deliveries_total", "Webhooks, by final outcome", ["outcome"], registry=registry
        )
        self.webhook_retries = Counter(
            "webhook_retries_total", "Webhook attempts after the first", registry=registry
        )
        self.upstream_requests = Counter(
            "upstream_requests_total",
            "Requests to an upstream API, each attempt",
            ["upstream", "outcome"],
            registry=registry,
        )
        self.upstream_request_duration = Histogram(
            "upstream_request_duration_seconds",
            "Duration of requests to an upstream API, each attempt",
            ["upstream"],
            buckets=HTTP_BUCKETS,
            registry=registry,
        )
        self.upstream_available = Gauge(
            "upstream_available",
            "1 when the last use or health check of an upstream API got a usable answer",
            ["upstream"],
            registry=registry,
        )
        self.upstream_retries = Counter(
            "upstream_retries_total",
            "Attempts after the first, per upstream API",
            ["upstream"],
            registry=registry,
        )
        self._touch()

    def watch_pool(
        self, size: Callable[[], float], in_use: Callable[[], float], limit: int
    ) -> None:
        """Have the pool's gauges read at every scrape."""
        self.db_pool_size.set_function(size)
        self.db_pool_in_use.set_function(in_use)
        self.db_pool_limit.set(limit)

    def watch_replication(self, lag_s: Callable[[], float]) -> None:
        """Have the replication lag read at every scrape."""
        self.db_replication_lag.set_function(lag_s)

    def observe_request(self, method: str, endpoint: str, status: int, seconds: float) -> None:
        """``endpoint`` is a route template; one without a route is ``UNMATCHED``."""
        method = method if method in METHODS else OTHER_METHOD
        self.http_request_duration.labels(method, endpoint).observe(seconds)
        self.http_requests.labels(method, endpoint, str(status)).inc()

    def _touch(self) -> None:
        for source, target in (SOURCES, SOURCES[::-1]):
            self.active_syncs.labels(source)
            self.sync_duration.labels(source, target)
            for status in ("success", "error"):
                self.sync_operations.labels(source, target, status)
        for (method, endpoint), statuses in ROUTES.items():
            self.http_request_duration.labels(method, endpoint)
            _touch(self.http_requests, ((method, endpoint, str(status)) for status in statuses))
        for method in METHODS:
            self.http_request_duration.labels(method, UNMATCHED)
            _touch(self.http_requests, ((method, UNMATCHED, status) for status in ("404", "405")))
        for operation, table in DB_OPERATIONS:
            self.db_query_duration.labels(operation)
            _touch(
                self.db_operations,
                ((operation, table, status) for status in ("success", "error")),
            )
        for upstream in UPSTREAMS:
            _touch(self.upstream_requests, ((upstream, outcome) for outcome in UPSTREAM_OUTCOMES))
            self.upstream_request_duration.labels(upstream)
            self.upstream_retries.labels(upstream)
            # Until the first use nothing speaks against it; 0 would be a false alarm at start.
            self.upstream_available.labels(upstream).set(1)
        _touch(self.webhook_deliveries, ((outcome,) for outcome in WEBHOOK_OUTCOMES))
        _touch(self.sync_conflicts_resolved, ((policy,) for policy in POLICIES))
        _touch(self.sync_conflicts_won, ((side,) for side in SOURCES))


def _touch(counter: Counter, label_sets: Iterable[tuple[str, ...]]) -> None:
    for labels in label_sets:
        counter.labels(*labels)
