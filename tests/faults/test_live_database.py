"""Faults inside a real PostgreSQL: strangers that hold its slots, its locks and its time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from alertdrill.errors import DeadlineExceeded, FaultError, StackError, UsageError
from alertdrill.faults.container import Kill
from alertdrill.faults.contract import Fault
from alertdrill.faults.database import HeldConnections, LongLock, SlowQuery
from alertdrill.faults.disk import DiskFull
from alertdrill.faults.replication import ReplayPaused
from alertdrill.faults.world import leftovers
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually
from chaos.postgresql import NEXT_SEGMENT
from tests.faults.lifecycle import (
    bites_only_while_injected,
    seen_effective,
    seen_harmless,
    seen_healed,
)

TABLE = 'odd "one"'
QUOTED = '"odd ""one"""'

pytestmark = pytest.mark.docker


def sql(stack: Stack, statement: str, *, app: str = "test") -> tuple[int, str]:
    argv = ["env", f"PGAPPNAME={app}", "psql", "-XAtq", "-U", "hub", "-d", "hub", "-c", statement]
    code, output = stack.exec("postgres", argv)
    return code, output.strip()


@pytest.fixture(scope="module", autouse=True)
def _table(stack: Stack) -> Iterator[None]:
    assert sql(stack, f"CREATE TABLE {QUOTED} (n int); INSERT INTO {QUOTED} VALUES (1)")[0] == 0
    yield
    assert sql(stack, f"DROP TABLE {QUOTED}")[0] == 0


@pytest.fixture(autouse=True)
def _whole(stack: Stack) -> Iterator[None]:
    assert leftovers(stack) == []
    yield
    assert leftovers(stack) == []
    code, processes = stack.exec("postgres", ["sh", "-c", "cat /proc/[0-9]*/comm | sort | uniq"])
    assert code == 0
    assert "psql" not in processes.split(), "a client is left"


FAULTS: list[Fault] = [
    HeldConnections(10),
    HeldConnections(),
    LongLock(TABLE),
    SlowQuery(2),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f"{f.name}-{vars(f)}")
def test_a_fault_bites_only_while_it_is_injected_and_healing_ends_no_other_session(
    fault: Fault, stack: Stack
) -> None:
    since = time.time()
    bites_only_while_injected(fault, stack)
    assert crashes(stack, since) == []


def crashes(stack: Stack, since: float) -> list[str]:
    """What PostgreSQL takes for one: it ends all sessions, and recovers."""
    lines = stack.log("postgres", since).decode().splitlines()
    return [line for line in lines if "was terminated by signal" in line]


def test_held_connections_are_as_many_as_asked_and_leave_the_rest(stack: Stack) -> None:
    fault = HeldConnections(10)
    fault.inject(stack)
    try:
        seen_effective(fault, stack)
        held = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
        assert sql(stack, held) == (0, "10")
        assert not HeldConnections().is_effective(stack).holds
        assert leftovers(stack) == [f"postgres has 10 sessions of {fault.application_name}"]
    finally:
        fault.heal(stack)
    assert sql(stack, held) == (0, "0")


def test_when_no_slot_is_left_nobody_gets_in_and_healing_needs_none(stack: Stack) -> None:
    fault = HeldConnections()
    fault.inject(stack)
    try:
        seen_effective(fault, stack)
        code, told = sql(stack, "SELECT 1")
        assert code != 0
        assert "too many clients" in told
        [left] = leftovers(stack)
        assert "postgres can't be asked for its faults" in left
    finally:
        fault.heal(stack)
    assert sql(stack, "SELECT 1") == (0, "1")


def test_a_slot_that_somebody_was_just_leaving_is_taken_too(stack: Stack) -> None:
    leaves = "psql -XAtq -U hub -d hub -c 'SELECT pg_sleep(2.5)' &"
    others = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(2.5)'"

    def three_others_are_there() -> bool:
        """A busy machine may see them only when they have left."""
        stack.container("postgres").exec_run(["sh", "-c", f"{3 * leaves} wait"], detach=True)
        with contextlib.suppress(DeadlineExceeded):
            eventually(lambda: sql(stack, others) == (0, "3"), timeout_s=5, what="three others")
            return True
        return False

    eventually(three_others_are_there, timeout_s=30, what="three others")
    fault = HeldConnections()
    fault.inject(stack)
    try:
        seen_effective(fault, stack)
        time.sleep(3)  # longer than they stay
        seen_effective(fault, stack)
    finally:
        fault.heal(stack)


def test_a_locked_table_is_neither_read_nor_written_and_others_are(stack: Stack) -> None:
    fault = LongLock(TABLE)
    fault.inject(stack)
    try:
        seen_effective(fault, stack)
        for statement in (f"SELECT * FROM {QUOTED}", f"INSERT INTO {QUOTED} VALUES (2)"):
            code, told = sql(stack, f"SET lock_timeout = 100; {statement}")
            assert code != 0
            assert "lock timeout" in told
        assert sql(stack, "SELECT count(*) FROM pg_class LIMIT 1")[0] == 0
    finally:
        fault.heal(stack)
    assert sql(stack, f"SELECT * FROM {QUOTED}") == (0, "1")


def test_somebody_elses_lock_is_not_taken_for_the_faults(stack: Stack) -> None:
    other = LongLock(f"public.{TABLE}")
    other.inject(stack)
    try:
        seen_effective(other, stack)
        seen = LongLock(TABLE).is_effective(stack)
        assert (seen.holds, "with 0 sessions of the fault" in seen.seen) == (False, True)
        LongLock(TABLE).heal(stack)
        seen_effective(other, stack)  # healing ends one fault's sessions and no others
    finally:
        other.heal(stack)


def test_slow_queries_run_until_they_are_ended(stack: Stack) -> None:
    fault = SlowQuery(2)
    fault.inject(stack)
    try:
        seen_effective(fault, stack)
        assert not SlowQuery(3).is_effective(stack).holds
    finally:
        SlowQuery().heal(stack)  # as another process would, which knows only the name
    seen_harmless(fault, stack)


def test_sessions_do_not_outlive_their_server(stack: Stack) -> None:
    fault = HeldConnections(3)
    fault.inject(stack)
    seen_effective(fault, stack)
    Kill("postgres").inject(stack)
    fault.heal(stack)
    Kill("postgres").heal(stack)
    stack.wait_ready("postgres")
    seen_healed(fault, stack)


def test_a_server_without_room_for_its_wal_ends_and_has_every_row_that_it_acknowledged(
    stack: Stack,
) -> None:
    fault = DiskFull("postgres", "/wal")
    bites_only_while_injected(fault, stack)
    row = f"INSERT INTO {QUOTED} VALUES (7); SELECT pg_switch_wal()"
    acknowledged = 0
    fault.inject(stack)
    try:
        # The segment that was begun has room, and so may the next one have.
        with contextlib.suppress(StackError):  # in a server that has just ended nothing runs
            while sql(stack, row)[0] == 0:
                acknowledged += 1
                assert acknowledged < 5
        eventually(
            lambda: not stack.container("postgres").attrs["State"]["Running"],
            timeout_s=10,
            what="the server to end",
        )
        seen_effective(fault, stack)
        assert not fault.is_healed(stack).holds
    finally:
        fault.heal(stack)
    seen_healed(fault, stack)
    code, kept = sql(stack, f"SELECT count(*) FROM {QUOTED} WHERE n = 7")
    assert code == 0
    assert int(kept) >= acknowledged
    assert sql(stack, f"DELETE FROM {QUOTED} WHERE n = 7")[0] == 0
    seen_healed(ReplayPaused("postgres-replica"), stack)


def test_a_server_that_has_recovered_needs_room_at_once_as_well(stack: Stack) -> None:
    Kill("postgres").inject(stack)
    Kill("postgres").heal(stack)
    stack.wait_ready("postgres")
    fault = DiskFull("postgres", "/wal", spends=NEXT_SEGMENT)
    fault.inject(stack)

    def ended() -> bool:
        with contextlib.suppress(StackError):
            sql(stack, f"INSERT INTO {QUOTED} VALUES (8)")
        return not stack.container("postgres").attrs["State"]["Running"]

    try:
        eventually(ended, timeout_s=10, what="the server to end")
    finally:
        fault.heal(stack)
    seen_healed(fault, stack)
    assert sql(stack, f"DELETE FROM {QUOTED} WHERE n = 8")[0] == 0
    seen_healed(ReplayPaused("postgres-replica"), stack)


def test_a_table_that_is_not_there_can_not_be_locked(stack: Stack) -> None:
    with pytest.raises(FaultError, match="postgres has no table nowhere"):
        LongLock("nowhere").inject(stack)
    with pytest.raises(FaultError, match="has no table x'; DROP"):
        LongLock("x'; DROP TABLE y; --").inject(stack)


def test_numbers_of_sessions_have_bounds() -> None:
    with pytest.raises(UsageError, match="from 1 to 1000"):
        HeldConnections(0)
    with pytest.raises(UsageError, match="from 1 to 1000"):
        SlowQuery(1001)
