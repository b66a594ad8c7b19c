"""The application factory: everything is made here, once, and wired together."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from flask import Flask, Response, g, request
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import TracerProvider

from hub import api, logs, problems, tracing
from hub.cache import Cache
from hub.database import Database
from hub.errors import DatabaseUnavailable
from hub.health import Health
from hub.metrics import UNMATCHED, Metrics
from hub.readers import AiStudioReader, GithubReader
from hub.replication import Replication
from hub.settings import Settings
from hub.store import Store
from hub.sync import Syncs
from hub.upstream import Upstream
from hub.webhooks import Webhooks

EXTENSION = "hub"


@dataclass(frozen=True)
class Transports:
    """Other ways to the neighbours than the network, for tests."""

    github: httpx.BaseTransport | None = None
    ai_studio: httpx.BaseTransport | None = None
    webhooks: httpx.BaseTransport | None = None


@dataclass(frozen=True)
class Hub:
    """What was made, for the process around the application; ``close`` undoes it."""

    metrics: Metrics
    tracer_provider: TracerProvider
    close: Callable[[], None]


def create_app(
    settings: Settings | None = None,
    *,
    transports: Transports | None = None,
    tracer_provider: TracerProvider | None = None,
) -> Flask:
    """The hub. Without ``settings`` the environment tells; raises SettingsError.

    It starts whether or not its neighbours are there; ``GET /health`` says which are.
    """
    settings = settings or Settings.from_env(os.environ)
    transports = transports or Transports()
    metrics = Metrics()
    logger = logs.configure(
        settings.service_name,
        settings.log_level,
        settings.log_file,
        written=metrics.log_records_written.inc,
        lost=metrics.log_records_lost.inc,
    )
    provider = tracer_provider or tracing.provider(settings.service_name, export=settings.otlp)
    tracer = provider.get_tracer("hub")

    database = Database(
        settings.database_url,
        pool_size=settings.db_pool_size,
        pool_timeout_s=settings.db_pool_timeout_s,
        hold_limit_s=settings.db_hold_limit_s,
        metrics=metrics,
        tracer=tracer,
    )
    replication = None
    if settings.replication_url:
        replication = Replication(settings.replication_url)
        metrics.watch_replication(replication.lag_s)
    cache = Cache(settings.redis_url, provider)
    github = Upstream(
        "github",
        settings.github_url,
        read_timeout_s=3.0,
        connections=settings.threads,
        headers={"Accept": "application/vnd.github+json", **_bearer(settings.github_token)},
        metrics=metrics,
        tracer_provider=provider,
        transport=transports.github,
    )
    ai_studio = Upstream(
        "ai-studio",
        settings.ai_studio_url,
        read_timeout_s=12.0,
        connections=settings.threads,
        headers=_bearer(settings.ai_studio_key),
        metrics=metrics,
        tracer_provider=provider,
        transport=transports.ai_studio,
    )
    github_reader = GithubReader(github, cache, settings.github_repository)
    ai_studio_reader = AiStudioReader(ai_studio)
    store = Store(database)
    webhooks = Webhooks(
        settings.webhook_urls, settings.webhook_secret, metrics, provider, transports.webhooks
    )
    syncs = Syncs(github_reader, ai_studio_reader, store, cache, webhooks, metrics, tracer)

    def check_database() -> bool:
        database.ping()
        return True

    health = Health(
        {
            "database": check_database,
            "redis": cache.ping,
            "github_api": github_reader.is_healthy,
            "ai_studio_api": ai_studio_reader.is_healthy,
        }
    )

    def close() -> None:
        webhooks.close()
        health.close()
        github.close()
        ai_studio.close()
        cache.close()
        if replication is not None:
            replication.close()
        database.close()
        provider.shutdown()

    app = Flask("hub")
    app.config["MAX_CONTENT_LENGTH"] = api.MAX_BODY_BYTES
    app.extensions[EXTENSION] = Hub(metrics, provider, close)
    app.register_blueprint(api.blueprint(syncs, store, health, metrics, settings.webhook_secret))
    problems.register(app)
    _observe(app, metrics, logger)
    FlaskInstrumentor().instrument_app(  # type: ignore[no-untyped-call]
        app, tracer_provider=provider, enable_commenter=False
    )
    threading.Thread(
        target=_prepare_schema, args=(database, logger), name="schema", daemon=True
    ).start()
    return app


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _observe(app: Flask, metrics: Metrics, logger: logging.Logger) -> None:
    """Count, time and log every request, under its route template."""

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.started
        endpoint = request.url_rule.rule if request.url_rule else UNMATCHED
        metrics.observe_request(request.method, endpoint, response.status_code, seconds)
        level = logging.ERROR if response.status_code >= 500 else logging.INFO
        if logger.isEnabledFor(level):
            logger.log(
                level,
                "http_request",
                extra={
                    "http.request.method": request.method,
                    "http.route": endpoint,
                    "http.response.status_code": response.status_code,
                    "event.duration_ms": round(seconds * 1000, 1),
                },
            )
        if trace_id := tracing.current_trace_id():
            response.headers["X-Trace-Id"] = trace_id
        return response


def _prepare_schema(database: Database, logger: logging.Logger) -> None:
    """Have the schema ready before the first request where PostgreSQL is there already.

    Where it isn't, the first connection that succeeds creates it.
    """
    try:
        database.ping()
    except DatabaseUnavailable as error:
        logger.warning("database_not_there_yet", extra={"error.message": str(error)})
