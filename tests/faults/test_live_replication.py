"""Replication lag against a real replica: what isn't replayed, and what the hub says of it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from alertdrill.faults.container import Kill
from alertdrill.faults.replication import ReplayPaused
from alertdrill.faults.world import leftovers
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually
from hub.replication import Replication
from tests.faults.lifecycle import bites_only_while_injected, seen_effective, seen_healed

REPLICA = "postgres-replica"

pytestmark = pytest.mark.docker


@pytest.fixture(autouse=True)
def _whole(stack: Stack) -> Iterator[None]:
    assert leftovers(stack) == []
    yield
    assert leftovers(stack) == []


@pytest.fixture
def url(stack: Stack) -> str:
    host, port = stack.address("postgres", "sql")
    return f"postgresql://hub:{stack.secrets['postgres_password']}@{host}:{port}/hub"


def test_it_bites_only_while_it_is_injected(stack: Stack) -> None:
    bites_only_while_injected(ReplayPaused(REPLICA), stack)


def test_the_hub_says_the_age_of_what_is_not_replayed(stack: Stack, url: str) -> None:
    fault = ReplayPaused(REPLICA)
    before = fault.exposure(stack).count
    replication = Replication(url)
    try:
        eventually(lambda: replication.lag_s() == 0, timeout_s=10, what="a lag of nothing")
        fault.inject(stack)
        eventually(
            lambda: leftovers(stack) == [f"{REPLICA} doesn't replay: it is paused"],
            timeout_s=15,
            what="the replica to pause",
        )
        # A session counts what it wrote when it ends, at the latest.
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            connection.execute("CREATE TABLE written AS SELECT 1 AS n")
            connection.execute("DROP TABLE written")
        eventually(
            lambda: fault.exposure(stack).count > before, timeout_s=15, what="rows to be counted"
        )
        eventually(lambda: replication.lag_s() > 2, timeout_s=10, what="a lag of 2 s")
        fault.heal(stack)
        eventually(lambda: replication.lag_s() == 0, timeout_s=10, what="the lag to be gone")
    finally:
        replication.close()
        fault.heal(stack)


def test_a_replica_that_is_gone_or_just_back_is_not_one_whose_replay_is_paused(
    stack: Stack,
) -> None:
    fault = ReplayPaused(REPLICA)
    fault.inject(stack)
    seen_effective(fault, stack)
    Kill(REPLICA).inject(stack)
    assert not fault.is_effective(stack).holds
    fault.heal(stack)
    Kill(REPLICA).heal(stack)
    stack.wait_ready(REPLICA)
    seen_healed(fault, stack)


def test_a_replica_follows_a_primary_that_was_killed(stack: Stack) -> None:
    Kill("postgres").inject(stack)
    Kill("postgres").heal(stack)
    stack.wait_ready("postgres")
    seen_healed(ReplayPaused(REPLICA), stack)
