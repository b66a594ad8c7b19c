"""Lateness: lost scrapes are found, and neither an honest failure nor a steady pace is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from alertdrill.faults.partition import Partition
from alertdrill.premises import standing
from alertdrill.signals.punctuality import MISSED_EVALUATIONS, lateness
from alertdrill.verdict import Finding, Reason

INTERVAL_S = 0.25
HUB = {"job": "hub", "instance": "hub:8001"}
Samples = list[tuple[float, float]]


@dataclass
class Recorded:
    """Stands for Prometheus: raw samples by metric."""

    up: Samples
    took: Samples
    missed: Samples = field(default_factory=list)

    def samples(
        self, selector: str, since: float, until: float
    ) -> list[tuple[Mapping[str, str], Samples]]:
        chosen = {
            "up": self.up,
            "scrape_duration_seconds": self.took,
            MISSED_EVALUATIONS: self.missed,
        }[selector]
        within = [(at, value) for at, value in chosen if since < at <= until]
        return [(HUB, within)] if within else []


def recorded(ups: str, took_s: float = 0.01) -> Recorded:
    """One character per scrape: ``1`` up, ``t`` timed out, ``r`` refused, ``.`` no sample."""
    up, took = [], []
    for slot, scrape in enumerate(ups):
        at = 100 + slot * INTERVAL_S
        if scrape != ".":
            up.append((at, 1.0 if scrape == "1" else 0.0))
            took.append((at, INTERVAL_S if scrape == "t" else took_s))
    return Recorded(up, took)


def late(source: Recorded, *, compressed: bool = True, broken: frozenset[str] = frozenset()):  # type: ignore[no-untyped-def]
    return lateness(
        source,  # type: ignore[arg-type]
        99.0,
        200.0,
        intervals={"hub": INTERVAL_S},
        compressed=compressed,
        broken=broken,
    )


@pytest.mark.parametrize("ups", ["111ttttt111", "111.....111", "11t..t.t11", "111tttttt"])
def test_scrapes_that_ran_out_of_time_or_never_came_are_late(ups: str) -> None:
    (complaint,) = late(recorded(ups))
    assert complaint.startswith("hub at hub:8001 was not scraped for 1.")


@pytest.mark.parametrize(
    "ups", ["1111111111", "111rrrrrrrr111", "11ttt111ttt11", "1.1.1.1", "rrrrrrrr", "", "t"]
)
def test_refused_scrapes_and_a_few_lost_ones_are_not(ups: str) -> None:
    assert late(recorded(ups)) == []


def test_what_the_drill_breaks_may_be_late() -> None:
    assert late(recorded("111tttttttt"), broken=frozenset({"hub"})) == []


def test_what_the_drill_cuts_off_from_prometheus_may_be_late() -> None:
    cut, elsewhere = Partition("prometheus", from_=("hub",)), Partition("hub", from_=("redis",))
    assert late(recorded("111tttttttt"), broken=cut.touches) == []
    assert not cut.breaks, "both still answer everybody else"
    assert elsewhere.touches == {"hub", "redis"}


def test_on_the_real_clock_a_time_out_is_what_it_seems() -> None:
    assert late(recorded("111tttttttt111"), compressed=False) == []
    assert len(late(recorded("111........111"), compressed=False)) == 1


def test_missed_evaluations_are_late() -> None:
    source = recorded("11111")
    source.missed = [(100.0, 3.0), (101.0, 5.0)]
    assert late(source) == ["Prometheus missed 2 evaluations of its rules"]
    source.missed = [(100.0, 3.0), (101.0, 3.0)]
    assert late(source) == []


FALSE_ALARM = Finding(Reason.UNEXPECTED_ALERT, "HubDown fired")
WRONG_PEOPLE = Finding(Reason.WRONG_RECEIVER, "HubDown goes to team")
NO_TRAFFIC = Finding(Reason.NO_TRAFFIC, "no traffic met it")
SILENCE = Finding(Reason.ALERT_DID_NOT_FIRE, "HighErrorRate stayed inactive")


def test_slowness_takes_the_place_of_what_it_can_bring_about_and_quotes_it() -> None:
    only, slow = standing([FALSE_ALARM, WRONG_PEOPLE], ["hub was not scraped"])
    assert only == WRONG_PEOPLE
    assert slow.reason is Reason.MACHINE_TOO_SLOW
    assert "hub was not scraped" in slow.message
    assert "HubDown fired" in slow.message


def test_without_slowness_findings_stand() -> None:
    assert standing([FALSE_ALARM, WRONG_PEOPLE], []) == [FALSE_ALARM, WRONG_PEOPLE]
    assert standing([WRONG_PEOPLE], ["late"]) == [WRONG_PEOPLE]
    assert standing([], ["late"]) == []


def test_silence_proves_nothing_without_traffic() -> None:
    assert standing([NO_TRAFFIC, SILENCE, FALSE_ALARM], []) == [NO_TRAFFIC, FALSE_ALARM]
