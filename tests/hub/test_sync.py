"""The sync and the items, against a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from hub.upstreams.data import CONFLICTING
from tests.hub.conftest import Made, Make, Postgres, until

SYNC = "/api/v1/sync/bidirectional"
ITEMS = "/api/v1/items"
GITHUB_TO_AI = {"source": "github", "target": "ai-studio"}

pytestmark = pytest.mark.docker


def sync(hub: Made, **body: object) -> dict[str, Any]:
    response = hub.app.test_client().post(SYNC, json=body)
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.get_json()
    return document


def test_the_first_sync_writes_all_and_the_second_nothing(whole_hub: Made) -> None:
    first, second = sync(whole_hub), sync(whole_hub)
    assert first["items"] == {"read": 100, "changed": 80}
    assert second["items"] == {"read": 100, "changed": 0}
    assert first["conflicts"] == {"detected": CONFLICTING, "resolved": CONFLICTING}
    status = whole_hub.client.get("/api/v1/sync/status").get_json()
    assert status["last"]["id"] == status["last_success"]["id"] == second["id"]
    assert status["open_conflicts"] == 0


def test_a_key_is_one_sync(whole_hub: Made) -> None:
    first = sync(whole_hub, idempotency_key="k")
    again = whole_hub.client.post(SYNC, headers={"Idempotency-Key": "k"})
    assert again.get_json() == first
    assert again.headers["Idempotent-Replayed"] == "true"
    other = whole_hub.client.post(SYNC, json={"idempotency_key": "k", "policy": "manual"})
    assert other.status_code == 422
    assert whole_hub.value("sync_operations_total", **GITHUB_TO_AI, status="success") == 1


def test_concurrent_syncs_neither_deadlock_nor_count_a_key_twice(whole_hub: Made) -> None:
    bodies = [{"idempotency_key": "race"}] * 12 + [
        {"policy": policy} for policy in ("manual", "github_wins", "ai_studio_wins") * 4
    ]
    with ThreadPoolExecutor(24) as pool:
        clients = [whole_hub.app.test_client() for _ in range(24)]

        def all_are_served() -> bool:
            answers = pool.map(lambda client: client.get(ITEMS), clients)
            return {answer.status_code for answer in answers} == {200}

        until(all_are_served, timeout_s=20)  # the pool is open
        documents = list(pool.map(lambda body: sync(whole_hub, **body), bodies))
    assert len({document["id"] for document in documents[:12]}) == 1
    assert whole_hub.value("sync_operations_total", **GITHUB_TO_AI, status="success") == 13
    history = whole_hub.client.get("/api/v1/sync/history?per_page=100").get_json()
    assert (len(history["runs"]), history["has_more"]) == (13, False)


def test_open_conflicts_wait_for_a_decision_and_it_stays(whole_hub: Made) -> None:
    assert sync(whole_hub, policy="manual")["conflicts"]["resolved"] == 0
    status = whole_hub.client.get("/api/v1/sync/status").get_json()
    assert status["open_conflicts"] == CONFLICTING
    resolved = whole_hub.client.post(
        "/api/v1/sync/resolve-conflicts", json={"policy": "github_wins"}
    ).get_json()
    assert resolved["resolved"] == CONFLICTING
    sync(whole_hub, policy="manual")
    assert whole_hub.client.get("/api/v1/sync/status").get_json()["open_conflicts"] == 0
    labels = {"policy": "github_wins"}
    assert whole_hub.value("sync_conflicts_resolved_total", **labels) == CONFLICTING


@pytest.mark.parametrize(
    ("policy", "winner"),
    [("ai_studio_wins", "ai-studio"), ("github_wins", "github"), ("manual", None)],
)
def test_who_wins_is_counted(whole_hub: Made, policy: str, winner: str | None) -> None:
    sync(whole_hub, policy=policy)
    won = {
        side: whole_hub.value("sync_conflicts_won_total", winner=side)
        for side in ("github", "ai-studio")
    }
    assert won == {side: CONFLICTING if side == winner else 0 for side in won}


def test_items_from_birth_to_death(whole_hub: Made) -> None:
    client = whole_hub.client
    created = client.post(ITEMS, json={"title": "a", "key": "k"})
    assert created.status_code == 201
    path = created.headers["Location"]
    assert client.post(ITEMS, json={"title": "b", "key": "k"}).status_code == 409
    assert client.put(path, json={"title": "c", "state": "closed"}).get_json()["title"] == "c"
    assert client.get(path).get_json()["state"] == "closed"
    assert [item["key"] for item in client.get(ITEMS).get_json()["items"]] == ["k"]
    assert client.delete(path).status_code == 204
    assert [client.get(path).status_code, client.delete(path).status_code] == [404, 404]
    assert client.put(path, json={"title": "c"}).status_code == 404


def test_statements_have_spans(whole_hub: Made) -> None:
    whole_hub.spans.clear()
    sync(whole_hub)
    spans = whole_hub.spans.get_finished_spans()
    (write,) = [span for span in spans if span.name == "db.write_sync"]
    statements = [
        span
        for span in spans
        if span.parent is not None and span.parent.span_id == write.context.span_id
    ]
    assert {span.name.split()[0] for span in statements} >= {"SELECT", "INSERT"}
    assert all((span.attributes or {}).get("db.system") == "postgresql" for span in statements)


def served(hub: Made) -> bool:
    """What a busy machine delays by more than a second is a statement that takes too long, too."""
    return bool(hub.client.get(ITEMS).status_code == 200)


@pytest.fixture
def admin(postgres: Postgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.plain_url, autocommit=True) as connection:
        yield connection


def test_connections_that_died_while_idle_are_not_used(
    whole_hub: Made, admin: psycopg.Connection
) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: sync(whole_hub), range(4)))
    admin.execute(
        "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity"
        " WHERE application_name = 'hub'"
    )
    assert [whole_hub.client.get(ITEMS).status_code for _ in range(3)] == [200, 200, 200]


def test_a_full_pool_is_a_503_in_time_and_shows(
    make_hub: Make, postgres: Postgres, admin: psycopg.Connection
) -> None:
    hub = make_hub(database_url=postgres.url, db_pool_size=2, db_pool_timeout_s=0.3)
    until(lambda: served(hub))
    until(lambda: hub.value("db_connection_pool_in_use") == 0)
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        stack.enter_context(admin.transaction())
        admin.execute("LOCK TABLE items")
        stuck = [pool.submit(hub.app.test_client().get, ITEMS) for _ in range(2)]
        until(lambda: hub.value("db_connection_pool_in_use") == 2)
        assert hub.client.get(ITEMS).status_code == 503
        health = hub.client.get("/health").get_json()
        assert health["checks"]["database"] is False
        assert hub.value("db_connection_pool_in_use") == hub.value("db_connection_pool_limit") == 2
        stack.close()
        assert [each.result(timeout=5).status_code for each in stuck] == [200, 200]
    until(lambda: hub.client.get("/health").get_json()["checks"]["database"] is True)


def test_a_statement_that_takes_too_long_gives_its_connection_back(
    make_hub: Make, postgres: Postgres, admin: psycopg.Connection
) -> None:
    hub = make_hub(database_url=postgres.url, db_hold_limit_s=1.0)
    until(lambda: served(hub))
    with admin.transaction():
        admin.execute("LOCK TABLE items")
        assert hub.client.get(ITEMS).status_code == 503
        until(lambda: hub.value("db_connection_pool_in_use") == 0)
    until(lambda: served(hub))


def test_a_server_that_falls_silent_does_not_keep_the_pool(
    make_hub: Make, postgres: Postgres
) -> None:
    hub = make_hub(database_url=postgres.url, db_hold_limit_s=1.0)
    until(lambda: served(hub))
    postgres.container.pause()
    try:
        assert hub.client.get(ITEMS).status_code == 503
        until(lambda: hub.value("db_connection_pool_in_use") == 0)
    finally:
        postgres.container.unpause()
    until(lambda: served(hub))
