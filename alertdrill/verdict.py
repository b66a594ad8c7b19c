"""The verdict lattice: fail beats unknown beats pass, and nothing proven is not a pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum


class Verdict(Enum):
    """What a check, a drill or a whole run may say. The value is its exit code."""

    PASS = 0
    FAIL = 1
    UNKNOWN = 3

    @property
    def word(self) -> str:
        return self.name.lower()

    @staticmethod
    def worst(verdicts: Iterable[Verdict]) -> Verdict:
        """The worst of ``verdicts``; of none at all, ``UNKNOWN``: nothing was proven."""
        seen = set(verdicts)
        for verdict in (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS):
            if verdict in seen:
                return verdict
        return Verdict.UNKNOWN


class Reason(StrEnum):
    """Why a verdict is not a pass, for machines. The words for people stand beside it."""

    # The monitoring, or the system under it, is wrong.
    ALERT_DID_NOT_FIRE = "alert_did_not_fire"
    ALERT_NOT_NOTIFIED = "alert_not_notified"
    ALERT_DID_NOT_HOLD = "alert_did_not_hold"
    ALERT_DID_NOT_RESOLVE = "alert_did_not_resolve"
    RESOLVED_NOT_NOTIFIED = "resolved_not_notified"
    ALERT_WITHOUT_FAULT = "alert_without_fault"
    UNEXPECTED_ALERT = "unexpected_alert"
    NOT_INHIBITED = "not_inhibited"
    UNEXPECTED_INHIBITION = "unexpected_inhibition"
    PROMISE_NOT_KEPT = "promise_not_kept"
    DELIVERY_FAILED = "delivery_failed"
    WRONG_RECEIVER = "wrong_receiver"
    WRONG_LABELS = "wrong_labels"
    HEARTBEAT_STOPPED = "heartbeat_stopped"
    TARGET_DOWN = "target_down"
    STEADY_STATE_LOST = "steady_state_lost"
    HEALTH_DID_NOT_TELL = "health_did_not_tell"
    HEALTH_COMPLAINS = "health_complains"
    CLIENTS_HARMED = "clients_harmed"
    CLIENTS_UNHARMED = "clients_unharmed"
    METRICS_DISAGREE = "metrics_disagree"
    BUDGET_CHARGED = "budget_charged"
    WRITE_LOST = "write_lost"
    WRITE_TWICE = "write_twice"
    LOG_MISSING = "log_missing"
    LOG_NOT_STORED = "log_not_stored"
    ERROR_LOGGED = "error_logged"
    SPAN_MISSING = "span_missing"
    NOTIFICATION_STORM = "notification_storm"
    # Nothing could be proven.
    FAULT_NOT_PROVEN = "fault_not_proven"
    FAULT_NOT_HEALED = "fault_not_healed"
    NO_TRAFFIC = "no_traffic"
    LOAD_INVALID = "load_invalid"
    MACHINE_TOO_SLOW = "machine_too_slow"
    NO_DATA = "no_data"
    NOT_COVERED = "not_covered"
    NOT_ON_THIS_CLOCK = "not_on_this_clock"
    NOT_MONOTONE = "not_monotone"
    STACK_BROKEN = "stack_broken"
    PRECONDITION_UNMET = "precondition_unmet"
    INTERRUPTED = "interrupted"

    @property
    def verdict(self) -> Verdict:
        return Verdict.UNKNOWN if self in _UNKNOWN else Verdict.FAIL


_UNKNOWN = frozenset(
    {
        Reason.FAULT_NOT_PROVEN,
        Reason.FAULT_NOT_HEALED,
        Reason.NO_TRAFFIC,
        Reason.LOAD_INVALID,
        Reason.MACHINE_TOO_SLOW,
        Reason.NO_DATA,
        Reason.NOT_COVERED,
        Reason.NOT_ON_THIS_CLOCK,
        Reason.NOT_MONOTONE,
        Reason.STACK_BROKEN,
        Reason.PRECONDITION_UNMET,
        Reason.INTERRUPTED,
    }
)


@dataclass(frozen=True)
class Finding:
    """One thing that keeps a drill from passing: a reason for machines, words for people."""

    reason: Reason
    message: str

    @property
    def verdict(self) -> Verdict:
        return self.reason.verdict

    def document(self) -> dict[str, str]:
        """The finding's entry in ``verdict.json``."""
        return {
            "reason": self.reason.value,
            "verdict": self.verdict.word,
            "message": self.message,
        }
