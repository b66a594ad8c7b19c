"""Which faults have a dose, in which steps, and how it is told."""

from __future__ import annotations

import pytest

from alertdrill.errors import UsageError
from alertdrill.faults.container import Kill
from alertdrill.faults.contract import Fault
from alertdrill.faults.database import HeldConnections, SlowQuery
from alertdrill.faults.http import HttpHang, HttpSlow, HttpStatus
from alertdrill.faults.network import Latency, Refuse
from alertdrill.trip.axis import dose_axis, duration_axis


@pytest.mark.parametrize(
    ("fault", "own", "most", "words"),
    [
        (HttpStatus("github", rate=0.5), 0.5, 1.0, "50 %"),
        (HttpHang("github", rate=0.063), 0.063, 0.126, "6.3 %"),
        (HttpSlow("github", delay_s=3.0), 3.0, 6.0, "3 s"),
        (Latency("postgres", 1000, client="hub"), 1000, 2000, "1000 ms"),
        (HeldConnections(20), 20, 40, "20 connections"),
        (SlowQuery(4), 4, 8, "4 sessions"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_a_fault_says_its_dose_and_takes_another(
    fault: Fault, own: float, most: float, words: str
) -> None:
    axis = dose_axis(fault)
    assert (axis.own, axis.most) == (own, most)
    assert axis.words(axis.own) == words
    other = fault.dosed(axis.most)
    assert dose_axis(other).own == most
    assert other.dosed(axis.own) == fault
    assert fault.dosed(axis.middle(axis.least, axis.own)) != fault


@pytest.mark.parametrize(
    "fault",
    [Kill("hub"), Refuse("postgres", client="hub"), HttpStatus("x", every=3), HeldConnections()],
    ids=lambda fault: type(fault).__name__,
)
def test_a_fault_without_a_dose_says_so(fault: Fault) -> None:
    with pytest.raises(UsageError, match="has no dose"):
        dose_axis(fault)
    with pytest.raises(UsageError, match="has no dose"):
        fault.dosed(1.0)


def test_jitter_bounds_the_latency_from_below() -> None:
    fault = Latency("postgres", 200, jitter_ms=50, client="hub")
    axis = dose_axis(fault)
    assert axis.least == 50
    fault.dosed(axis.least)  # refused, were it less


def test_durations_are_told_on_the_real_clock() -> None:
    axis = duration_axis(900.0, 30.0)
    assert axis.words(axis.middle(0.0, 900.0)) == "7m30s"
    assert axis.is_fine(270.0, 300.0)
    assert not axis.is_fine(270.0, 301.0)


@pytest.mark.parametrize("resolution", [0.0, -1.0, float("nan"), float("inf")])
def test_a_resolution_of_nothing_is_refused(resolution: float) -> None:
    with pytest.raises(UsageError, match="--resolution"):
        dose_axis(HttpStatus("github"), resolution)
