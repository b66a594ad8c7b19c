"""What a search says: from which dose on the alert fires, and whether that is what it should do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from alertdrill.drill import Drill
from alertdrill.judge import Role, role_of
from alertdrill.rules.durations import format_ms
from alertdrill.trip.axis import DURATION
from alertdrill.trip.search import Search
from alertdrill.trip.threshold import Threshold, crossing
from alertdrill.verdict import Finding, Reason, Verdict

SCHEMA = 1


@dataclass(frozen=True)
class Pair:
    """An alert and the drill whose fault is given in other doses."""

    alert: str
    drill: Drill

    @property
    def must_fire(self) -> bool:
        """Whether the table says that the drill's own dose trips it."""
        return role_of(self.drill, self.alert) in (Role.FIRES, Role.INHIBITED)


@dataclass(frozen=True)
class TripPoint:
    """The outcome of a live search. ``threshold`` None: the expression isn't one comparison."""

    pair: Pair
    search: Search
    threshold: Threshold | None

    @property
    def finding(self) -> Finding | None:
        """What keeps it from being a pass: the drill's dose doesn't trip the alert although the
        table says so, a larger dose trips it less, or the search broke off."""
        search, axis, alert = self.search, self.search.axis, self.pair.alert
        if search.broken_off is not None:
            return search.broken_off
        if search.contradiction is not None:
            fired, quiet = map(axis.words, search.contradiction)
            return Finding(
                Reason.NOT_MONOTONE,
                f"{alert} fires at {fired} and stays quiet at {quiet}: more of the fault is less "
                "of an alert, so there is no trip point",
            )
        from_ = search.fires_from
        if not self.pair.must_fire or (from_ is not None and from_ <= axis.own):
            return None
        where = "at no dose" if from_ is None else f"only from {axis.words(from_)} on"
        own = f"{'within' if axis.unit == DURATION else 'at'} {axis.words(axis.own)}"
        return Finding(
            Reason.ALERT_DID_NOT_FIRE,
            f"{alert} fires {where}; {self.pair.drill.title!r} expects it {own}",
        )

    @property
    def verdict(self) -> Verdict:
        return Verdict.PASS if self.finding is None else self.finding.verdict

    @property
    def crosses_at(self) -> float | None:
        """The dose at which the expression gets to the threshold; of a duration it is no matter
        of more or less."""
        if self.threshold is None or self.search.axis.unit == DURATION:
            return None
        return crossing(self.search.axis, self.search.readings, self.threshold)

    def sentence(self) -> str:
        """The trip point in words, with what the threshold has to do with it."""
        search, axis = self.search, self.search.axis
        if search.fires_from is None:
            quiet = search.quiet_up_to
            if quiet is None:
                return f"{self.pair.alert}: no dose could be given"
            return f"{self.pair.alert} stays quiet up to {axis.words(quiet)} ({axis.what})"
        words = f"{self.pair.alert} fires from {axis.words(search.fires_from)} on ({axis.what})"
        if search.quiet_up_to is None:
            words += f", at every dose that was tried down to {axis.words(search.fires_from)}"
        else:
            words += f", and stays quiet up to {axis.words(search.quiet_up_to)}"
        return words + self._compared()

    def _compared(self) -> str:
        if self.threshold is None:
            return ""
        at, values = self.crosses_at, [r.value for r in self.search.readings if r.value is not None]
        if at is None and values and all(self.threshold.is_met_by(v.mean) for v in values):
            return f"; the mean of its expression is {self.threshold} at every dose that was tried"
        if at is None:
            return f"; its threshold is {self.threshold}"
        axis = self.search.axis
        return (
            f"; its expression gets to the threshold ({self.threshold}) at about {axis.words(at)}"
        )

    def document(self) -> dict[str, Any]:
        """What ``trip.json`` says of the live search."""
        axis, finding = self.search.axis, self.finding
        return {
            "alert": self.pair.alert,
            "drill": self.pair.drill.id,
            "fault": self.pair.drill.fault.name,
            "finding": None if finding is None else finding.document(),
            "sentence": self.sentence(),
            "axis": asdict(axis),
            "fires_from": self.search.fires_from,
            "quiet_up_to": self.search.quiet_up_to,
            "threshold": None if self.threshold is None else asdict(self.threshold),
            "crosses_at": self.crosses_at,
            "readings": [asdict(reading) for reading in self.search.readings],
        }


@dataclass(frozen=True)
class Replayed:
    """What replay says of a pair. Seconds on the real clock.

    ``lasting_s``     how long the fault was played at most
    ``trips_from_s``  the shortest that fires; None: none does
    ``share``         the least share of the traffic that must meet the whole fault; None where
                      the alert reads something that half a fault can't be made of
    ``unknown``       why nothing can be said
    """

    pair: Pair
    lasting_s: float | None = None
    trips_from_s: float | None = None
    share: float | None = None
    unknown: str | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether it fires at all where the table says that it must."""
        if self.unknown is not None:
            return Verdict.UNKNOWN
        fires = self.trips_from_s is not None
        return Verdict.PASS if fires or not self.pair.must_fire else Verdict.FAIL

    def sentence(self) -> str:
        alert = self.pair.alert
        if self.unknown is not None:
            return f"replay can't tell of {alert}: {self.unknown}"
        if self.trips_from_s is None:
            return f"in its replay {alert} stays quiet for as long as {duration(self.lasting_s)}"
        words = (
            f"in its replay {alert} fires when the fault lasts for {duration(self.trips_from_s)}"
        )
        if self.share is not None:
            words += f", and when at least {self.share:.0%} of the traffic meet it to the end"
        return words

    def document(self) -> dict[str, Any]:
        values = {key: value for key, value in vars(self).items() if key != "pair"}
        named = {"alert": self.pair.alert, "drill": self.pair.drill.id}
        return {**named, "fault": self.pair.drill.fault.name, **values, "sentence": self.sentence()}


def duration(seconds: float | None) -> str:
    """Seconds on the real clock, for people."""
    return "–" if seconds is None else format_ms(round(seconds) * 1000)
