"""The schedule: even, absolute, honest about what it missed."""

from __future__ import annotations

import pytest

from alertdrill.load.pacing import SlotClock, users_for


def test_slots_are_evenly_spaced_whoever_takes_them() -> None:
    clock = SlotClock(rate=4.0)
    assert [clock.reserve(100.0) for _ in range(4)] == [100.0, 100.25, 100.5, 100.75]
    assert clock.missed == 0


def test_small_delays_do_not_shift_the_schedule() -> None:
    clock = SlotClock(rate=10.0)
    begun = 50.0
    for number in range(100):
        # Each one comes 30 ms late, which is less than a period.
        clock.reserve(begun + number * 0.1 + 0.03)
    assert clock.reserve(begun + 10.0) == pytest.approx(begun + 0.03 + 10.0)
    assert clock.missed == 0


def test_slots_in_which_everyone_waited_are_missed_and_not_made_up_for() -> None:
    clock = SlotClock(rate=2.0)
    assert clock.reserve(0.0) == 0.0
    # Nobody was free for 10 s: then everybody is, at once.
    resumed = [clock.reserve(10.2) for _ in range(5)]
    assert clock.missed == 19
    assert resumed[0] == 10.2
    assert resumed[1:] == pytest.approx([10.5, 11.0, 11.5, 12.0])


@pytest.mark.parametrize(
    ("rate", "hold_s", "users"), [(6.0, 8.0, 48), (0.1, 8.0, 1), (0.01, 1.0, 1), (2.5, 1.0, 3)]
)
def test_there_are_users_enough_to_hold_the_rate(rate: float, hold_s: float, users: int) -> None:
    assert users_for(rate, hold_s) == users
