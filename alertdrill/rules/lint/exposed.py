"""Series that nobody exposes: checks AD206, AD207 and AD210."""

from __future__ import annotations

import re
from collections.abc import Iterator

import promql_parser as promql
from promql_parser import Expr

from alertdrill.rules.lint.examples import (
    METRICS,
    PROMETHEUS,
    example,
)
from alertdrill.rules.lint.exposition import Exposition, Series, as_float
from alertdrill.rules.lint.expressions import (
    called,
)
from alertdrill.rules.lint.finding import Severity
from alertdrill.rules.lint.kinds import SYNTHETIC
from alertdrill.rules.lint.labels import (
    ABSENT,
    TARGET,
    is_recorded_name,
)
from alertdrill.rules.lint.prometheus import Prometheus
from alertdrill.rules.lint.regexp import full_match
from alertdrill.rules.lint.rule_check import Context, Problem, RuleCheck
from alertdrill.rules.lint.subject import Rule, Visit
from alertdrill.rules.promql import (
    equal_matcher,
    metric_name,
    selectors,
)


def _no_such_series(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for asked in selectors(tree):
        yield from _contradiction(asked)
    if context.exposed is None:
        return
    said: set[str] = set()
    for visit in rule.visits:
        selector = visit.expr
        if not isinstance(selector, promql.VectorSelector) or selector.matchers.or_matchers:
            continue
        name = metric_name(selector)
        if name is None or name in SYNTHETIC or _asks_for_absence(visit):
            continue
        problem = _missing(selector, name, context.exposed, context.prometheus)
        if problem is not None and problem.message not in said:
            said.add(problem.message)
            yield problem


def _contradiction(selector: promql.VectorSelector) -> Iterator[Problem]:
    """Matchers of one selector that no value of their label meets together."""
    matchers = selector.matchers.matchers
    for exact in matchers:
        against = [
            other
            for other in matchers
            if other.name == exact.name and not _value_matches(other, exact.value)
        ]
        if exact.op == promql.MatchOp.Equal and against:
            yield Problem(
                f"nothing matches both {exact} and {against[0]}",
                word=exact.name,
                fix=f'ask for several values by {exact.name}=~"a|b"',
            )
            return


# A label's value may hold a dot or a bracket; these are hardly anything but patterns.
_PATTERN = re.compile(r"\.[*+]|\w\|\w|^[1-5](?:\.\.|xx|\.[*+]|\[0-9\].*|\\d.*)$", re.IGNORECASE)


def _pattern_matched_exactly(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for selector in selectors(tree):
        name = metric_name(selector) or ""
        exposed = context.exposed.series.get(name, []) if context.exposed else []
        for matcher in selector.matchers.matchers:
            exactly = matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual)
            is_there = any(one.get(matcher.name) == matcher.value for one in exposed)
            if exactly and not is_there and _PATTERN.search(matcher.value):
                regular = "=~" if matcher.op == promql.MatchOp.Equal else "!~"
                yield Problem(
                    f"{matcher} is compared letter by letter, and {matcher.value!r} looks like "
                    "a pattern",
                    word=matcher.name,
                    fix=f"write {matcher.name}{regular}…, or an exact value",
                )


def _asks_for_absence(visit: Visit) -> bool:
    return any(isinstance(n, promql.Call) and called(n) in ABSENT for n in visit.above)


def _missing(
    selector: promql.VectorSelector,
    name: str,
    exposed: Exposition,
    prometheus: Prometheus | None,
) -> Problem | None:
    series = exposed.series.get(name)
    if not series:
        return Problem(f"no exposed series is called {name}", word=name, unless_recorded=name)
    left: list[Series] = series
    for matcher in selector.matchers.matchers:
        label = matcher.name
        if label == "__name__":
            continue
        if not any(label in one for one in series):
            if _value_matches(matcher, "") or label in TARGET:
                continue
            known = prometheus is not None and prometheus.knows_jobs
            if known and prometheus and any(label in job.labels for job in prometheus.jobs):
                continue
            return Problem(
                f"no series of {name} has the label {label}",
                word=label,
                severity=Severity.ERROR if known else Severity.WARNING,
                fix="" if known else "unless scraping adds the label, drop the matcher",
                unless_recorded=name,
            )
        left = [one for one in left if _value_matches(matcher, one.get(label, ""))]
        if not left:
            values = sorted({one.get(label, "") for one in series} - {""})
            shown = ", ".join(values[:8]) + (", …" if len(values) > 8 else "")
            return Problem(
                f"no series matches {name}{{{_matchers(selector)}}}: {label} is exposed as {shown}",
                word=label,
                unless_recorded=name,
            )
    return None


def _matchers(selector: promql.VectorSelector) -> str:
    return ", ".join(str(m) for m in selector.matchers.matchers if m.name != "__name__")


def _value_matches(matcher: promql.Matcher, value: str) -> bool:
    op, wanted = matcher.op, matcher.value
    if op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual):
        same = value == wanted
        if matcher.name == "le" and not same:
            same = bool(as_float(value) == as_float(wanted))  # 1 and 1.0 are one bucket
        return same == bool(op == promql.MatchOp.Equal)
    matched = full_match(wanted, value)
    return matched is None or matched == bool(op == promql.MatchOp.Re)


def _no_such_job(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    prometheus = context.prometheus
    if prometheus is None or not prometheus.knows_jobs:
        return
    names = {job.name for job in prometheus.jobs}
    for selector in selectors(tree):
        metric = metric_name(selector) or ""
        job = equal_matcher(selector, "job")
        if job and job not in names and not is_recorded_name(metric):
            yield Problem(
                f"no scrape job is called {job!r} (there are {', '.join(sorted(names))})",
                word=job,
                unless_recorded=metric,
            )


CHECKS: tuple[RuleCheck, ...] = (
    RuleCheck(
        code="AD206",
        needs=("metrics",),
        severity=Severity.ERROR,
        title="no exposed series matches",
        why="A metric or a label's value that nobody exposes selects nothing, and nothing never "
        "crosses a threshold. Recorded series count as exposed. Matchers that contradict one "
        "another are found without --metrics.",
        fix="ask for what is exposed",
        beside={"metrics.txt": METRICS},
        bad=example('rate(http_requests_total{status="error"}[5m]) > 1'),
        good=example('rate(http_requests_total{status="503"}[5m]) > 1'),
        of_tree=_no_such_series,
    ),
    RuleCheck(
        code="AD207",
        needs=("prometheus.yml",),
        severity=Severity.ERROR,
        title="no scrape job has this name",
        why="No target carries the label, so nothing is selected. Needs prometheus.yml, and "
        "jobs without discovery or relabelling.",
        fix="use the job's name as prometheus.yml has it",
        beside={"prometheus.yml": PROMETHEUS},
        bad=example('up{job="application"} == 0'),
        good=example('up{job="app"} == 0'),
        of_tree=_no_such_job,
    ),
    RuleCheck(
        code="AD210",
        severity=Severity.WARNING,
        title="a pattern that is matched letter by letter",
        why="`=` and `!=` know no patterns: no status is called `5..`, so nothing is selected "
        "(or, by `!=`, nothing left out).",
        fix="write =~ or !~",
        bad=example('rate(http_requests_total{status="5.."}[5m]) > 1'),
        good=example('rate(http_requests_total{status=~"5.."}[5m]) > 1'),
        of_tree=_pattern_matched_exactly,
    ),
)
