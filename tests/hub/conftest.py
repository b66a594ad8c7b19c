"""A hub in this process: stubs behind it through WSGI, PostgreSQL and Redis only where asked."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import docker
import httpx
import psycopg
import pytest
from docker.models.containers import Container
from flask import Flask
from flask.testing import FlaskClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hub.app import Transports, create_app
from hub.metrics import Metrics
from hub.settings import Settings
from hub.upstreams import ai_studio, github

SECRET = "correct horse"


def closed_port() -> int:
    """A port on loopback that refuses connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def until(condition: Callable[[], bool], *, timeout_s: float = 20.0) -> None:
    """Wait for ``condition``; an AssertionError when it doesn't come about in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"it did not come about within {timeout_s:g} s"
        time.sleep(0.01)


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL in a container: its address for psycopg, and the container."""

    plain_url: str
    container: Container

    @property
    def url(self) -> str:
        """The address for the hub."""
        return self.plain_url.replace("postgresql://", "postgresql+psycopg://")


class Made:
    """A hub with its spans and a client."""

    def __init__(self, settings: Settings, transports: Transports):
        self.spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.app: Flask = create_app(settings, transports=transports, tracer_provider=provider)
        self.client: FlaskClient = self.app.test_client()
        self.metrics: Metrics = self.app.extensions["hub"].metrics

    def value(self, name: str, **labels: str) -> float:
        """A sample's value; raises where there is no such series."""
        value = self.metrics.registry.get_sample_value(name, labels)
        assert value is not None, f"no series {name}{labels}"
        return value

    def close(self) -> None:
        self.app.extensions["hub"].close()


@pytest.fixture(scope="session")
def stubs() -> Transports:
    return Transports(
        github=httpx.WSGITransport(github.create_app({"SEED": "7"})),
        ai_studio=httpx.WSGITransport(ai_studio.create_app({"SEED": "7"})),
    )


@pytest.fixture(scope="session")
def settings() -> Settings:
    """Neither PostgreSQL nor Redis is there."""
    return Settings(
        database_url=f"postgresql+psycopg://hub:none@127.0.0.1:{closed_port()}/hub",
        redis_url=f"redis://127.0.0.1:{closed_port()}/0",
        github_url="http://github.test",
        ai_studio_url="http://ai-studio.test",
        webhook_secret=SECRET,
        db_pool_timeout_s=0.5,
    )


Make = Callable[..., Made]


@pytest.fixture
def make_hub(settings: Settings, stubs: Transports) -> Iterator[Make]:
    """Make a hub with other settings or transports than the usual."""
    made: list[Made] = []

    def make(transports: Transports | None = None, **changes: object) -> Made:
        made.append(Made(replace(settings, **changes), transports or stubs))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def hub(make_hub: Make) -> Made:
    return make_hub()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL in a container of its own, from the image that the stack uses."""
    client = docker.from_env(timeout=30)
    tags = [
        tag
        for image in client.images.list("alertdrill/postgres")
        for tag in image.tags
        if tag.startswith("alertdrill/postgres:")
    ]
    assert tags, "the image alertdrill/postgres is not built: `make gate` or `make test` builds it"
    password = secrets.token_urlsafe(16)
    container = client.containers.run(
        tags[0],
        detach=True,
        auto_remove=True,
        ports={"5432/tcp": ("127.0.0.1", 0)},
        environment={
            "POSTGRES_USER": "hub",
            "POSTGRES_PASSWORD": password,
            "POSTGRES_DB": "hub",
        },
        tmpfs={"/var/lib/postgresql/data": "size=256m"},
        labels={"alertdrill.tests": "hub"},
    )
    try:
        container.reload()
        port = container.attrs["NetworkSettings"]["Ports"]["5432/tcp"][0]["HostPort"]
        url = f"postgresql://hub:{password}@127.0.0.1:{port}/hub"
        until(lambda: _answers(url), timeout_s=30)
        yield Postgres(url, container)
    finally:
        container.remove(force=True)
        client.close()


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def whole_hub(make_hub: Make, postgres: Postgres) -> Made:
    """A hub with PostgreSQL, and without Redis."""
    hub = make_hub(database_url=postgres.url, db_pool_timeout_s=10.0)
    with psycopg.connect(postgres.plain_url, autocommit=True) as connection:
        # Its connections may take longer than it waits for one, on a busy machine.
        until(lambda: hub.client.get("/api/v1/items").status_code == 200, timeout_s=20)
        connection.execute("TRUNCATE items, conflicts, sync_runs, webhook_events")
    return hub
