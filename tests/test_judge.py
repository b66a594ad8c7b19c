"""An alert that comes and goes with its fault must have done so, and told it each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from alertdrill.drill import Drill
from alertdrill.errors import UsageError
from alertdrill.faults.container import Pause
from alertdrill.judge import AlertCase, Role
from alertdrill.rules.deadline import Deadline
from alertdrill.signals.alerts import AlertState, AlertWatch
from alertdrill.signals.notifications import Notification
from alertdrill.verdict import Reason
from loadtests import sync_and_api

INJECTED = 100.0
NOW = INJECTED + 20.0


class Told:
    """A watch that saw the alert fire at each ``firing`` and end at each ``resolved``."""

    def __init__(self, calls: Sequence[tuple[float, str]]) -> None:
        self._calls = [
            Notification(INJECTED + at, "oncall", "Down", status, {}, {}, "g")
            for at, status in calls
        ]

    def received(self, _alert: str, status: str, since: float) -> list[Notification]:
        return [n for n in self._calls if n.status == status and n.at >= since]

    def first(self, _alert: str, state: AlertState, since: float) -> float | None:
        status = "firing" if state is AlertState.FIRING else "resolved"
        return min((n.at for n in self.received("", status, since)), default=None)

    def suppression(self, _alert: str, _since: float) -> None:
        return None

    def states(self) -> dict[str, AlertState]:
        firing = self._calls[-1].status == "firing"
        return {"Down": AlertState.FIRING if firing else AlertState.INACTIVE}


class Wavering(Told):
    """A watch that sees the alert pending all the while."""

    def states(self) -> dict[str, AlertState]:
        return {"Down": AlertState.PENDING}


def case(*calls: tuple[float, str], again: bool = True, in_force: float = INJECTED) -> AlertCase:
    deadline = Deadline((("for", 2.0), ("operation", 15.0)))
    return AlertCase(
        alert="Down",
        role=Role.FIRES,
        watch=cast(AlertWatch, Told(calls)),
        injected=INJECTED,
        in_force=in_force,
        fire=deadline,
        resolve=deadline,
        settled_s=1.0,
        hold_s=2.0,
        again=again,
    )


ONCE = ((3.0, "firing"),)
OVER = (*ONCE, (9.0, "resolved"))
TWICE = (*OVER, (16.0, "firing"))


def test_told_over_and_told_again_is_what_was_wanted() -> None:
    assert case(*TWICE).findings_under_fault(NOW) == []


def test_the_same_of_an_alert_that_should_hold_is_none() -> None:
    [finding] = case(*OVER, again=False).findings_under_fault(NOW)
    assert finding.reason is Reason.ALERT_DID_NOT_HOLD


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (ONCE, "fired at +3.0 s, was not told to be over and was not told a second time"),
        (OVER, "fired at +3.0 s, ended at +9.0 s and was not told a second time"),
        # A repetition is no second time.
        ((*ONCE, (5.0, "firing")), "was not told to be over"),
        # One after the deadline is none either.
        ((*OVER, (18.0, "firing")), "and was told again only at +18.0 s"),
    ],
)
def test_an_alert_that_does_not_come_back_is_found(
    calls: tuple[tuple[float, str], ...], said: str
) -> None:
    [finding] = case(*calls).findings_under_fault(NOW)
    assert finding.reason is Reason.ALERT_DID_NOT_FIRE
    assert said in finding.message


def test_it_is_waited_for_until_its_deadline() -> None:
    assert not case(*OVER).is_decided(INJECTED + 16.9)
    assert case(*OVER).is_decided(INJECTED + 17.0)
    assert not case(*TWICE).is_decided(INJECTED + 17.9)
    assert case(*TWICE).is_decided(INJECTED + 18.0)


def test_an_injection_that_takes_a_while_is_not_charged_to_the_alert() -> None:
    """Told 19 s after injection began; the deadline is 17 s."""
    late = ((19.0, "firing"),)
    [finding] = case(*late, again=False).findings_under_fault(NOW)
    assert finding.reason is Reason.ALERT_NOT_NOTIFIED
    slowly = case(*late, again=False, in_force=INJECTED + 5.0)
    assert slowly.findings_under_fault(NOW) == []
    assert slowly.outcome().deadline_s == 5.0 + 17.0, "told from injection, as all times are"


def test_silence_is_watched_from_when_the_fault_is_in_force() -> None:
    quiet = replace(case((0.0, "resolved"), in_force=INJECTED + 5.0), role=Role.QUIET)
    assert not quiet.is_decided(INJECTED + 5.9)
    assert quiet.is_decided(INJECTED + 6.0)
    # Nor is the deadline over, for one that is late with its silence.
    wavers = replace(quiet, watch=cast(AlertWatch, Wavering(())))
    assert not wavers.is_decided(INJECTED + 21.9)
    assert wavers.is_decided(INJECTED + 22.0)


def test_what_must_fire_again_must_fire() -> None:
    with pytest.raises(UsageError) as caught:
        Drill(
            "the hub hangs",
            fault=Pause("hub"),
            load=sync_and_api(),
            fires_again=frozenset({"APIUnavailable"}),
        )
    assert "expects APIUnavailable to fire again and not to fire" in str(caught.value)
