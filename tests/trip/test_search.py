"""The search finds a planted trip point, says what it can't, and ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertdrill.errors import FaultError, UsageError
from alertdrill.trip.axis import duration_axis
from alertdrill.trip.search import Probe, Reading, Unmeasured, search
from alertdrill.verdict import Reason
from tests.trip.planted import SHARES, Planted, above, latencies

MANY = 50


@given(st.floats(min_value=0.02, max_value=0.98))
def test_the_planted_share_lies_between_quiet_and_firing(limit: float) -> None:
    found = search(SHARES, above(limit), most_probes=MANY)
    assert found.quiet_up_to is not None
    assert found.fires_from is not None
    assert found.quiet_up_to <= limit < found.fires_from
    assert found.fires_from - found.quiet_up_to <= 0.01 + 1e-9
    assert len(found.readings) <= 9


@given(st.floats(min_value=11, max_value=1990))
def test_the_planted_latency_is_found_by_halving_its_logarithm(limit: float) -> None:
    found = search(latencies(), above(limit), most_probes=MANY)
    assert found.quiet_up_to is None or found.quiet_up_to <= limit
    assert found.fires_from is not None
    assert found.fires_from > limit
    below = 10.0 if found.quiet_up_to is None else found.quiet_up_to
    assert found.fires_from / below <= 1.1 + 1e-9 or found.fires_from - below <= 1
    assert len(found.readings) <= 9
    assert all(dose == round(dose) for dose in (r.dose for r in found.readings))


def test_the_drills_own_dose_and_a_large_one_come_first() -> None:
    probe = above(0.1)
    search(SHARES, probe, most_probes=MANY)
    assert probe.given[:2] == [0.5, 1.0]


def test_never_firing_ends_after_the_largest_dose() -> None:
    probe = above(2.0)
    found = search(SHARES, probe, most_probes=MANY)
    assert probe.given == [0.5, 1.0]
    assert (found.fires_from, found.quiet_up_to) == (None, 1.0)


def test_always_firing_is_followed_down_to_the_least_dose() -> None:
    found = search(SHARES, Planted(lambda _: True), most_probes=MANY)
    assert found.quiet_up_to is None
    assert found.fires_from is not None
    assert found.fires_from <= 0.02


def test_a_trip_point_above_the_drills_dose_is_found_there() -> None:
    found = search(SHARES, above(0.72), most_probes=MANY)
    assert found.fires_from == pytest.approx(0.72, abs=0.011)


def test_more_of_the_fault_and_less_of_the_alert_is_said() -> None:
    probe = Planted(lambda dose: 0.2 < dose < 0.8)
    found = search(SHARES, probe, most_probes=MANY)
    assert found.contradiction == (0.5, 1.0)
    assert probe.given == [0.5, 1.0]


def test_noise_within_the_resolution_is_no_contradiction() -> None:
    readings = iter([True, True, False, True, False])
    axis = duration_axis(60.0, 30.0)
    given_s = iter([40.0, 41.0])

    def probe(_: float) -> Reading:
        return Reading(next(given_s), next(readings))

    # 40 s fire, and (asked for 20 s) 41 s do, too: nothing finer can be given.
    assert search(axis, probe, most_probes=MANY).contradiction is None


def test_the_probes_are_bounded() -> None:
    probe = above(0.1)
    found = search(SHARES, probe, most_probes=4)
    assert len(probe.given) == 4
    assert found.gap is not None, "it could have gone on"


def test_what_can_be_given_no_finer_ends_the_search() -> None:
    """A container that takes 20 s to boot is down for 20 s at least."""
    asked: list[float] = []

    def probe(dose: float) -> Reading:
        asked.append(dose)
        return Reading(max(dose, 20.0), True)

    found = search(duration_axis(60.0, 1.0), probe, most_probes=MANY)
    assert found.fires_from == 20.0
    assert found.quiet_up_to is None
    assert len(asked) < 5


def _failing(error: BaseException) -> Probe:
    probe = above(0.1)

    def fail_third(dose: float) -> Reading:
        if len(probe.given) == 2:
            raise error
        return probe(dose)

    return fail_third


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unmeasured(Reason.NO_TRAFFIC, "nobody came"), Reason.NO_TRAFFIC),
        (FaultError("the proxy is gone"), Reason.FAULT_NOT_PROVEN),
        (KeyboardInterrupt(), Reason.INTERRUPTED),
    ],
)
def test_a_dose_that_proves_nothing_ends_it_and_keeps_the_others(
    error: BaseException, reason: Reason
) -> None:
    found = search(SHARES, _failing(error), most_probes=MANY)
    assert found.broken_off is not None
    assert found.broken_off.reason is reason
    assert len(found.readings) == 2


def test_wrong_usage_passes_through() -> None:
    with pytest.raises(UsageError):
        search(SHARES, _failing(UsageError("no such host")), most_probes=MANY)
