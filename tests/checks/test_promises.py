"""Promises: writes that are lost or doubled are found, and uncertain ones may be either."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from alertdrill.checks import promises as module
from alertdrill.checks.contract import View
from alertdrill.checks.promises import Promises
from alertdrill.verdict import Reason
from fixtures import promises as hub
from fixtures.keys import deletion_of


class Database:
    """Stands for the project's function: answers one table after the other, the last for ever."""

    def __init__(self, *tables: dict[str, int]) -> None:
        self._tables = list(tables)

    def __call__(self, _stack: object, _keys: Collection[str]) -> Mapping[str, int]:
        return self._tables.pop(0) if len(self._tables) > 1 else self._tables[0]


def asked(*tables: dict[str, int]) -> tuple[list[Reason], dict[str, Any]]:
    """Two acknowledged writes, a and b, and an uncertain one, u."""
    window = SimpleNamespace(acknowledged=("a", "b"), uncertain=("u",))
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
    assert (document["acknowledged"], document["uncertain"]) == (2, 1)


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

    def __init__(self, *rows: str, code: int = 0) -> None:
        self._rows, self._code = rows, code
        self.statements: list[str] = []

    def exec(self, _component: str, argv: list[str]) -> tuple[int, str]:
        self.statements.append(argv[-1])
        return self._code, "\n".join(self._rows)


def counted(postgres: Postgres, *keys: str) -> Mapping[str, int]:
    return hub.applied(cast(Any, postgres), keys)


def test_syncs_and_items_are_counted_by_their_keys() -> None:
    postgres = Postgres("1|sync", "2|it|em")
    assert counted(postgres, "sync", "it|em", "o'clock") == {"sync": 1, "it|em": 2}
    assert "'o''clock'" in postgres.statements[0]


def test_an_item_that_was_deleted_had_been_made() -> None:
    assert counted(Postgres(), "x", deletion_of("x")) == {"x": 1, deletion_of("x"): 1}


def test_an_item_that_outlives_its_deletion_is_a_deletion_lost() -> None:
    assert counted(Postgres("1|x"), "x", deletion_of("x")) == {"x": 1, deletion_of("x"): 0}


def test_many_keys_are_asked_in_parts() -> None:
    postgres = Postgres()
    counted(postgres, *(str(n) for n in range(hub.KEYS_AT_ONCE + 1)))
    assert len(postgres.statements) == 2


def test_a_database_that_cant_tell_is_no_proof() -> None:
    with pytest.raises(hub.SignalError, match="can't tell"):
        counted(Postgres("FATAL: no", code=2), "x")
