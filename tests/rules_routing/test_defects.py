"""Each planted defect is found by a real Alertmanager, and the project without it passes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alertdrill.rules.programs import Program
from alertdrill.rules.routing.finding import Code
from alertdrill.rules.routing.run import Report, answer
from alertdrill.verdict import Verdict
from tests.rules_routing.project import CLEAN, Project

pytestmark = pytest.mark.docker

AT_ONCE = 6


def codes(report: Report) -> dict[str, set[Code]]:
    """Codes by alert; those of the whole under the empty name."""
    found = {"": {finding.code for finding in report.findings}}
    for judged in report.alerts:
        own = found.setdefault(judged.firing.rule.name, set())
        own.update(finding.code for finding in judged.findings)
    return {name: own for name, own in found.items() if own}


Put = Callable[[Project], Report]


@pytest.fixture(scope="module")
def put(tmp_path_factory: pytest.TempPathFactory, program: Program, promtool_path: Path) -> Put:
    """Put a project to Alertmanager. Most of it is waiting, so all of them wait together."""

    def run(project: Project) -> Report:
        folder = tmp_path_factory.mktemp("project")
        return answer(project.question(folder), lambda: program, lambda: promtool_path)

    projects = [CLEAN, *(project for project, *_ in (*DEFECTS.values(), *OTHERS.values()))]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        reports = dict(zip(projects, pool.map(run, projects), strict=True))
    return reports.__getitem__


def test_a_sound_project_passes(put: Put) -> None:
    report = put(CLEAN)
    assert codes(report) == {}
    assert report.verdict is Verdict.PASS
    down, errors, watchdog = report.alerts
    assert [d.receiver for d in down.deliveries] == ["oncall"]
    assert down.firing.annotations == {"summary": "<instance> is down"}
    assert [d.receiver for d in errors.deliveries] == ["team"]
    assert errors.inhibited_by == ("Down",)
    assert [d.receiver for d in watchdog.deliveries] == ["nobody"]
    (delivery,) = down.deliveries
    assert delivery.first_s >= 0.1
    assert delivery.repeat_s is not None
    assert delivery.repeat_s >= 0.6
    assert delivery.resolved_s is not None


WRONG_ROUTE = CLEAN.but(
    "alertmanager", 'severity="critical"]\n      receiver: oncall', 'severity="critical"]'
)

DEFECTS = {
    "wrong route": (WRONG_ROUTE, {"Down": {Code.WRONG_RECEIVER}}),
    "a severity without a route": (
        CLEAN.but("alerts", "severity: warning", "severity: warn").as_mere_files(),
        {"Errors": {Code.DEFAULT_ROUTE}},
    ),
    "a severity that isn't the specified one": (
        CLEAN.but("alerts", "severity: warning", "severity: warn"),
        {"Errors": {Code.WRONG_LABELS}},
    ),
    "send_resolved false": (
        CLEAN.but("alertmanager", "send_resolved: true", "send_resolved: false"),
        {"Errors": {Code.NEVER_RESOLVED}},
    ),
    "a receiver without integrations": (
        CLEAN.but("alertmanager", "receiver: oncall", "receiver: nobody"),
        {"Down": {Code.WRONG_RECEIVER, Code.NO_RECEIVER}},
    ),
    "a typing error in an inhibition": (
        CLEAN.but("alertmanager", 'alertname="Down"', 'alertname="Dwon"'),
        {"": {Code.DEAD_INHIBITION}},
    ),
    "two that inhibit one another": (
        CLEAN.but(
            "alertmanager",
            "inhibit_rules:",
            "inhibit_rules:\n"
            '  - {source_matchers: [symptom="app"], target_matchers: [alertname="Down"]}',
        ),
        {"Down": {Code.INHIBIT_ONE_ANOTHER}, "Errors": {Code.INHIBIT_ONE_ANOTHER}},
    ),
    "inhibited by an alert that always fires": (
        CLEAN.but("alertmanager", 'alertname="Down"', 'alertname=~"Down|Watchdog"'),
        {"Errors": {Code.ALWAYS_INHIBITED}},
    ),
    "a label that the alert doesn't have": (
        CLEAN.but("alerts", "$labels.service", "$labels.instance"),
        {"Errors": {Code.TEMPLATE_LABEL}},
    ),
    "a function that doesn't exist": (
        CLEAN.but("alerts", "humanize", "humanise"),
        {"Errors": {Code.TEMPLATE_FAILED}},
    ),
    "a receiver's text with an unknown template": (
        CLEAN.but("alertmanager", '"our.title"', '"our.titel"'),
        {"": {Code.TEMPLATE_FAILED}},
    ),
    "a receiver's template with an unknown label": (
        CLEAN.but("texts", ".CommonLabels.alertname", ".CommonLabels.cluster"),
        {"": {Code.TEMPLATE_LABEL}},
    ),
    "severities in one message": (
        CLEAN.but(
            "alertmanager",
            '"critical"]\n      receiver: oncall',
            '"critical"]\n      receiver: oncall\n      continue: true\n'
            '    - matchers: [severity=~"critical|warning"]\n      group_by: [team]\n'
            "      receiver: team",
        ),
        {"": {Code.MERGED_SEVERITIES, Code.SOMETIMES_EMPTY}, "Down": {Code.WRONG_RECEIVER}},
    ),
}


OTHERS = {
    "an inhibition for rules that aren't here": (
        CLEAN.but("alertmanager", 'alertname="Down"', 'alertname="Elsewhere"').as_mere_files(),
        {"": {Code.UNUSED_INHIBITION}},
        Verdict.PASS,
    ),
    "a template that asks for data": (
        CLEAN.but("alerts", "$labels.service", 'query "up" | first | value'),
        {"Errors": {Code.NOT_RENDERED}},
        Verdict.UNKNOWN,
    ),
    "a label that one side of an or lacks": (
        CLEAN.but("alerts", 'up{job="app"} == 0', 'up{job="app"} == 0 or absent(up{job="app"})'),
        {"Down": {Code.SOMETIMES_EMPTY}},
        Verdict.PASS,
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_no_failure(case: str, put: Put) -> None:
    project, expected, verdict = OTHERS[case]
    report = put(project)
    assert codes(report) == expected
    assert report.verdict is verdict


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_found(defect: str, put: Put) -> None:
    project, expected = DEFECTS[defect]
    report = put(project)
    found = codes(report)
    assert found == expected, [f.message for a in report.alerts for f in a.findings]
    assert report.verdict is Verdict.FAIL
