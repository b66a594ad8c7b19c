"""Ranges, scrapes, evaluations and waits that do not fit together: AD209, AD303, AD308, AD309."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser as promql
from promql_parser import Expr

from alertdrill.rules.durations import format_ms
from alertdrill.rules.lint.examples import (
    ALERTMANAGER,
    PROMETHEUS,
    example,
)
from alertdrill.rules.lint.expressions import (
    TWO_SAMPLES,
    called,
    calls,
)
from alertdrill.rules.lint.finding import Severity
from alertdrill.rules.lint.labels import (
    is_recorded_name,
)
from alertdrill.rules.lint.rule_check import Context, Problem, RuleCheck
from alertdrill.rules.lint.subject import Rule
from alertdrill.rules.promql import (
    as_ms,
    equal_matcher,
    metric_name,
)


def ranges(rule: Rule, context: Context) -> Iterator[tuple[str, int, int]]:
    """Each call that needs two samples: its name, its range and the scrape interval, in ms."""
    if context.prometheus is None:
        return
    for call, _ in calls(rule, TWO_SAMPLES):
        matrix = call.args[0]
        if not isinstance(matrix, promql.MatrixSelector):
            continue
        selector = matrix.vector_selector
        job = equal_matcher(selector, "job")
        scrape_ms = context.prometheus.scrape_ms(frozenset({job} if job else ()))
        if scrape_ms and not is_recorded_name(metric_name(selector) or ""):
            yield called(call), as_ms(matrix.range), scrape_ms


def _range_too_short(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for name, range_ms, scrape_ms in ranges(rule, context):
        if range_ms < 2 * scrape_ms:
            yield Problem(
                f"{name}() over {format_ms(range_ms)}, scraped every {format_ms(scrape_ms)}: "
                "it needs two samples and often or always finds fewer",
                word=name,
                fix=f"ask for at least {format_ms(4 * scrape_ms)}",
            )


def _range_of_few_scrapes(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for name, range_ms, scrape_ms in ranges(rule, context):
        if 2 * scrape_ms <= range_ms < 4 * scrape_ms:
            yield Problem(
                f"{name}() over {format_ms(range_ms)}, scraped every {format_ms(scrape_ms)}: "
                "one lost scrape leaves it without a result",
                word=name,
                fix=f"ask for at least {format_ms(4 * scrape_ms)}",
            )


def _for_below_interval(rule: Rule, context: Context) -> Iterator[Problem]:
    interval = rule.group.interval_ms
    if interval is None and context.prometheus is not None:
        interval = context.prometheus.evaluation_ms
    if interval is not None and rule.for_text is not None and 0 < rule.for_ms < interval:
        yield Problem(
            f"for is {format_ms(rule.for_ms)}, but the rule is evaluated every "
            f"{format_ms(interval)}: one evaluation can't tell that something lasts",
            spot=rule.for_text.spot(),
            fix="wait for two evaluations at least, or drop for",
        )


def _group_interval_above_for(rule: Rule, context: Context) -> Iterator[Problem]:
    if context.alertmanager is None or rule.for_text is None or rule.for_ms <= 0:
        return
    _, interval_s, _ = context.alertmanager.timing_for(rule.fixed_labels)
    if interval_s * 1000 > rule.for_ms:
        yield Problem(
            f"for is {format_ms(rule.for_ms)}, but news of a group waits for group_interval "
            f"{format_ms(round(interval_s * 1000))}: an alert that joins one is told that much "
            "later, and may have ended by then",
            spot=rule.for_text.spot(),
        )


CHECKS: tuple[RuleCheck, ...] = (
    RuleCheck(
        code="AD209",
        needs=("prometheus.yml",),
        severity=Severity.ERROR,
        title="a range shorter than two scrapes",
        why="rate() and its like need two samples. Over a shorter range they have no result, or "
        "one now and then, which resets `for`.",
        fix="ask for at least four scrape intervals",
        beside={"prometheus.yml": PROMETHEUS},
        bad=example("rate(http_requests_total[45s]) > 100"),
        good=example("rate(http_requests_total[2m]) > 100"),
        of_tree=_range_too_short,
    ),
    RuleCheck(
        code="AD303",
        needs=("prometheus.yml",),
        severity=Severity.WARNING,
        title="a range of fewer than four scrapes",
        why="One lost scrape leaves too few samples, the expression has no result, and `for` "
        "starts again.",
        fix="ask for at least four scrape intervals",
        beside={"prometheus.yml": PROMETHEUS},
        bad=example("rate(http_requests_total[1m]) > 100"),
        good=example("rate(http_requests_total[2m]) > 100"),
        of_tree=_range_of_few_scrapes,
    ),
    RuleCheck(
        code="AD308",
        needs=("prometheus.yml",),
        severity=Severity.WARNING,
        title="for is shorter than the evaluation interval",
        why="The next evaluation is later than `for` asks: what is meant to last for 30 s is "
        "told from a single evaluation, or a minute later.",
        fix="make for at least two evaluation intervals",
        alerts_only=True,
        beside={"prometheus.yml": PROMETHEUS},
        bad=example('up{job="app"} == 0').replace("10m", "30s"),
        good=example('up{job="app"} == 0').replace("10m", "2m"),
        of_rule=_for_below_interval,
    ),
    RuleCheck(
        code="AD309",
        needs=("alertmanager.yml",),
        severity=Severity.WARNING,
        title="group_interval is longer than for",
        why="An alert that joins a group which has been told of already waits for "
        "group_interval: longer than the alert itself was made to wait.",
        fix="make group_interval of its route shorter than for",
        alerts_only=True,
        beside={"alertmanager.yml": ALERTMANAGER},
        bad=example('up{job="app"} == 0').replace("10m", "2m"),
        good=example('up{job="app"} == 0'),
        of_rule=_group_interval_above_for,
    ),
)
