"""Promises: writes that are lost or doubled are found, and uncertain ones may be either."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from alertdrill.checks import promises as module
from alertdrill.checks.contract import View
from alertdrill.checks.promises import Promises
from alertdrill.verdict import Reason
from fixtures import promises as hub
from fixtures.keys import ItemWrite, content, new_sync


class Database:
    """Stands for the project's function: answers one table after the other, the last for ever."""

    def __init__(self, *tables: dict[str, int]) -> None:
        self._tables = list(tables)

    def __call__(self, _stack: object, _keys: Collection[str]) -> Mapping[str, int]:
        return self._tables.pop(0) if len(self._tables) > 1 else self._tables[0]


def asked(*tables: dict[str, int]) -> tuple[list[Reason], dict[str, Any]]:
    """Two acknowledged writes, a and b, b at the second attempt, and an uncertain one, u."""
    window = SimpleNamespace(acknowledged=("a", "b"), uncertain=("u",), repeated=("b",))
    load = SimpleNamespace(since=lambda _: window)
    view = SimpleNamespace(load=load, begun=0.0, bench=SimpleNamespace(stack=None))
    check = Promises(Database(*tables))
    found = check.after(cast(View, view))
    return [finding.reason for finding in found], check.document()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXPLAINED_S", 0.6)


@pytest.mark.parametrize("uncertain", [0, 1])
def test_writes_that_are_there_once_are_kept(uncertain: int) -> None:
    reasons, document = asked({"a": 1, "b": 1, "u": uncertain})
    assert reasons == []
    counts = ("acknowledged", "uncertain", "repeated")
    assert [document[count] for count in counts] == [2, 1, 1]


@pytest.mark.parametrize(
    ("table", "reasons"),
    [
        ({"a": 1}, [Reason.WRITE_LOST]),
        ({"a": 1, "b": 0}, [Reason.WRITE_LOST]),
        ({"a": 2, "b": 1}, [Reason.WRITE_TWICE]),
        ({"a": 1, "b": 1, "u": 2}, [Reason.WRITE_TWICE]),
        ({"a": 2}, [Reason.WRITE_LOST, Reason.WRITE_TWICE]),
    ],
)
def test_writes_that_are_not_there_once_are_found(
    table: dict[str, int], reasons: list[Reason]
) -> None:
    assert asked(table)[0] == reasons


def test_a_write_on_its_way_is_awaited() -> None:
    assert asked({"a": 1}, {"a": 1, "b": 1})[0] == []


def test_a_loss_that_another_look_explains_gives_way_to_no_other() -> None:
    """Each look comes upon another deletion on its way."""
    assert asked({"a": 1}, {"b": 1})[0] == []


def test_a_loss_that_stays_is_told_without_those_that_came_later() -> None:
    reasons, document = asked({"b": 1}, {}, {})
    assert (reasons, document["lost"]) == ([Reason.WRITE_LOST], ["a"])


# --- what the hub's function makes of PostgreSQL's answer ---------------------------------------


class Postgres:
    """Stands for the stack: psql prints these rows."""

    def __init__(self, *rows: list[str], code: int = 0) -> None:
        self._rows, self._code = rows, code
        self.statements: list[str] = []

    def exec(self, _component: str, argv: list[str]) -> tuple[int, str]:
        self.statements.append(argv[-1])
        return self._code, "\n".join(map(json.dumps, self._rows))


ITEM = "it|em, o'clock"
CREATED, ONCE, TWICE = (ItemWrite(ITEM, version).promise for version in range(3))
DELETED = ItemWrite(ITEM, None).promise


def item(version: int, **changes: str) -> list[str]:
    """Its row, as of ``version`` but for the ``changes``."""
    return [ITEM, *(content(ITEM, version) | changes).values()]


def counted(postgres: Postgres, *keys: str) -> Mapping[str, int]:
    return hub.applied(cast(Any, postgres), keys)


def times(rows: list[list[str]], *keys: str) -> list[int]:
    return list(counted(Postgres(*rows), *keys).values())


@pytest.mark.parametrize("write", [ItemWrite("a:1:b\n", n) for n in (0, 12, None)])
def test_a_write_of_an_item_is_what_its_promise_says(write: ItemWrite) -> None:
    assert ItemWrite.of(write.promise) == write


def test_a_sync_is_no_write_of_an_item() -> None:
    assert ItemWrite.of(new_sync()) is None


def test_versions_differ_in_every_field() -> None:
    for earlier, later in pairwise(content(ITEM, n) for n in range(12)):
        assert all(earlier[name] != later[name] for name in earlier)


@pytest.mark.parametrize("runs", [0, 1, 2])
def test_a_sync_counts_as_often_as_it_ran(runs: int) -> None:
    assert times([["sync"]] * runs, "sync") == [runs]


def test_names_are_quoted() -> None:
    postgres = Postgres()
    counted(postgres, CREATED)
    assert "'it|em, o''clock'" in postgres.statements[0]


@pytest.mark.parametrize(("version", "kept"), [(0, [1, 0, 0]), (1, [1, 1, 0]), (2, [1, 1, 1])])
def test_an_item_keeps_its_writes_up_to_the_one_that_it_says(version: int, kept: list[int]) -> None:
    assert times([item(version)], CREATED, ONCE, TWICE) == kept


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Version 1"},
        {"title": "Item"},
        {"body": "Of another item."},
        {"state": "closed"},
    ],
    ids=lambda changes: next(iter(changes.values())),
)
def test_an_item_that_says_what_nobody_wrote_keeps_none(changes: dict[str, str]) -> None:
    assert times([item(2, **changes)], CREATED, ONCE, TWICE) == [0, 0, 0]


def test_an_item_that_stands_twice_was_made_twice() -> None:
    assert times([item(0), item(1)], CREATED, ONCE) == [2, 1]


def test_an_item_that_was_deleted_had_been_written() -> None:
    assert times([], CREATED, ONCE, DELETED) == [1, 1, 1]


def test_an_item_that_is_gone_though_nobody_deleted_it_is_lost() -> None:
    assert times([], CREATED, ONCE) == [0, 0]


def test_an_item_that_outlives_its_deletion_is_a_deletion_lost() -> None:
    assert times([item(1)], CREATED, ONCE, DELETED) == [1, 1, 0]


def test_many_keys_are_asked_in_parts() -> None:
    postgres = Postgres()
    counted(postgres, *(str(n) for n in range(hub.KEYS_AT_ONCE + 1)))
    assert len(postgres.statements) == 2


def test_a_database_that_cant_tell_is_no_proof() -> None:
    with pytest.raises(hub.SignalError, match="can't tell"):
        counted(Postgres(code=2), "x")
