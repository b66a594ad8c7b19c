"""Judges one alert of a drill: from what the watch saw, is the matter decided, and how?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from alertdrill.config import AlertExpectation
from alertdrill.drill import AlertOutcome, Drill
from alertdrill.rules.deadline import Deadline
from alertdrill.signals.alerts import AlertState, AlertWatch
from alertdrill.signals.notifications import Notification
from alertdrill.verdict import Finding, Reason

# What Prometheus writes in place of a label or an annotation whose template fails.
TEMPLATE_ERROR = "<error expanding template"


class Role(Enum):
    """What a drill expects of an alert."""

    FIRES = "fires"
    INHIBITED = "inhibited"
    MAY_FIRE = "may fire"
    QUIET = "quiet"


def role_of(drill: Drill, alert: str) -> Role:
    """An alert that the drill doesn't name must stay quiet."""
    if alert in drill.fires:
        return Role.FIRES
    if alert in drill.inhibited:
        return Role.INHIBITED
    return Role.MAY_FIRE if alert in drill.may_fire else Role.QUIET


@dataclass(frozen=True)
class AlertCase:
    """One alert of one drill. All times are monotonic seconds.

    ``hold_s``     how long after its notification the alert must go on firing, and nobody else
                   be told: two evaluations and a group's wait, and a look-back window where the
                   rule reads what its own firing changes
    ``routed``     the receivers to which the loaded Alertmanager configuration sends it
    ``broken_promises``, ``unsound``  see ``Bench``
    ``inhibitions``  what is wrong with who may hold it back, see ``Bench.inhibition_findings``
    ``again``      it must end and fire a second time before anything is healed
    ``may_inhibit``  alerts that may hold this one back: for collateral, other collateral
    ``injected``   when injection began: what is told from then on is this drill's
    ``in_force``   when it was done: deadlines count from then
    ``settled_s``  how long after that a window is full of the fault's data: what the
                   expression says then it goes on saying. Firing must hold, and silence be
                   watched, until then
    """

    alert: str
    role: Role
    watch: AlertWatch
    injected: float
    in_force: float
    fire: Deadline
    resolve: Deadline
    settled_s: float
    hold_s: float = 0.0
    expectation: AlertExpectation | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    routed: tuple[str, ...] = ()
    broken_promises: Sequence[str] = ()
    inhibitions: Sequence[Finding] = ()
    unsound: str | None = None
    again: bool = False
    may_inhibit: frozenset[str] = frozenset()
    control: bool = False

    # --- under the fault -------------------------------------------------------------------

    def is_decided(self, now: float) -> bool:
        """Whether waiting on can't change the verdict any more."""
        since = now - self.in_force
        is_settled = since >= self.settled_s
        if self.role is Role.MAY_FIRE:
            return True
        if self.role in (Role.FIRES, Role.INHIBITED):
            came = self._came_at()
            if came is None:
                return since >= self.fire.total_s
            return is_settled and now - came >= self.hold_s
        if self._fired_at() is not None:
            return True
        if since >= self.fire.total_s:
            return True
        state = self.watch.states().get(self.alert)
        if state is None:
            return True  # who evaluates it is broken: only the receiver can tell, to the end
        return not self.control and state is AlertState.INACTIVE and is_settled

    def findings_under_fault(self, now: float) -> list[Finding]:
        """What did not happen by the time that everything is decided."""
        if self.role is Role.FIRES:
            return self._must_fire(now)
        if self.role is Role.INHIBITED:
            return self._must_be_inhibited(now)
        return []

    def _must_fire(self, now: float) -> list[Finding]:
        findings = [
            Finding(Reason.PROMISE_NOT_KEPT, f"{self.alert}: {why}") for why in self.broken_promises
        ]
        if self.unsound is not None:
            findings.append(Finding(Reason.NOT_ON_THIS_CLOCK, f"{self.alert}: {self.unsound}"))
        notified = self._notified()
        if not notified:
            return [*findings, self._why_not_notified(now)]
        first = notified[0]
        if first.at - self.in_force > self.fire.total_s:
            findings.append(
                Finding(
                    Reason.ALERT_NOT_NOTIFIED,
                    f"{self.alert} was notified only{self._at(first.at)} (deadline {self.fire})",
                )
            )
        if self.again:
            return [*findings, *self._not_again(now)]
        fired = self._fired_at()
        stopped = self.watch.first(self.alert, AlertState.INACTIVE, fired or first.at)
        firing = self.watch.states().get(self.alert) is AlertState.FIRING
        if stopped is not None or not firing:
            findings.append(
                Finding(
                    Reason.ALERT_DID_NOT_HOLD,
                    f"{self.alert} fired{self._at(fired)} and stopped{self._at(stopped)}, before "
                    "anything was healed",
                )
            )
        return findings

    # --- over the whole drill --------------------------------------------------------------

    def findings_of_deliveries(self, healing: float | None) -> list[Finding]:
        """Who was told what, from injection to the end, and who should not have been."""
        notified = self._notified()
        if self.role is Role.QUIET:
            return self._must_be_quiet(notified)
        if self.role is Role.INHIBITED:
            return [self._was_notified(notified[0])] if notified else []
        findings = []
        suppression = self.watch.suppression(self.alert, self.injected)
        # What is healed by a restart is away for a moment, and may then hold others back.
        in_time = suppression is not None and (healing is None or suppression.at < healing)
        if suppression is not None and in_time and not self.may_inhibit.issuperset(suppression.by):
            findings.append(
                Finding(
                    Reason.UNEXPECTED_INHIBITION,
                    f"{self.alert} was inhibited by {', '.join(suppression.by)}"
                    f"{self._at(suppression.at)}",
                )
            )
        if self.expectation is not None and notified:
            findings += wrong_arrivals(
                self.alert, notified, self.routed, self.expectation, self.labels
            )
        # Last: what the files say weighs less than what was seen.
        return [*findings, *self.inhibitions]

    def _must_be_quiet(self, notified: Sequence[Notification]) -> list[Finding]:
        fired = self._fired_at()
        if fired is None and not notified:
            return []
        reason = Reason.ALERT_WITHOUT_FAULT if self.control else Reason.UNEXPECTED_ALERT
        told = (
            f", and {notified[0].receiver} was told{self._at(notified[0].at)}" if notified else ""
        )
        return [
            Finding(
                reason,
                f"{self.alert} fired{self._at(fired)}{told}; "
                f"its value was {self.watch.value(self.alert)}",
            )
        ]

    def _was_notified(self, notification: Notification) -> Finding:
        return Finding(
            Reason.NOT_INHIBITED,
            f"{self.alert} was notified to {notification.receiver}"
            f"{self._at(notification.at)}; it should have been inhibited",
        )

    def _why_not_notified(self, now: float) -> Finding:
        waited = now - self.injected
        fired = self._fired_at()
        if fired is not None:
            return Finding(
                Reason.ALERT_NOT_NOTIFIED,
                f"{self.alert} fired{self._at(fired)}, but no notification of it arrived "
                f"within {waited:.1f} s (deadline {self.fire})",
            )
        pending = self.watch.first(self.alert, AlertState.PENDING, self.injected)
        state = "stayed inactive" if pending is None else f"was pending{self._at(pending)} but not"
        state += " firing" if pending is not None else ""
        value = self.watch.value(self.alert)
        why = f"its last value was {value}" if value else "its comparison was never true"
        if self.expectation is not None and self.expectation.watches is not None:
            why = f"whatever hears {self.expectation.watches} did not raise it"
        return Finding(
            Reason.ALERT_DID_NOT_FIRE,
            f"{self.alert} {state} for {waited:.1f} s (deadline {self.fire}); {why}",
        )

    def _not_again(self, now: float) -> list[Finding]:
        again = self._told_again_at()
        if again is not None and again - self.in_force <= self.fire.total_s:
            return []
        over = min((n.at for n in self._resolved()), default=None)
        ended = "was not told to be over" if over is None else f"ended{self._at(over)}"
        missed = f"was told again only{self._at(again)}"
        if again is None:
            missed = f"was not told a second time in {now - self.injected:.1f} s"
        return [
            Finding(
                Reason.ALERT_DID_NOT_FIRE,
                f"{self.alert} fired{self._at(self._fired_at())}, {ended} and {missed} "
                f"(deadline {self.fire})",
            )
        ]

    def _must_be_inhibited(self, now: float) -> list[Finding]:
        if self._fired_at() is None:
            return [self._why_not_notified(now)]
        if self._suppressed_at() is None and not self._notified():
            return [
                Finding(
                    Reason.NOT_INHIBITED,
                    f"{self.alert} fires and isn't inhibited (deadline {self.fire})",
                )
            ]
        return []

    # --- after healing ---------------------------------------------------------------------

    def is_clean(self) -> bool:
        """Inactive again and, for each series that somebody was told of, told that it is over."""
        if self.watch.states().get(self.alert) is not AlertState.INACTIVE:
            return False
        over = _last_by_series(self._resolved())
        told = _last_by_series(self._notified())
        return all(series in over and over[series] >= at for series, at in told.items())

    def findings_after_heal(self, healed: float, now: float) -> list[Finding]:
        if self.is_clean():
            return self._told_too_late(healed)
        waited = now - healed
        state = self.watch.states().get(self.alert)
        if state is not AlertState.INACTIVE:
            word = state.name.lower() if state is not None else "gone"
            return [
                Finding(
                    Reason.ALERT_DID_NOT_RESOLVE,
                    f"{self.alert} is still {word} {waited:.1f} s after healing "
                    f"(deadline {self.resolve})",
                )
            ]
        return [
            Finding(
                Reason.RESOLVED_NOT_NOTIFIED,
                f"{self.alert} is inactive again, but nobody was told within {waited:.1f} s "
                f"after healing (deadline {self.resolve})",
            )
        ]

    def _told_too_late(self, healed: float) -> list[Finding]:
        last = max(_last_by_series(self._resolved()).values(), default=healed)
        if last - healed <= self.resolve.total_s:
            return []
        return [
            Finding(
                Reason.RESOLVED_NOT_NOTIFIED,
                f"{self.alert}'s end was notified only {last - healed:.1f} s after healing "
                f"(deadline {self.resolve})",
            )
        ]

    def outcome(self) -> AlertOutcome:
        """The alert's times for the report."""
        fired = self._fired_at()
        notified = self._notified()
        resolved = self._resolved()
        inactive = None
        if fired is not None:
            inactive = self.watch.first(self.alert, AlertState.INACTIVE, fired)
        over = max(_last_by_series(resolved).values(), default=None) if self.is_clean() else None
        return AlertOutcome(
            name=self.alert,
            expected=self.role.value,
            pending_s=self._since(self.watch.first(self.alert, AlertState.PENDING, self.injected)),
            firing_s=self._since(fired),
            notified_s=self._since(notified[0].at if notified else None),
            inhibited_s=self._since(self._suppressed_at()),
            inactive_s=self._since(inactive),
            resolved_s=self._since(over),
            deadline_s=round(self.in_force - self.injected + self.fire.total_s, 2),
            resolve_deadline_s=round(self.resolve.total_s, 2),
            receivers=tuple(sorted({n.receiver for n in notified})),
        )

    # --- inside ----------------------------------------------------------------------------

    def _fired_at(self) -> float | None:
        return self.watch.first(self.alert, AlertState.FIRING, self.injected)

    def _notified(self) -> list[Notification]:
        return self.watch.received(self.alert, "firing", self.injected)

    def _resolved(self) -> list[Notification]:
        return self.watch.received(self.alert, "resolved", self.injected)

    def _came_at(self) -> float | None:
        """When all that is expected of it under the fault had come about."""
        if self.role is Role.INHIBITED:
            return self._suppressed_at()
        if self.again:
            return self._told_again_at()
        return min((n.at for n in self._notified()), default=None)

    def _told_again_at(self) -> float | None:
        """When somebody who was told that it is over was told that it fires."""
        over = min((n.at for n in self._resolved()), default=None)
        return min(
            (n.at for n in self._notified() if over is not None and n.at > over), default=None
        )

    def _suppressed_at(self) -> float | None:
        found = self.watch.suppression(self.alert, self.injected)
        return None if found is None else found.at

    def _since(self, at: float | None) -> float | None:
        return None if at is None else round(at - self.injected, 2)

    def _at(self, at: float | None) -> str:
        return "" if at is None else f" at +{at - self.injected:.1f} s"


def wrong_arrivals(
    alert: str,
    notified: Sequence[Notification],
    routed: Sequence[str],
    expectation: AlertExpectation,
    labels: Mapping[str, str] = MappingProxyType({}),
) -> list[Finding]:
    """Whether ``notified`` and ``routed`` are the right receivers, and labels and texts are as
    expected; ``labels`` beside those of ``expectation``."""
    findings = []
    receivers = {n.receiver for n in notified} | set(routed)
    if receivers != {expectation.receiver}:
        findings.append(
            Finding(
                Reason.WRONG_RECEIVER,
                f"{alert} goes to {', '.join(sorted(receivers))}; "
                f"it belongs to {expectation.receiver} alone",
            )
        )
    wanted = expectation.labels | dict(labels)
    for n in notified:
        wrong = {k: n.labels.get(k) for k, v in wanted.items() if n.labels.get(k) != v}
        if wrong:
            findings.append(
                Finding(Reason.WRONG_LABELS, f"{alert} arrived with {wrong}; expected {wanted}")
            )
            break
    texts = (text for n in notified for text in (*n.labels.values(), *n.annotations.values()))
    unreadable = next((text for text in texts if TEMPLATE_ERROR in text), None)
    if unreadable is not None:
        findings.append(
            Finding(Reason.WRONG_LABELS, f"{alert} arrived with the text {unreadable!r}")
        )
    return findings


def _last_by_series(notifications: list[Notification]) -> dict[tuple[object, ...], float]:
    """When each series of an alert was last heard of at each receiver."""
    return {(n.receiver, *sorted(n.labels.items())): n.at for n in notifications}
