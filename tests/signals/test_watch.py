"""The watch on alerts: what it saw, and that it says so when it sees nothing any more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from alertdrill.config import AlertExpectation
from alertdrill.errors import DeadlineExceeded, SignalError
from alertdrill.judge import AlertCase, Role
from alertdrill.rules.deadline import Deadline
from alertdrill.signals import alerts as module
from alertdrill.signals.alerts import AlertState, AlertWatch, RuleStatus
from alertdrill.signals.notifications import Notification
from alertdrill.verdict import Reason
from alertdrill.wait import eventually

LABELS = {"alertname": "High", "severity": "critical"}


class Source:
    """Stands for Prometheus, Alertmanager and the receiver: time and failure on request."""

    def __init__(self) -> None:
        self.state = AlertState.INACTIVE
        self.at = 0.0
        self.failure: Exception | None = None
        self.waiting: list[Notification] = []
        self.held_back: list[tuple[str, tuple[str, ...]]] = []
        self.error = ""
        self.latest: dict[str, Notification] = {}

    def rules(self) -> list[RuleStatus]:
        if self.failure is not None:
            raise self.failure
        return [RuleStatus("High", self.state, True, self.at, self.at, "0.5", self.error)]

    def suppressed(self) -> list[tuple[str, tuple[str, ...]]]:
        return self.held_back

    def new(self) -> list[Notification]:
        arrived, self.waiting = self.waiting, []
        return arrived

    def tell(
        self, status: str, at: float, receiver: str = "oncall", alert: str = "High", **labels: str
    ) -> None:
        told = Notification(at, receiver, alert, status, LABELS | labels, {})
        self.latest[alert] = told
        self.waiting.append(told)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def watch(source: Source, monkeypatch: pytest.MonkeyPatch) -> Iterator[AlertWatch]:
    monkeypatch.setattr(module, "POLL_INTERVAL_S", 0.01)
    with AlertWatch(source, source) as opened:  # type: ignore[arg-type]
        yield opened


def await_state(watch: AlertWatch, state: AlertState) -> None:
    eventually(lambda: watch.states()["High"] is state, timeout_s=5, what=state.name)


def await_notified(watch: AlertWatch, status: str, count: int) -> None:
    eventually(lambda: len(watch.received("High", status, 0.0)) >= count, timeout_s=5, what=status)


def case(watch: AlertWatch, role: Role = Role.FIRES, **more: Any) -> AlertCase:
    return AlertCase(
        alert="High",
        role=role,
        watch=watch,
        injected=more.get("injected", 100.0),
        in_force=more.pop("injected", 100.0),
        fire=Deadline((("window", 10.0),)),
        resolve=Deadline((("window", 10.0),)),
        settled_s=5.0,
        expectation=AlertExpectation(
            receiver="oncall",
            labels={"severity": "critical"},
            within="10s",
            resolved_within="10s",
        ),
        routed=("oncall",),
        **more,
    )


def test_transitions_carry_the_time_of_the_rule_s_evaluation(
    source: Source, watch: AlertWatch
) -> None:
    source.at, source.state = 103.0, AlertState.FIRING
    await_state(watch, AlertState.FIRING)
    assert watch.first("High", AlertState.FIRING, since=100.0) == 103.0
    assert watch.first("High", AlertState.FIRING, since=104.0) is None


@pytest.mark.parametrize("failure", [SignalError("refused"), KeyError("data")], ids=repr)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_blind_watch_says_so_instead_of_showing_old_states(
    source: Source, watch: AlertWatch, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    assert watch.states()["High"] is AlertState.INACTIVE, "the clean twin"
    monkeypatch.setattr(module, "BLIND_S", 0.2)
    source.failure = failure

    def blind() -> bool:
        try:
            watch.states()
        except SignalError as error:
            return "were not seen for" in str(error)
        return False

    eventually(blind, timeout_s=5, what="the watch to say that it is blind")


def test_a_closed_watch_is_history(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLIND_S", 0.05)
    with AlertWatch(source, source) as opened:  # type: ignore[arg-type]
        pass
    with pytest.raises(DeadlineExceeded):
        eventually(lambda: False, timeout_s=0.1, what="time to pass")
    assert opened.states()["High"] is AlertState.INACTIVE


def test_each_series_that_was_told_of_must_be_told_to_be_over(
    source: Source, watch: AlertWatch
) -> None:
    source.tell("firing", 102.0, instance="a")
    source.tell("firing", 102.0, instance="b")
    source.tell("resolved", 103.0, instance="a")
    await_notified(watch, "resolved", 1)
    assert not case(watch).is_clean()
    source.tell("resolved", 104.0, instance="b")
    await_notified(watch, "resolved", 2)
    assert case(watch).is_clean()


def test_an_end_that_is_told_before_the_last_news_of_firing_is_none(
    source: Source, watch: AlertWatch
) -> None:
    source.tell("resolved", 101.0)
    source.tell("firing", 102.0)
    await_notified(watch, "firing", 1)
    assert not case(watch).is_clean()


@pytest.mark.parametrize(
    ("resolved_at", "reasons"), [(115.0, []), (145.0, [Reason.RESOLVED_NOT_NOTIFIED])]
)
def test_an_end_that_is_told_too_late_is_found(
    source: Source, watch: AlertWatch, resolved_at: float, reasons: list[Reason]
) -> None:
    source.tell("firing", 102.0)
    source.tell("resolved", resolved_at)
    await_notified(watch, "resolved", 1)
    findings = case(watch).findings_after_heal(healed=110.0, now=150.0)
    assert [finding.reason for finding in findings] == reasons


@pytest.mark.parametrize(
    ("arrivals", "reasons"),
    [
        ([("oncall", 105.0)], []),
        ([("oncall", 125.0)], [Reason.ALERT_NOT_NOTIFIED]),
        ([("team", 105.0)], [Reason.WRONG_RECEIVER]),
        ([("oncall", 105.0), ("team", 105.0)], [Reason.WRONG_RECEIVER]),
        ([], [Reason.ALERT_NOT_NOTIFIED]),
    ],
    ids=["right", "late", "elsewhere", "also elsewhere", "nowhere"],
)
def test_where_and_when_a_firing_alert_arrives(
    source: Source,
    watch: AlertWatch,
    arrivals: list[tuple[str, float]],
    reasons: list[Reason],
) -> None:
    source.at, source.state = 104.0, AlertState.FIRING
    for receiver, at in arrivals:
        source.tell("firing", at, receiver)
    await_state(watch, AlertState.FIRING)
    await_notified(watch, "firing", len(arrivals))
    judged = case(watch)
    found = judged.findings_under_fault(now=130.0) + judged.findings_of_deliveries(None)
    assert [finding.reason for finding in found] == reasons


def test_an_alert_that_stops_under_the_fault_did_not_hold(
    source: Source, watch: AlertWatch
) -> None:
    source.at, source.state = 104.0, AlertState.FIRING
    source.tell("firing", 105.0)
    await_state(watch, AlertState.FIRING)
    await_notified(watch, "firing", 1)
    assert case(watch).findings_under_fault(now=106.0) == []
    source.at, source.state = 107.0, AlertState.INACTIVE
    await_state(watch, AlertState.INACTIVE)
    (finding,) = case(watch).findings_under_fault(now=108.0)
    assert finding.reason is Reason.ALERT_DID_NOT_HOLD


def deliveries(judged: AlertCase) -> list[Reason]:
    return [finding.reason for finding in judged.findings_of_deliveries(None)]


def test_every_series_must_carry_the_drill_s_labels(source: Source, watch: AlertWatch) -> None:
    source.tell("firing", 105.0, upstream="github")
    await_notified(watch, "firing", 1)
    assert deliveries(case(watch, labels={"upstream": "github"})) == []
    source.tell("firing", 106.0, upstream="ai-studio")
    await_notified(watch, "firing", 2)
    assert deliveries(case(watch, labels={"upstream": "github"})) == [Reason.WRONG_LABELS]


def test_a_quiet_alert_that_was_told_of_after_healing_is_found(
    source: Source, watch: AlertWatch
) -> None:
    assert deliveries(case(watch, Role.QUIET)) == []
    source.tell("firing", 140.0)
    await_notified(watch, "firing", 1)
    assert deliveries(case(watch, Role.QUIET)) == [Reason.UNEXPECTED_ALERT]


def test_an_inhibited_alert_that_is_told_of_at_any_time_is_found(
    source: Source, watch: AlertWatch
) -> None:
    assert deliveries(case(watch, Role.INHIBITED)) == []
    source.tell("firing", 140.0)
    await_notified(watch, "firing", 1)
    assert deliveries(case(watch, Role.INHIBITED)) == [Reason.NOT_INHIBITED]


def test_an_alert_that_is_held_back_although_it_must_arrive_is_found(
    source: Source, watch: AlertWatch
) -> None:
    source.at, source.state = 104.0, AlertState.FIRING
    source.held_back = [("High", ("Low",))]
    eventually(lambda: watch.suppression("High", 0.0), timeout_s=5, what="the suppression")
    assert deliveries(case(watch, injected=0.0)) == [Reason.UNEXPECTED_INHIBITION]


def test_a_template_that_failed_is_found(source: Source, watch: AlertWatch) -> None:
    source.tell("firing", 105.0, team="<error expanding template: no such function>")
    await_notified(watch, "firing", 1)
    assert deliveries(case(watch)) == [Reason.WRONG_LABELS]


def test_a_rule_that_cannot_be_evaluated_blinds_the_watch(
    source: Source, watch: AlertWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLIND_S", 0.2)
    source.error = "many-to-many matching not allowed"

    def blind() -> bool:
        try:
            watch.states()
        except SignalError as error:
            return "High: many-to-many" in str(error)
        return False

    eventually(blind, timeout_s=5, what="the watch to say that it is blind")


# --- what only the receiver can tell ------------------------------------------------------------


@pytest.fixture
def switched(source: Source, monkeypatch: pytest.MonkeyPatch) -> Iterator[AlertWatch]:
    monkeypatch.setattr(module, "POLL_INTERVAL_S", 0.01)
    source.tell("firing", 90.0, alert="Dead")
    with AlertWatch(source, source, switches={"Dead"}) as opened:  # type: ignore[arg-type]
        yield opened


def test_a_switch_is_in_the_state_that_was_told_last(source: Source, switched: AlertWatch) -> None:
    assert switched.states()["Dead"] is AlertState.FIRING, "told before the watch began"
    source.tell("resolved", 101.0, alert="Dead")
    eventually(
        lambda: switched.states()["Dead"] is AlertState.INACTIVE, timeout_s=5, what="its end"
    )
    source.tell("firing", 102.0, alert="Dead")
    eventually(lambda: switched.fired_since(100.0) == {"Dead"}, timeout_s=5, what="its begin")
    assert switched.first("Dead", AlertState.FIRING, 100.0) == 102.0


def test_a_watch_that_looks_away_goes_on_listening(source: Source, switched: AlertWatch) -> None:
    switched.look_away({"prometheus"})
    source.failure = SignalError("paused")
    assert switched.states() == {"Dead": AlertState.FIRING}, "what Prometheus said is old"
    source.tell("resolved", 101.0, alert="Dead")
    eventually(
        lambda: switched.states()["Dead"] is AlertState.INACTIVE, timeout_s=5, what="the end"
    )
    assert case(switched, Role.QUIET, injected=time.monotonic()).is_decided(time.monotonic())

    source.failure = None
    source.at, source.state = 110.0, AlertState.FIRING
    switched.look_again()
    eventually(lambda: "High" in switched.states(), timeout_s=5, what="Prometheus to be seen")
    assert switched.states()["High"] is AlertState.FIRING


def test_a_watch_that_looks_again_and_sees_nothing_says_so(
    source: Source, switched: AlertWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLIND_S", 0.2)
    switched.look_away({"prometheus"})
    source.failure = SignalError("paused")
    switched.look_again()
    with pytest.raises(SignalError, match="were not seen for"):
        eventually(lambda: not switched.states(), timeout_s=5, what="the watch to say so")
