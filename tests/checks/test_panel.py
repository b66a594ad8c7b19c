"""All checks of a drill together, its clients' share of failures, and how soon they recovered."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from alertdrill.checks.clients import WHATEVER, judged
from alertdrill.checks.contract import Check, View
from alertdrill.checks.expected import Failing, Span
from alertdrill.checks.panel import Panel, checks_of
from alertdrill.config import load_config
from alertdrill.drill import Drill
from alertdrill.errors import SignalError, UsageError
from alertdrill.faults.nothing import Nothing
from alertdrill.load.protocol import Finished
from alertdrill.load.window import Tally
from alertdrill.premises import standing
from alertdrill.steady import recovered_at
from alertdrill.verdict import Finding, Reason
from loadtests import api_only, sync_and_api
from tests.stack.small import ROOT

VIEW = cast(View, None)


class Says(Check):
    """Finds what it is told to find, or raises."""

    def __init__(self, name: str, *found: Finding, error: SignalError | None = None) -> None:
        self.id = name
        self._found, self._error = list(found), error

    def under_fault(self, view: View) -> list[Finding]:
        if self._error is not None:
            raise self._error
        return self._found

    def document(self) -> dict[str, Any]:
        return {"seen": self.id}


class Unasked(Says):
    def document(self) -> dict[str, Any]:
        return {"seen": "", "not_verified": "no such store"}


LOST = Finding(Reason.WRITE_LOST, "one write")


def test_a_check_that_cant_tell_doesnt_silence_the_others() -> None:
    panel = Panel([Says("a", error=SignalError("gone")), Says("b", LOST), Says("c")])
    found = [*panel.under_fault(VIEW), *panel.after(VIEW)]
    assert [(f.reason, f.message) for f in found] == [
        (Reason.NO_DATA, "a: gone"),
        (Reason.WRITE_LOST, "one write"),
    ]
    verdicts = {row["id"]: (row["verdict"], row["reason"]) for row in panel.documents()}
    assert verdicts == {
        "a": ("unknown", "no_data"),
        "b": ("fail", "write_lost"),
        "c": ("pass", None),
    }


def test_a_check_that_was_not_asked_to_the_end_is_no_pass() -> None:
    panel = Panel([Says("a")])
    panel.under_fault(VIEW)
    assert panel.documents()[0]["reason"] == "not_asked"


def test_what_cant_be_looked_at_is_no_pass() -> None:
    panel = Panel([Unasked("traces")])
    panel.under_fault(VIEW)
    panel.after(VIEW)
    [row] = panel.documents()
    assert (row["verdict"], row["reason"]) == ("unknown", "not_verified")


def drill(**more: Any) -> Drill:
    return Drill("d", fault=Nothing(), load=sync_and_api(), **more)


def test_the_shipped_project_can_be_asked_everything() -> None:
    everything = drill(blames=Span("hub", "db.*"), logs_arrive=True)
    asked = {check.id for check in checks_of(everything, load_config(ROOT))}
    assert asked == {
        *("clients", "health", "logs", "metrics", "notifications", "promises"),
        *("stored_logs", "traces"),
    }


@pytest.mark.parametrize(
    ("more", "section"),
    [
        ({"health": {"database": False}}, "health"),
        ({"blames": Span("hub", "x")}, "traces"),
        ({"logs_arrive": True}, "log_store"),
    ],
)
def test_what_the_project_doesnt_describe_cant_be_expected(
    more: dict[str, Any], section: str
) -> None:
    config = load_config(ROOT).model_copy(update={section: None})
    with pytest.raises(UsageError, match=rf"test_panel.py:\d+: .*has no \[{section}\]"):
        checks_of(drill(**more), config)


def test_only_users_of_the_load_can_be_expected_to_fail() -> None:
    with pytest.raises(UsageError, match="SyncUser, which its load has not; it has ApiUser"):
        Drill("d", fault=Nothing(), load=api_only(5), clients={"SyncUser": Failing(at_least=0.5)})


# --- clients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [(0.6, 0.5), (-0.1, 1.0), (0.0, 1.1)])
def test_bounds_that_nothing_can_keep_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(UsageError):
        Failing(*bounds)


@pytest.mark.parametrize(
    ("failed", "wanted", "reason"),
    [
        (5, WHATEVER, None),
        (5, Failing(at_least=0.05, at_most=0.05), None),
        (5, Failing(at_most=0.01), Reason.CLIENTS_HARMED),
        (5, Failing(at_least=0.3), Reason.CLIENTS_UNHARMED),
    ],
)
def test_shares_of_failures_are_judged(failed: int, wanted: Failing, reason: Reason | None) -> None:
    found = judged("SyncUser", Tally(100, failed), Tally(100, failed), wanted)
    assert (found and found.reason) == reason


def test_nobody_need_be_harmed_before_the_fault_is_in_force() -> None:
    slowly_injected = judged("SyncUser", Tally(40, 20), Tally(20, 20), Failing(at_least=0.9))
    assert slowly_injected is None
    harmless = judged("SyncUser", Tally(40, 20), Tally(20, 17), Failing(at_least=0.9))
    assert harmless is not None
    assert harmless.reason is Reason.CLIENTS_UNHARMED
    early = judged("SyncUser", Tally(40, 4), Tally(20, 0), Failing(at_most=0.05))
    assert early is not None
    assert early.reason is Reason.CLIENTS_HARMED


def test_no_request_is_no_share() -> None:
    found = judged("SyncUser", Tally(0, 0), Tally(0, 0), Failing(at_most=0.5))
    assert found is not None
    assert found.reason is Reason.NO_DATA


def test_what_did_not_show_gives_way_where_the_fault_was_not_there() -> None:
    unproven = Finding(Reason.FAULT_NOT_PROVEN, "no bite")
    absences = [
        Finding(reason, "")
        for reason in (
            *(Reason.HEALTH_DID_NOT_TELL, Reason.CLIENTS_UNHARMED),
            *(Reason.LOG_MISSING, Reason.SPAN_MISSING),
        )
    ]
    assert standing([*absences, unproven, LOST], []) == [unproven, LOST]


def test_slowness_explains_harm_but_no_lost_write() -> None:
    harmed = Finding(Reason.CLIENTS_HARMED, "2 of 10")
    stands = standing([harmed, LOST], ["hub was not scraped for 2 s"])
    assert [finding.reason for finding in stands] == [Reason.WRITE_LOST, Reason.MACHINE_TOO_SLOW]


# --- recovery -----------------------------------------------------------------------------------


def recovered(outcomes: str) -> float:
    """Ten requests a second from 100.1 s on, ``+`` answered and ``-`` failed; healed at 100 s."""
    requests = [
        Finished(100 + n / 10, 0.0, "ApiUser", "GET /", ok=outcome == "+", status=200, ms=1.0)
        for n, outcome in enumerate(outcomes, start=1)
    ]
    load = SimpleNamespace(requests=lambda since: requests)
    one = Drill("d", fault=Nothing(), load=api_only(10))
    return round(recovered_at(one, cast(Any, load), 100.0) - 100, 3)


@pytest.mark.parametrize(
    ("outcomes", "after_s"),
    [
        ("++++", 0.1),
        ("---+++", 0.4),
        ("-+-+-+++", 0.6),
        ("--" + "+" * 120 + "-" + "+" * 200, 0.3),
    ],
    ids=["at once", "failures first", "on and off", "a stray failure later"],
)
def test_recovery_is_when_the_last_stretch_of_good_service_begins(
    outcomes: str, after_s: float
) -> None:
    assert recovered(outcomes) == after_s
