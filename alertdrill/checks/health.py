"""Health: the target's own document must say what is broken under the fault, and all well after."""

from __future__ import annotations

from typing import Any

from alertdrill.checks.contract import Check, View
from alertdrill.checks.expected import HealthExpected
from alertdrill.config import HealthPage
from alertdrill.errors import DeadlineExceeded
from alertdrill.signals.health import HealthReport, read_health
from alertdrill.verdict import Finding, Reason
from alertdrill.wait import eventually

# Between two looks; each of them makes the system look at all of its neighbours.
PAUSE_S = 0.5


class Health(Check):
    """Not asserted under the fault by a drill that says nothing about it, but for the control and
    faults that spare the users: there everything must be well."""

    id = "health"

    def __init__(self, page: HealthPage) -> None:
        self._page = page
        self._seen: dict[str, str] = {}

    def under_fault(self, view: View) -> list[Finding]:
        nothing_broken = view.spares_users
        expected = {} if nothing_broken else view.drill.health
        return [] if expected is None else self._ask(view, expected, "under the fault")

    def after(self, view: View) -> list[Finding]:
        return self._ask(view, {}, "after healing")

    def document(self) -> dict[str, Any]:
        words = (f"{said} {when}" for when, said in self._seen.items())
        return {"seen": "; ".join(words)}

    def _ask(self, view: View, expected: HealthExpected, when: str) -> list[Finding]:
        page = self._page
        url = view.bench.stack.url(page.component, page.port) + page.path
        wrong: Finding | None = None

        def right() -> bool:
            nonlocal wrong
            report = read_health(url, page.checks)
            self._seen[when] = f"no answer ({report})" if isinstance(report, str) else str(report)
            wrong = complaint(report, expected)
            return wrong is None

        try:
            eventually(right, timeout_s=page.within_s, what="the health", interval_s=PAUSE_S)
        except DeadlineExceeded:
            assert wrong is not None
            deadline = f"deadline {page.within_s:g} s, within_s of [health]"
            return [Finding(wrong.reason, f"{page.path} {when}: {wrong.message} ({deadline})")]
        return []


def complaint(report: HealthReport | str, expected: HealthExpected) -> Finding | None:
    """What is wrong with ``report`` (a string: how nobody answered), if anything is."""
    unmoved, complains = Reason.HEALTH_DID_NOT_TELL, Reason.HEALTH_COMPLAINS
    if isinstance(report, str):
        if expected == "unreachable":
            return None
        return Finding(complains, f"nobody answers: {report}")
    if expected == "unreachable":
        return Finding(unmoved, f"it answers {report}; it should be unreachable")
    missing = sorted(expected.keys() - report.checks.keys())
    if missing:
        return Finding(unmoved, f"it says nothing of {', '.join(missing)}: {report}")
    for name, well in report.checks.items():
        wanted = expected.get(name, True)
        if wanted is False and well:
            return Finding(unmoved, f"it says that {name} is well: {report}")
        if wanted is True and not well:
            return Finding(complains, f"it says that {name} isn't well: {report}")
    # Load balancers read the status, not the document.
    if report.status < 400 and not all(report.checks.values()):
        return Finding(unmoved, f"its status says that all is well: {report}")
    if report.status >= 400 and all(report.checks.values()):
        return Finding(complains, f"its status says that something isn't well: {report}")
    return None
