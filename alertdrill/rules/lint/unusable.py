"""Alerts that help nobody when they fire: checks AD307 and AD401 to AD409."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from promql_parser import Expr

from alertdrill.rules.lint.examples import example
from alertdrill.rules.lint.finding import Severity
from alertdrill.rules.lint.labels import (
    Labels,
    branches,
    is_absence,
    labels_of,
    raw_selectors,
)
from alertdrill.rules.lint.rule_check import Context, Problem, RuleCheck
from alertdrill.rules.lint.subject import Rule
from alertdrill.rules.lint.templates import labels_used, mistakes, uses_value
from alertdrill.rules.lint.words import words
from alertdrill.rules.promql import metric_name

SEVERITY = "severity"
_RUNBOOKS = ("runbook_url", "runbook", "runbook_link", "runbook_uri", "runbookUrl", "playbook")
_TEXTS = ("summary", "description", "message", "title")


def _no_severity(rule: Rule, context: Context) -> Iterator[Problem]:
    if SEVERITY not in rule.labels or not rule.labels[SEVERITY].value:
        routed = context.alertmanager is not None and any(
            matcher.label == SEVERITY
            for route in context.alertmanager.route.walk()
            for matcher in route.matchers
        )
        yield Problem(
            "no severity"
            + (", and Alertmanager routes by it" if routed else ": is it a page or a ticket?"),
            spot=rule.name.spot(),
            severity=Severity.ERROR if routed else None,
        )


def _no_runbook(rule: Rule, context: Context) -> Iterator[Problem]:
    if not any(rule.annotations[k].value for k in _RUNBOOKS if k in rule.annotations):
        yield Problem(
            "no runbook: whoever is woken starts from nothing",
            spot=rule.name.spot(),
        )


def _no_such_runbook(rule: Rule, context: Context) -> Iterator[Problem]:
    for key in _RUNBOOKS:
        text = rule.annotations.get(key)
        if text is None or not text.value or "{{" in text.value or "://" in text.value:
            continue
        value = text.value.split("#")[0].strip()
        # Prose is a runbook, too; a path has an extension and no spaces.
        is_path = bool(Path(value).suffix) and not any(char.isspace() for char in value)
        if is_path and not _exists(value, rule.path):
            yield Problem(f"there is no runbook {value}", spot=text.spot())


def _exists(value: str, rules: Path) -> bool:
    """Whether ``value`` is a file, seen from the rule file's folder or one above it."""
    try:
        above = rules.resolve().parents
        return any((folder / value).is_file() for folder in above)
    except (OSError, ValueError):
        return False


def _label_aggregated_away(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    found = labels_of(tree)
    if all(is_absence(branch) for branch in branches(tree)):
        return  # AD307's subject
    for key, text in {**rule.annotations, **rule.labels}.items():
        for label in dict.fromkeys(labels_used(text.value)):
            if not found.may_have(label):
                yield Problem(
                    f"{key} names the label {label}, which the expression doesn't have "
                    f"({_words(found)})",
                    spot=text.spot(label),
                )


def _words(found: Labels) -> str:
    names = ", ".join(sorted(found.names))
    if found.exact:
        return f"its result has {names or 'no labels'}"
    return f"it drops {names}"


def _broken_template(rule: Rule, context: Context) -> Iterator[Problem]:
    for key, text in {**rule.annotations, **rule.labels}.items():
        for word, what in mistakes(text.value):
            yield Problem(f"{key}: {what}", spot=text.spot(word))


def _value_in_label(rule: Rule, context: Context) -> Iterator[Problem]:
    for key, text in rule.labels.items():
        if uses_value(text.value):
            waits = rule.for_ms > 0
            yield Problem(
                f"label {key} changes with the value: each evaluation makes a new alert"
                + (", and none of them ever lasts as long as for asks" if waits else ""),
                spot=text.spot(),
            )


def _nothing_to_read(rule: Rule, context: Context) -> Iterator[Problem]:
    if not any(rule.annotations[key].value for key in _TEXTS if key in rule.annotations):
        yield Problem("neither summary nor description", spot=rule.name.spot())


# Names that have a value per request, person or message.
_UNBOUNDED = words(
    "url uri path request_path request_uri user user_id userid username email customer_id"
    " session session_id request_id req_id trace_id traceid span_id correlation_id transaction_id"
    " order_id message error_message query sql client_ip remote_addr remote_ip source_ip ip"
    " user_agent uuid guid timestamp"
)
_MANY_VALUES = 200


def _high_cardinality(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    found = labels_of(tree)
    for label in sorted(found.names & _UNBOUNDED) if found.exact else ():
        yield Problem(
            f"one alert for each {label}: an incident sends as many notifications as there are",
            word=label,
        )
    if context.exposed is None:
        return
    for selector in raw_selectors(tree):
        series = context.exposed.series.get(metric_name(selector) or "", [])
        for label in sorted({name for one in series for name in one}):
            values = {one.get(label) for one in series}
            if len(values) >= _MANY_VALUES and found.may_have(label):
                yield Problem(
                    f"one alert for each {label}, of which {len(values)} are exposed",
                    word=metric_name(selector) or "",
                )


_GOOD = example('up{job="app"} == 0')


def _with(text: str, old: str, new: str) -> str:
    assert old in text, old
    return text.replace(old, new)


def _labels_of_absence(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    alternatives = branches(tree)
    absences = [b for b in alternatives if is_absence(b)]
    # A label that the other alternatives lack as well is AD404's subject.
    others = [labels_of(b) for b in alternatives if not is_absence(b)]
    if not absences:
        return
    texts = {**rule.annotations, **rule.labels}
    for key, text in texts.items():
        for label in labels_used(text.value):
            lacking = [a for a in absences if not labels_of(a).may_have(label)]
            if lacking and (not others or any(other.may_have(label) for other in others)):
                yield Problem(
                    f"{key} names the label {label}, which absent() doesn't have: "
                    "it is empty just when everything is gone",
                    spot=text.spot(label),
                    fix=f"write it without {label}, or as "
                    f"{{{{ with $labels.{label} }}}}…{{{{ end }}}}",
                )


CHECKS: tuple[RuleCheck, ...] = (
    RuleCheck(
        code="AD307",
        severity=Severity.WARNING,
        title="absent() without the label that a template names",
        why="absent() has only the labels that its selector asks for by =. Whoever reads the "
        "alert finds a blank in its place.",
        fix="write the text without that label",
        alerts_only=True,
        bad=example('up{job="app"} == 0 or absent(up{job="app"})').replace(
            "Something is wrong", '"{{ $labels.instance }} is down"'
        ),
        good=example('up{job="app"} == 0 or absent(up{job="app"})').replace(
            "Something is wrong", '"{{ $labels.job }} is down"'
        ),
        of_tree=_labels_of_absence,
    ),
    RuleCheck(
        code="AD401",
        severity=Severity.WARNING,
        title="no severity",
        why="Routes and people tell by it whether to get up at night. An error where "
        "Alertmanager routes by it.",
        fix="add a label severity, e.g. critical or warning",
        alerts_only=True,
        bad=_with(_GOOD, "{severity: critical}", "{team: app}"),
        good=_GOOD,
        of_rule=_no_severity,
    ),
    RuleCheck(
        code="AD402",
        severity=Severity.WARNING,
        title="no runbook",
        why="Whoever is woken has to find out what the alert means and what to do about it.",
        fix="add an annotation runbook_url",
        alerts_only=True,
        bad=_with(_GOOD, "          runbook_url: https://runbooks.example.org/example\n", ""),
        good=_GOOD,
        of_rule=_no_runbook,
    ),
    RuleCheck(
        code="AD403",
        severity=Severity.ERROR,
        title="the runbook doesn't exist",
        why="A link that leads nowhere is found out about during the incident. Files are looked "
        "for from the rule file's folder upwards; URLs are not fetched.",
        fix="write the runbook, or correct its path",
        alerts_only=True,
        beside={"runbooks/Example.md": "# Example\n"},
        bad=_with(_GOOD, "https://runbooks.example.org/example", "runbooks/Exmaple.md"),
        good=_with(_GOOD, "https://runbooks.example.org/example", "runbooks/Example.md"),
        of_rule=_no_such_runbook,
    ),
    RuleCheck(
        code="AD404",
        severity=Severity.ERROR,
        title="a template names a label that was aggregated away",
        why="The text has a blank where the reader looks for what is broken.",
        fix="keep the label in by (…), or take it out of the text",
        alerts_only=True,
        bad=_with(
            example("sum by (job) (rate(http_requests_failed_total[5m])) > 5"),
            "Something is wrong",
            '"{{ $labels.instance }} fails"',
        ),
        good=_with(
            example("sum by (job, instance) (rate(http_requests_failed_total[5m])) > 5"),
            "Something is wrong",
            '"{{ $labels.instance }} fails"',
        ),
        of_tree=_label_aggregated_away,
    ),
    RuleCheck(
        code="AD405",
        severity=Severity.ERROR,
        title="a template that can't be executed",
        why="Prometheus refuses the file, or sends the error message instead of the text.",
        fix="use Prometheus' own template functions, and close what is opened",
        bad=_with(_GOOD, "Something is wrong", '"{{ $value | humanizePercent }} fail"'),
        good=_with(_GOOD, "Something is wrong", '"{{ $value | humanizePercentage }} fail"'),
        of_rule=_broken_template,
    ),
    RuleCheck(
        code="AD406",
        severity=Severity.ERROR,
        title="the value in a label",
        why="Labels are an alert's identity. With another value it is another alert, pending "
        "from the start again: with `for` it never fires, without it each evaluation sends one.",
        fix="put the value into an annotation",
        bad=_with(_GOOD, "{severity: critical}", '{severity: critical, now: "{{ $value }}"}'),
        good=_with(_GOOD, "Something is wrong", '"Now {{ $value }}"'),
        of_rule=_value_in_label,
    ),
    RuleCheck(
        code="AD407",
        needs=("metrics",),
        severity=Severity.WARNING,
        title="one alert for each of very many",
        why="A label with a value per request, person or path makes an alert for each of them. "
        "With --metrics, labels with 200 exposed values or more count as that.",
        fix="aggregate the label away, and name the worst in a dashboard",
        alerts_only=True,
        bad=example("sum by (path) (rate(http_requests_failed_total[5m])) > 5"),
        good=example("sum by (job) (rate(http_requests_failed_total[5m])) > 5"),
        of_tree=_high_cardinality,
    ),
    RuleCheck(
        code="AD409",
        severity=Severity.WARNING,
        title="nothing to read",
        why="Without a summary or a description, the notification is a list of labels.",
        fix="add an annotation summary that says what is wrong for whom",
        alerts_only=True,
        bad=_with(_GOOD, "          summary: Something is wrong\n", ""),
        good=_GOOD,
        of_rule=_nothing_to_read,
    ),
)
