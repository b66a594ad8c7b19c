"""What a matrix says: alerts that nothing fires, faults that nothing notices, wrong ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from alertdrill.rules.coverage.incident import QUIET, Incident, State
from alertdrill.rules.coverage.matrix import Matrix
from alertdrill.verdict import Verdict


class Kind(StrEnum):
    """What a finding is about."""

    NEVER_FIRES = "never_fires"
    UNNOTICED = "unnoticed"
    WRONG_FAULT = "wrong_fault"
    DID_NOT_FIRE = "did_not_fire"
    DIFFERS = "live_and_virtual_differ"
    NOT_JUDGED = "not_judged"


@dataclass(frozen=True)
class Finding:
    """One thing that keeps coverage from passing, or (``PASS``) that the project gave a reason
    for."""

    verdict: Verdict
    kind: Kind
    message: str
    alert: str | None = None
    fault: str | None = None

    def document(self) -> dict[str, object]:
        return {**vars(self), "verdict": self.verdict.word}


@dataclass(frozen=True)
class Reasons:
    """What ``alertdrill.toml`` says: why no drill fires an alert, why none notices a fault."""

    undrilled: Mapping[str, str]
    unnoticed: Mapping[str, str]


NO_REASONS = Reasons({}, {})


@dataclass(frozen=True)
class Judgement:
    """``fired_by``: the faults under which an alert fired; ``noticed_by``: the alerts that fired
    under a fault where they should or may."""

    matrix: Matrix
    fired_by: dict[str, tuple[str, ...]]
    noticed_by: dict[str, tuple[str, ...]]
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst finding; without any alert or fault, unknown."""
        proven = Verdict.PASS if any(self.fired_by.values()) else Verdict.UNKNOWN
        return Verdict.worst([proven, *(finding.verdict for finding in self.findings)])


def judge(matrix: Matrix, reasons: Reasons = NO_REASONS) -> Judgement:
    """Every answer, and what is wrong or unknown."""
    fired_by = {alert: _fired_by(matrix, alert) for alert in matrix.alerts}
    noticed_by = {
        fault: _noticed_by(matrix, fault)
        for fault in matrix.faults
        if not any(one.fault == fault and one.is_control for one in matrix.incidents)
    }
    findings = (
        *_never_fires(matrix, fired_by, reasons.undrilled),
        *_unnoticed(matrix, noticed_by, reasons.unnoticed),
        *(one for incident in matrix.incidents for one in _cells(matrix, incident)),
        *_not_judged(matrix),
    )
    return Judgement(matrix, fired_by, noticed_by, findings)


def _fired_by(matrix: Matrix, alert: str) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(
            incident.fault
            for incident in matrix.incidents
            if not incident.is_control
            and any(seen.fired for seen in incident.sights(alert).values())
        )
    )


def _noticed_by(matrix: Matrix, fault: str) -> tuple[str, ...]:
    """Whichever alerts are asked about: one of another rule file notices it just as well."""
    return tuple(
        sorted(
            {
                alert
                for incident in matrix.incidents
                if incident.fault == fault
                for alert in incident.alerts
                if any(
                    seen.fired and seen.expected != QUIET
                    for seen in incident.sights(alert).values()
                )
            }
        )
    )


def _never_fires(
    matrix: Matrix, fired_by: Mapping[str, tuple[str, ...]], undrilled: Mapping[str, str]
) -> Iterator[Finding]:
    for alert, faults in fired_by.items():
        if faults:
            continue
        unknown = sorted(
            incident.id
            for incident in matrix.incidents
            if any(seen.state is State.UNKNOWN for seen in incident.sights(alert).values())
        )
        doubt = matrix.missing.get(alert) or (
            f"it was not judged under {', '.join(unknown)}" if unknown else ""
        )
        if alert in undrilled:
            verdict, message = Verdict.PASS, f"no fault fires it: {undrilled[alert]}"
        elif doubt:
            verdict, message = Verdict.UNKNOWN, f"no fault was seen to fire it, but {doubt}"
        else:
            verdict = Verdict.FAIL
            message = (
                "no fault fires it: add a drill that does, or say in alertdrill.toml why there is "
                f'none ([alerts.{alert}], undrilled = "...")'
            )
        yield Finding(verdict, Kind.NEVER_FIRES, message, alert=alert)


def _unnoticed(
    matrix: Matrix, noticed_by: Mapping[str, tuple[str, ...]], unnoticed: Mapping[str, str]
) -> Iterator[Finding]:
    for fault, alerts in noticed_by.items():
        if alerts:
            continue
        unknown = any(
            seen.state is State.UNKNOWN
            for incident in matrix.incidents
            if incident.fault == fault
            for alert in incident.alerts
            for seen in incident.sights(alert).values()
        )
        if fault in unnoticed:
            verdict, message = Verdict.PASS, f"no alert notices it: {unnoticed[fault]}"
        elif unknown:
            verdict = Verdict.UNKNOWN
            message = "no alert was seen to notice it, but not all were judged"
        else:
            verdict = Verdict.FAIL
            message = (
                "no alert notices it: add a rule that does, or say in alertdrill.toml why none "
                f'must ([faults."{fault}"], unnoticed = "...")'
            )
        yield Finding(verdict, Kind.UNNOTICED, message, fault=fault)


def _cells(matrix: Matrix, incident: Incident) -> Iterator[Finding]:
    for alert in matrix.alerts:
        for where, seen in incident.sights(alert).items():
            at = f"({where} of {incident.id})"
            if seen.is_wrong:
                words = "with nothing broken" if incident.is_control else "where it must stay quiet"
                message = f"{seen.why or f'fired {words}'} {at}"
                yield Finding(Verdict.FAIL, Kind.WRONG_FAULT, message, alert, incident.fault)
            elif seen.is_missed:
                message = f"{seen.why or 'did not fire where it must'} {at}"
                yield Finding(Verdict.FAIL, Kind.DID_NOT_FIRE, message, alert, incident.fault)
        how = matrix.differs(incident, alert)
        if how:
            message = f"live drill and replay differ ({incident.id}): it {how}"
            yield Finding(Verdict.UNKNOWN, Kind.DIFFERS, message, alert, incident.fault)


def _not_judged(matrix: Matrix) -> Iterator[Finding]:
    """What no run or replay could say, once for each reason."""

    def finding(message: str, alert: str | None = None, fault: str | None = None) -> Finding:
        return Finding(Verdict.UNKNOWN, Kind.NOT_JUDGED, message, alert, fault)

    live = matrix.live
    if live is not None:
        if not live.incidents:
            yield finding("no drill ran")
        elif not live.whole:
            yield finding("the live run left out drills: what they would show is not known")
        for incident in live.incidents:
            if incident.id in live.doubts:
                words = f"the live drill {incident.id} proves nothing: {live.doubts[incident.id]}"
                yield finding(words, fault=incident.fault)
    reasons: dict[tuple[str, str], list[str]] = {}
    for incident in matrix.incidents:
        for alert in matrix.alerts:
            seen = incident.virtual.get(alert)
            if seen is not None and seen.state is State.UNKNOWN:
                reasons.setdefault((alert, seen.why), []).append(incident.id)
    for (alert, why), where in reasons.items():
        yield finding(f"the replay of {', '.join(where)} does not know: {why}", alert)
