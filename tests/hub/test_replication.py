"""What the hub makes of the positions that a primary tells; the real thing is in tests/faults."""

from __future__ import annotations

import math
import time

from hub.replication import FRESH_S, MOST_KEPT, Replication, Unreplayed
from tests.hub.conftest import Made, Make, closed_port


def told(*positions: tuple[float, int, int | None]) -> Unreplayed:
    unreplayed = Unreplayed()
    for now_s, written, replayed in positions:
        unreplayed.add(now_s, written, replayed)
    return unreplayed


def test_a_replica_that_has_everything_is_not_behind_however_long_nothing_is_written() -> None:
    assert told((0, 100, 100), (1, 200, 200), (2, 200, 200)).lag_s(3600) == 0


def test_a_write_is_as_late_as_it_is_old_until_it_is_replayed() -> None:
    paused = told((0, 100, 100), (1, 200, 100), (2, 200, 100), (3, 300, 100))
    assert paused.lag_s(5) == 4
    paused.add(6, 300, 200)
    assert paused.lag_s(6) == 3, "since the second write"
    paused.add(7, 300, 300)
    assert paused.lag_s(7) == 0


def test_what_is_written_after_a_replica_is_gone_is_what_it_lacks() -> None:
    gone = told((0, 100, 100), (1, 100, None))
    assert gone.lag_s(1) == 0
    gone.add(2, 200, None)
    assert gone.lag_s(10) == 8


def test_without_any_replica_nothing_is_known() -> None:
    assert math.isnan(told((0, 100, None), (1, 200, None)).lag_s(2))


def test_another_database_in_the_place_of_the_first_begins_anew() -> None:
    assert math.isnan(told((0, 500, 400), (1, 100, None)).lag_s(2))


def test_a_lag_of_days_takes_no_more_memory_than_one_of_minutes() -> None:
    unreplayed = told((0, 1, 1))
    for second in range(1, 20 * MOST_KEPT):
        unreplayed.add(second, 1 + second, 1)
    assert len(unreplayed._written) <= MOST_KEPT
    assert unreplayed.lag_s(20 * MOST_KEPT) == 20 * MOST_KEPT - 1


def test_a_primary_that_does_not_answer_is_not_known(make_hub: Make, hub: Made) -> None:
    assert math.isnan(hub.value("db_replication_lag_seconds")), "no address"
    deaf = make_hub(replication_url=f"postgresql://hub@127.0.0.1:{closed_port()}/hub")
    assert math.isnan(deaf.value("db_replication_lag_seconds"))


def test_an_old_answer_says_nothing_about_now() -> None:
    replication = Replication(f"postgresql://hub@127.0.0.1:{closed_port()}/hub")
    try:
        replication._known = (time.monotonic() - FRESH_S / 2, 7.0)
        assert replication.lag_s() == 7
        replication._known = (time.monotonic() - FRESH_S, 7.0)
        assert math.isnan(replication.lag_s())
    finally:
        replication.close()
