"""Quantiles of histograms: checks AD201 to AD204."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser as promql
from promql_parser import Expr

from alertdrill.rules.lint.bounds import last_bucket
from alertdrill.rules.lint.examples import (
    METRICS,
    P95,
    example,
)
from alertdrill.rules.lint.expressions import (
    RATES,
    called,
    calls,
    impossible,
    number,
    quantile_in,
)
from alertdrill.rules.lint.finding import Severity
from alertdrill.rules.lint.labels import (
    is_recorded_name,
    labels_of,
)
from alertdrill.rules.lint.rule_check import Context, Problem, RuleCheck
from alertdrill.rules.lint.subject import Rule
from alertdrill.rules.promql import (
    metric_name,
    selectors,
    walk,
)


def _is_rated(expr: Expr) -> bool:
    return any(isinstance(node, promql.Call) and called(node) in RATES for node in walk(expr))


def _quantile_parts(
    rule: Rule,
) -> Iterator[tuple[promql.Call, Expr, list[str]]]:
    """Each histogram_quantile, what it is computed from, and the metrics' names in that."""
    for call, _ in calls(rule, ("histogram_quantile",)):
        argument = call.args[1]
        names = [name for s in selectors(argument) if (name := metric_name(s)) is not None]
        yield call, argument, names


def _quantile_of_no_buckets(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for _, argument, names in _quantile_parts(rule):
        for name in names:
            if name.endswith("_bucket") or is_recorded_name(name):
                continue
            if not _is_rated(argument):
                yield Problem(
                    f"histogram_quantile() of {name}, which has no buckets: "
                    f"a histogram's are called {name}_bucket, and need a rate()",
                    word=name,
                    unless_recorded=name,
                )
            elif context.exposed is not None and f"{name}_bucket" in context.exposed.series:
                yield Problem(
                    f"histogram_quantile() of {name}: what is exposed is {name}_bucket",
                    word=name,
                )
            elif name.endswith(("_sum", "_count", "_total")):
                yield Problem(f"histogram_quantile() of {name}, which has no buckets", word=name)


def _quantile_without_rate(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for _, argument, names in _quantile_parts(rule):
        buckets = [n for n in names if n.endswith("_bucket") and not is_recorded_name(n)]
        if buckets and not _is_rated(argument):
            yield Problem(
                f"histogram_quantile() of {buckets[0]} without rate(): the quantile of everything "
                "since the process started moves too little to cross a threshold",
                word=buckets[0],
            )


def _le_aggregated_away(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for _, argument, names in _quantile_parts(rule):
        classic = [name for name in names if name.endswith("_bucket") or is_recorded_name(name)]
        if classic and not labels_of(argument).may_have("le"):
            yield Problem(
                f"histogram_quantile() of {classic[0]} without its label le: "
                "the buckets are added up, and there is no quantile of one number",
                word="histogram_quantile",
            )


def _beyond_last_bucket(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for side, symbol, _, value in impossible(rule, context):
        call = quantile_in(side)
        last = None if call is None else last_bucket(call, context.exposed)
        if last is not None:
            yield Problem(
                f"the last finite bucket ends at {number(last)}, where the quantile is capped: "
                f"{symbol} {number(value)} never holds",
                word="histogram_quantile",
            )


CHECKS: tuple[RuleCheck, ...] = (
    RuleCheck(
        code="AD201",
        needs=("metrics",),
        severity=Severity.ERROR,
        title="a quantile of something that has no buckets",
        why="A histogram is exposed as _bucket, _sum and _count; no series has its bare name "
        "(native histograms do, and need a rate() all the same). The result is empty.",
        fix="histogram_quantile(φ, sum by (le) (rate(…_bucket[5m])))",
        bad=example("histogram_quantile(0.95, http_request_duration_seconds) > 2"),
        good=example(f"{P95} > 2"),
        of_tree=_quantile_of_no_buckets,
    ),
    RuleCheck(
        code="AD202",
        severity=Severity.ERROR,
        title="a quantile of buckets without rate",
        why="Buckets count since the process started. Hours of good service outweigh any "
        "incident, so the quantile doesn't move.",
        fix="wrap the buckets in rate(…[5m])",
        bad=example("histogram_quantile(0.95, http_request_duration_seconds_bucket) > 2"),
        good=example(f"{P95} > 2"),
        of_tree=_quantile_without_rate,
    ),
    RuleCheck(
        code="AD203",
        severity=Severity.ERROR,
        title="le is aggregated away before the quantile",
        why="Without le, the buckets are one number, and its quantile is empty.",
        fix="keep le: sum by (le, …) (…)",
        bad=example(f"{P95.replace('by (le)', 'by (job)')} > 2"),
        good=example(f"{P95.replace('by (le)', 'by (job, le)')} > 2"),
        of_tree=_le_aggregated_away,
    ),
    RuleCheck(
        code="AD204",
        needs=("metrics",),
        severity=Severity.ERROR,
        title="a threshold beyond the last finite bucket",
        why="A quantile above the last finite bound is reported as that bound, so nothing is "
        "ever above it.",
        fix="lower the threshold, or add buckets above it",
        beside={"metrics.txt": METRICS},
        bad=example(f"{P95} > 5"),
        good=example(f"{P95} > 2"),
        of_tree=_beyond_last_bucket,
    ),
)
