"""Promises looked up in a real PostgreSQL, behind a real hub: each defect beside its clean twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import psycopg
import pytest

from alertdrill.stack.execution import run_in
from fixtures.keys import ItemWrite, content, headers_of, new_sync
from fixtures.promises import applied
from tests.hub.conftest import Made, Postgres

SYNC = "/api/v1/sync/bidirectional"
ITEMS = "/api/v1/items"
KEY = "load/it's one"
CREATED, ONCE, TWICE = (ItemWrite(KEY, version).promise for version in range(3))

pytestmark = pytest.mark.docker


class Stack:
    """Stands for the stack: a command runs in the container of PostgreSQL."""

    def __init__(self, postgres: Postgres) -> None:
        self._container = postgres.container

    def exec(self, _component: str, argv: list[str]) -> tuple[int, str]:
        return run_in(self._container, argv, timeout_s=20)


@pytest.fixture
def times(postgres: Postgres) -> Callable[..., list[int]]:
    def times(*keys: str) -> list[int]:
        return list(applied(cast(Any, Stack(postgres)), keys).values())

    return times


@pytest.fixture
def item(whole_hub: Made) -> str:
    """Where the item is that was made and updated twice."""
    made = whole_hub.client.post(ITEMS, json={"key": KEY, **content(KEY, 0)})
    for version in (1, 2):
        said = whole_hub.client.put(made.headers["Location"], json=content(KEY, version))
        assert said.status_code == 200
    return made.headers["Location"]


def test_a_sync_that_is_sent_again_runs_once(
    whole_hub: Made, times: Callable[..., list[int]]
) -> None:
    key, never = new_sync(), new_sync()
    answers = [whole_hub.client.post(SYNC, headers=headers_of(key)).get_json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert times(key, never) == [1, 0]


def test_a_sync_that_runs_again_is_counted_though_its_key_was_dropped(
    whole_hub: Made, times: Callable[..., list[int]]
) -> None:
    key = new_sync()
    headers = headers_of(key)
    whole_hub.client.post(SYNC, headers=headers)
    del headers["Idempotency-Key"]
    whole_hub.client.post(SYNC, headers=headers)
    assert times(key) == [2]


@pytest.mark.usefixtures("item")
def test_updates_are_kept(times: Callable[..., list[int]]) -> None:
    assert times(CREATED, ONCE, TWICE) == [1, 1, 1]


@pytest.mark.usefixtures("item")
@pytest.mark.parametrize(
    ("meddling", "left"),
    [
        (
            "UPDATE items SET title = replace(title, '2', '1'), body = replace(body, '2', '1'), "
            "state = 'closed'",
            1,
        ),
        ("UPDATE items SET body = ''", -1),
        ("DELETE FROM items", -1),
    ],
    ids=["an update is undone", "a field is emptied", "the item is gone"],
)
def test_writes_that_are_lost_are_not_counted(
    meddling: str, left: int, postgres: Postgres, times: Callable[..., list[int]]
) -> None:
    with psycopg.connect(postgres.plain_url, autocommit=True) as connection:
        connection.execute(meddling.encode())
    assert times(CREATED, ONCE, TWICE) == [int(version <= left) for version in range(3)]


def test_writes_of_an_item_that_was_deleted_are_kept(
    whole_hub: Made, item: str, times: Callable[..., list[int]]
) -> None:
    deletion = ItemWrite(KEY, None).promise
    assert times(CREATED, TWICE, deletion) == [1, 1, 0]
    assert whole_hub.client.delete(item).status_code == 204
    assert times(CREATED, TWICE, deletion) == [1, 1, 1]
