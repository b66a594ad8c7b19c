"""Thresholds never met, always met, or of another unit: AD205, AD208, AD305, AD310 to AD313."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator

import promql_parser as promql
from promql_parser import Expr

from alertdrill.rules.lint.bounds import bounds_of, constant
from alertdrill.rules.lint.examples import (
    ALL,
    ERRORS,
    SHARE_OF_ERRORS,
    example,
)
from alertdrill.rules.lint.expressions import (
    RATES,
    called,
    direct_selectors,
    impossible,
    number,
    quantile_in,
    range_words,
    thresholds,
)
from alertdrill.rules.lint.finding import Severity
from alertdrill.rules.lint.labels import (
    ABSENT,
    bare,
    branches,
    is_scalar,
)
from alertdrill.rules.lint.rule_check import Context, Problem, RuleCheck
from alertdrill.rules.lint.subject import Rule, Visit
from alertdrill.rules.lint.unreachable import (
    contradictions,
    percent_of_ratio,
    quantile_beyond_one,
)
from alertdrill.rules.lint.words import words
from alertdrill.rules.promql import (
    children,
    is_comparison,
    metric_name,
    operator,
    selectors,
    walk,
)


def _out_of_range(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for side, symbol, limit, value in impossible(rule, context):
        if quantile_in(side) is not None or (
            _burn_factor(limit) is not None and _is_share_of_errors(side)
        ):
            continue
        bounds = bounds_of(side, context.exposed)
        names = [metric_name(s) for s in selectors(side)]
        yield Problem(
            f"{symbol} {number(value)} never holds: the left side lies {range_words(bounds)}",
            word=names[0] or "" if names else "",
        )
    yield from quantile_beyond_one(rule)
    yield from contradictions(rule)
    yield from percent_of_ratio(rule)


def _burn_factor(limit: Expr) -> tuple[float, float] | None:
    """Factor and error budget of a threshold like ``14.4 * (1 - 0.999)``."""
    limit = bare(limit)
    if not isinstance(limit, promql.BinaryExpr) or operator(limit) != "*":
        return None
    sides = [constant(limit.lhs), constant(limit.rhs)]
    if sides[0] is None or sides[1] is None:
        return None
    budget, factor = min(sides[0], sides[1]), max(sides[0], sides[1])
    return (factor, budget) if factor >= 1 and 0 < budget < 1 else None


_SHARE_WORDS = ("ratio", "error", "burn", "slo", "sli")


def _is_share_of_errors(side: Expr) -> bool:
    """By what it is computed from, or by the names of what was recorded."""
    divides = any(isinstance(n, promql.BinaryExpr) and operator(n) == "/" for n in walk(side))
    names = [metric_name(s) or "" for s in selectors(side)]
    return divides or any(word in name for name in names for word in _SHARE_WORDS)


def _burn_rate_too_high(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for side, symbol, limit, value, _ in thresholds(rule):
        parts = _burn_factor(limit) if _is_share_of_errors(side) else None
        if parts is not None and symbol in (">", ">=") and value >= 1:
            factor, budget = parts
            yield Problem(
                f"a burn rate of {number(factor)} with a budget of {number(budget)} asks for a "
                f"share of errors above {number(value)}: there is none above 1",
                fix=f"with this objective, burn rates must stay below {number(1 / budget)}",
            )


_OUTCOME = words(
    "status code status_code http_status outcome result error grpc_code grpc_status"
    " response_code success state"
)


_FAILING = ("error", "fail")


# Their rate has a unit of its own (seconds per second is a share already).
_OTHER_UNITS = ("_seconds", "_bytes", "_joules", "_bits")


# How people are told of a share, and of a rate.
_SPEAKS_OF_A_SHARE = re.compile(
    r"(\d|\}\})\s*%|humanizePercentage|per ?cent|\b(ratio|share|(error|failure) rate)\b",
    re.IGNORECASE,
)
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SPEAKS_OF_A_RATE = re.compile(r"(\d|\}\}|\w)/s\b|per (second|minute|hour)", re.IGNORECASE)


_THROUGH = ("sum", "avg", "max", "min")


def _rate_against_share(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    """``failures_total`` at more than one in 100 s is a good rule; the share that a selector by
    outcome asks for is mostly meant, unless the rule says to people what it means."""
    texts = [text.value for text in rule.annotations.values() if "://" not in text.value]
    said = " ".join([_CAMEL_CASE.sub(" ", rule.name.value), *texts])
    for side, symbol, _, value, _ in thresholds(rule):
        rated = _per_second(side)
        if rated is None or symbol not in (">", ">=") or not 0 < value < 1:
            continue
        name = metric_name(rated) or ""
        by_outcome = any(
            m.name in _OUTCOME and m.op in (promql.MatchOp.Equal, promql.MatchOp.Re)
            for m in rated.matchers.matchers
        )
        failing = any(word in name for word in _FAILING)
        share_is_meant = (
            _SPEAKS_OF_A_RATE.search(said) is None
            if by_outcome
            else failing and _SPEAKS_OF_A_SHARE.search(said) is not None
        )
        if not share_is_meant or any(unit in name for unit in _OTHER_UNITS):
            continue
        yield Problem(
            f"{number(value)} looks like a share, but {name} is counted per second: "
            f"with much traffic it fires at a fraction of that share, with little it never does",
            word=name,
            severity=Severity.ERROR if by_outcome else Severity.WARNING,
        )


def _per_second(expr: Expr) -> promql.VectorSelector | None:
    """The selector of a rate that nothing was divided by."""
    expr = bare(expr)
    if isinstance(expr, promql.AggregateExpr) and str(expr.op) in _THROUGH:
        return _per_second(expr.expr)
    if isinstance(expr, promql.Call) and called(expr) in ("rate", "irate"):
        return next(iter(direct_selectors(expr.args[0])), None)
    return None


def _zero_denominator(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    alternatives = branches(tree)
    for branch in alternatives:
        if not isinstance(branch, promql.BinaryExpr) or not is_comparison(branch):
            continue
        for side, symbol, _, _, visit in thresholds(rule):
            division = _division(side)
            if (
                division is None
                or symbol not in ("<", "<=")
                or str(visit.expr) != str(branch)
                or not _may_be_zero(division.rhs)
                or len(alternatives) > 1
            ):
                continue
            names = [metric_name(s) for s in selectors(division.rhs)]
            yield Problem(
                "with no traffic the denominator is zero, the quotient NaN, and NaN is below "
                "nothing: silence just when everything has stopped",
                word=(names[0] or "") if names else "",
            )


def _division(expr: Expr) -> promql.BinaryExpr | None:
    expr = bare(expr)
    if not isinstance(expr, promql.BinaryExpr):
        return None
    if operator(expr) == "/" and not is_scalar(expr.rhs):
        return expr
    for side in (expr.lhs, expr.rhs):
        found = _division(side) if operator(expr) in ("*", "-", "+", "/") else None
        if found is not None:
            return found
    return None


def _may_be_zero(expr: Expr) -> bool:
    nodes = tuple(walk(expr))
    guarded = any(
        is_comparison(n) or (isinstance(n, promql.Call) and called(n) == "clamp_min") for n in nodes
    )
    rated = any(isinstance(n, promql.Call) and called(n) in RATES for n in nodes)
    return rated and not guarded


_ALWAYS: dict[str, Callable[[float, float, float], bool]] = {
    ">": lambda low, high, bound: low > bound,
    ">=": lambda low, high, bound: low >= bound,
    "<": lambda low, high, bound: high < bound,
    "<=": lambda low, high, bound: high <= bound,
    "!=": lambda low, high, bound: bound < low or bound > high,
}


def _always_holds(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for side, symbol, _, value, visit in thresholds(rule):
        if symbol not in _ALWAYS or math.isnan(value) or _is_guard(visit) or _counts(side):
            continue
        bounds = bounds_of(side, context.exposed)
        if _ALWAYS[symbol](bounds.low, bounds.high, value):
            names = [metric_name(s) for s in selectors(side)]
            yield Problem(
                f"{symbol} {number(value)} always holds: the left side lies {range_words(bounds)}",
                word=(names[0] or "") if names else "",
            )


def _is_guard(visit: Visit) -> bool:
    return any(not isinstance(a, promql.ParenExpr) for a in visit.above)


_PRESENCE = (*ABSENT, "present_over_time", "count_over_time")


def _counts(side: Expr) -> bool:
    """``count(…) > 0`` and ``absent(…) > 0`` say "there is one", which is a condition."""
    side = bare(side)
    if isinstance(side, promql.AggregateExpr):
        return str(side.op) in ("count", "group", "count_values") or _counts(side.expr)
    if isinstance(side, promql.Call):
        return called(side) in _PRESENCE or any(_counts(arg) for arg in side.args)
    if isinstance(side, (promql.MatrixSelector, promql.SubqueryExpr)):
        return any(_counts(child) for child in children(side))
    return isinstance(side, promql.VectorSelector) and metric_name(side) == "ALERTS"


def _condition_missing(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    alternatives = branches(tree)
    for branch in alternatives:
        # On its own it is a watchdog; after `or` it is there whenever the condition isn't.
        if len(alternatives) > 1 and isinstance(branch, promql.Call) and called(branch) == "vector":
            yield Problem(
                "`or vector(…)` has a result whenever the condition has none: the alert always "
                "fires",
                word="vector",
                fix="compare after it: (… or vector(0)) > threshold",
                severity=Severity.ERROR,
            )
            continue
        if isinstance(branch, promql.BinaryExpr) and _returns_bool(branch):
            yield Problem(
                "with bool the comparison has a result either way, 0 or 1, and either way "
                "the alert fires",
                word="bool",
                fix="drop bool",
                severity=Severity.ERROR,
            )
        elif not _filters(branch):
            names = [metric_name(s) for s in selectors(branch)]
            yield Problem(
                "nothing is compared: the alert fires for whatever value there is, 0 included",
                word=(names[0] or "") if names else "",
            )


def _returns_bool(expr: promql.BinaryExpr) -> bool:
    return is_comparison(expr) and expr.modifier is not None and bool(expr.modifier.return_bool)


def _filters(expr: Expr) -> bool:
    """Whether ``expr`` can be empty although its series exist; what is always there on purpose
    (``vector(1)``, ``absent()``, ALERTS) counts as that."""
    expr = bare(expr)
    if isinstance(expr, promql.BinaryExpr):
        symbol = operator(expr)
        if is_comparison(expr):
            return not _returns_bool(expr)
        if symbol in ("and", "unless"):
            return True
        sides = (_filters(expr.lhs), _filters(expr.rhs))
        return all(sides) if symbol == "or" else any(sides)
    if isinstance(expr, promql.Call) and called(expr) in (*ABSENT, "vector"):
        return True
    if isinstance(expr, promql.VectorSelector):
        return metric_name(expr) == "ALERTS"
    return any(_filters(child) for child in children(expr))


_CAPACITY = ("_pool_size", "_max_connections", "_limit", "_capacity", "_max_size")


def _capacity_compared(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for side, symbol, _, value, _ in thresholds(rule):
        selector = bare(side)
        if not isinstance(selector, promql.VectorSelector) or symbol not in (">", ">="):
            continue
        name = metric_name(selector) or ""
        if name.endswith(_CAPACITY) and value > 0:
            yield Problem(
                f"{name} says how much there may be, not how much is in use",
                word=name,
                fix="divide what is in use by it, and compare that share",
                unless_recorded=name,
            )


CHECKS: tuple[RuleCheck, ...] = (
    RuleCheck(
        code="AD205",
        needs=("metrics",),
        severity=Severity.ERROR,
        title="a threshold that can't be reached",
        why="A share lies between 0 and 1, `up` is 0 or 1, a rate is never negative, an hour is "
        "at most 23; with --metrics, what is in use stays below its limit. "
        "Often per cent are compared with a share, or `and` joins what only `or` can.",
        fix="compare with a value that can occur (5 % is 0.05)",
        bad=example(f"{SHARE_OF_ERRORS} > 5"),
        good=example(f"{SHARE_OF_ERRORS} * 100 > 5"),
        of_tree=_out_of_range,
    ),
    RuleCheck(
        code="AD208",
        severity=Severity.ERROR,
        title="a burn rate that no share of errors reaches",
        why="A burn rate times the error budget (1 - objective) is the share of errors at which "
        "the alert fires; at 1 or above it can't (SRE workbook, chapter 5: 14.4 × 0.1 % is "
        "1.44 %, but 14.4 × 10 % is 144 %).",
        fix="lower the factor, or widen the window that goes with it",
        bad=example("job:slo_errors:ratio_rate1h > (14.4 * (1 - 0.9))"),
        good=example("job:slo_errors:ratio_rate1h > (14.4 * (1 - 0.999))"),
        of_tree=_burn_rate_too_high,
    ),
    RuleCheck(
        code="AD305",
        severity=Severity.ERROR,
        title="a rate per second compared with a share",
        why="0.05 errors per second are half of the traffic at 0.1 requests per second and "
        "nothing at 1,000. A selector by outcome is taken for a share, unless an annotation speaks "
        "of a rate (per second, /s); a metric of failures alone only where the rule speaks of a "
        "share or an error rate (a warning), for more than one failure in 100 s is a good rule.",
        fix="divide by the rate of all: sum(rate(errors)) / sum(rate(all))",
        bad=example('rate(http_requests_total{status="503"}[5m]) > 0.05'),
        good=example(f"{ERRORS} / {ALL} > 0.05"),
        of_tree=_rate_against_share,
    ),
    RuleCheck(
        code="AD310",
        severity=Severity.WARNING,
        title="silence when the denominator is zero",
        why="0/0 is NaN, and NaN is not below the threshold: an alert on too few successes is "
        "silent when there is no traffic at all, which may be the worst of outages.",
        fix="add `or absent(…)` or a second alert on no traffic, and guard the denominator "
        "with `> 0` to say that idle is fine",
        alerts_only=True,
        bad=example(f'sum(rate(http_requests_total{{status="200"}}[5m])) / {ALL} < 0.99'),
        good=example(f'sum(rate(http_requests_total{{status="200"}}[5m])) / ({ALL} > 0) < 0.99'),
        of_tree=_zero_denominator,
    ),
    RuleCheck(
        code="AD311",
        severity=Severity.ERROR,
        title="a condition that always holds",
        why="The alert fires as long as its series exist.",
        fix="compare with a value that separates good from bad",
        alerts_only=True,
        bad=example('up{job="app"} < 2'),
        good=example('up{job="app"} < 1'),
        of_tree=_always_holds,
    ),
    RuleCheck(
        code="AD312",
        severity=Severity.WARNING,
        title="an alert without a condition",
        why="An alert fires for every series that its expression returns, whatever the value. "
        "With bool, a comparison returns all of them (an error).",
        fix="compare with a threshold",
        alerts_only=True,
        bad=example('up{job="app"} == bool 0'),
        good=example('up{job="app"} == 0'),
        of_tree=_condition_missing,
    ),
    RuleCheck(
        code="AD313",
        severity=Severity.WARNING,
        title="a capacity compared instead of its use",
        why="A pool's size says nothing of how much of it is in use: a pool of 20 never reaches "
        "95, and one of 100 always does.",
        fix="compare what is in use, divided by the capacity",
        bad=example("db_connection_pool_size >= 95"),
        good=example("db_connection_pool_in_use / db_connection_pool_size >= 0.95"),
        of_tree=_capacity_compared,
    ),
)
