"""All checks of one drill, asked together: what one of them can't tell is a finding of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from alertdrill.checks.agreement import Agreement
from alertdrill.checks.clients import Clients
from alertdrill.checks.contract import Check, View
from alertdrill.checks.health import Health
from alertdrill.checks.logs import Logs
from alertdrill.checks.promises import Promises
from alertdrill.checks.shipping import Shipping
from alertdrill.checks.storms import Storms
from alertdrill.checks.traces import TraceBlame
from alertdrill.config import Config
from alertdrill.drill import Drill
from alertdrill.errors import AlertdrillError, UsageError
from alertdrill.premises import reason_of
from alertdrill.verdict import Finding, Verdict


def checks_of(drill: Drill, config: Config) -> list[Check]:
    """Every check that ``drill`` and the project ask for. Raises UsageError when the drill
    expects what ``alertdrill.toml`` doesn't say how to look at."""
    refuse_unaskable(drill, config)
    checks: list[Check] = [Clients(), Storms()]
    if drill.logs is not None or drill.is_control:
        checks.append(Logs())
    if config.health is not None:  # after the logs: what is asked again there is logged as well
        checks.append(Health(config.health))
    slis = [sli for sli in config.slis if sli.user in drill.load.rates]
    if slis:
        checks.append(Agreement(slis))
    if config.promises is not None:
        checks.append(Promises(config.load_promises()))
    if (drill.logs_arrive or drill.is_control) and config.log_store is not None:
        checks.append(Shipping(config.log_store))
    if drill.blames is not None and config.traces is not None:
        checks.append(TraceBlame(config.traces, drill.blames))
    return checks


def refuse_unaskable(drill: Drill, config: Config) -> None:
    """Raise UsageError when ``drill`` expects what the project doesn't say how to look at."""
    file, line = drill.declared_at
    needs = (
        ("health", drill.health, config.health),
        ("traces", drill.blames, config.traces),
        ("log_store", drill.logs_arrive or None, config.log_store),
    )
    for name, expected, section in needs:
        if expected is not None and section is None:
            raise UsageError(
                f"{drill.title!r} expects something of {name}, and alertdrill.toml has no [{name}]",
                file=file,
                line=line,
            )


class Panel:
    """Asks ``checks`` and keeps what each of them found."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = checks
        self._findings: dict[str, list[Finding]] = {check.id: [] for check in checks}
        self._is_complete = False

    def under_fault(self, view: View) -> list[Finding]:
        return self._ask(lambda check: check.under_fault(view))

    def after(self, view: View) -> list[Finding]:
        found = self._ask(lambda check: check.after(view))
        self._is_complete = True
        return found

    def documents(self) -> list[dict[str, Any]]:
        """One entry per check for ``verdict.json``; unknown where it wasn't asked to the end."""
        return [self._document(check) for check in self._checks]

    def _ask(self, question: Callable[[Check], list[Finding]]) -> list[Finding]:
        asked: list[Finding] = []
        for check in self._checks:
            try:
                found = question(check)
            except AlertdrillError as error:
                found = [Finding(reason_of(error), f"{check.id}: {error}")]
            self._findings[check.id] += found
            asked += found
        return asked

    def _document(self, check: Check) -> dict[str, Any]:
        measured = check.document()
        found = self._findings[check.id]
        verdict, reason = Verdict.PASS, None
        if found:
            verdict = Verdict.worst(finding.verdict for finding in found)
            reason = next(f.reason.value for f in found if f.verdict is verdict)
        elif "not_verified" in measured:
            verdict, reason = Verdict.UNKNOWN, "not_verified"
        elif not self._is_complete:
            verdict, reason = Verdict.UNKNOWN, "not_asked"
        return {"id": check.id, "verdict": verdict.word, "reason": reason, **measured}
