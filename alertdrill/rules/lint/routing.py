"""alertmanager.yml beside the alerts: who is told, by AD116 to AD118."""

from __future__ import annotations

from collections.abc import Iterator

from alertdrill.rules.alertmanager import AlertmanagerConfig, Labels, Route
from alertdrill.rules.lint.examples import example
from alertdrill.rules.lint.finding import Check, Severity, Spot
from alertdrill.rules.lint.rule_check import Context, Problem, RuleCheck
from alertdrill.rules.lint.source import Note, Source
from alertdrill.rules.lint.subject import Rule
from alertdrill.rules.lint.unusable import SEVERITY


def _may_match(route: Route, labels: Labels) -> bool:
    """Whether an alert with ``labels`` may take ``route``: what else it has isn't known yet."""
    return all(m.matches(labels) for m in route.matchers if m.label in labels)


def _severity_without_route(rule: Rule, context: Context) -> Iterator[Problem]:
    if context.alertmanager is None or SEVERITY not in rule.labels:
        return
    text = rule.labels[SEVERITY]
    if "{{" in text.value:
        return
    root = context.alertmanager.route
    routed = [
        route
        for route in root.walk()
        if any(matcher.label == SEVERITY for matcher in route.matchers)
    ]
    labels = rule.fixed_labels
    if not routed or any(_may_match(route, labels) for route in root.routes):
        return
    yield Problem(
        f"no route takes severity {text.value!r}: the alert falls through to {root.receiver!r}",
        spot=text.spot(),
    )


def _nobody_told(rule: Rule, context: Context) -> Iterator[Problem]:
    config = context.alertmanager
    if config is None or rule.labels.get(SEVERITY) is None:
        return
    labels = rule.fixed_labels
    if any(_may_match(route, labels) for route in config.route.routes):
        return
    if not config.receiver(config.route.receiver).kinds:
        yield Problem(
            f"the alert reaches only {config.route.receiver!r}, a receiver that tells nobody",
            spot=rule.name.spot(),
        )


def unused_receivers(config: AlertmanagerConfig, source: Source) -> Iterator[Note]:
    """AD118 for each receiver that no route names."""
    used = {route.receiver for route in config.route.walk()}
    for receiver in config.receivers:
        if receiver.name not in used:
            yield Note(
                "AD118",
                f"no route uses receiver {receiver.name!r}",
                line_start(source, receiver.line),
            )


def line_start(source: Source, line: int) -> Spot:
    """Where the text of ``line`` begins."""
    lines = source.lines
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    return Spot(line, len(text) - len(text.lstrip()) + 1)


_CONFIG = """\
route:
  receiver: team
  group_interval: 1m
  routes:
    - matchers: [severity="critical"]
      receiver: oncall
    - matchers: [severity="warning"]
      receiver: team
receivers:
  - name: team
    webhook_configs: [{url: 'http://receiver:8080/team'}]
  - name: oncall
    webhook_configs: [{url: 'http://receiver:8080/oncall'}]
"""
_GOOD = example('up{job="app"} == 0')
_BESIDE = {"alertmanager.yml": _CONFIG}

CHECKS: tuple[Check, ...] = (
    RuleCheck(
        code="AD116",
        severity=Severity.WARNING,
        title="a severity that no route takes",
        why="Where routes go by severity, one that they don't know (often misspelt) falls "
        "through to the root's receiver.",
        fix="use a severity that has a route, or add a route for it",
        alerts_only=True,
        needs=("alertmanager.yml",),
        beside=_BESIDE,
        bad=_GOOD.replace("critical", "critcal"),
        good=_GOOD,
        of_rule=_severity_without_route,
    ),
    RuleCheck(
        code="AD117",
        severity=Severity.ERROR,
        title="an alert that reaches nobody",
        why="It falls through to a receiver without any integration.",
        fix="give the root a receiver that tells somebody, or the alert a route",
        alerts_only=True,
        needs=("alertmanager.yml",),
        beside=_BESIDE,
        bad_beside={
            "alertmanager.yml": _CONFIG.replace(
                "\n    webhook_configs: [{url: 'http://receiver:8080/team'}]", ""
            )
        },
        bad=_GOOD.replace("critical", "page"),
        good=_GOOD,
        of_rule=_nobody_told,
    ),
    Check(
        code="AD118",
        severity=Severity.WARNING,
        title="a receiver that no route uses",
        why="Whoever it belongs to believes that they will be told.",
        fix="add a route to it, or remove it",
        needs=("alertmanager.yml",),
        about="alertmanager.yml",
        beside={"rules.yml": _GOOD},
        bad=_CONFIG + "  - name: managers\n    webhook_configs: [{url: 'http://receiver:8080/'}]\n",
        good=_CONFIG,
    ),
)
