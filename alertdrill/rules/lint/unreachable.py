"""Conditions that no series meets, whatever its values may be: parts of AD205."""

from __future__ import annotations

import itertools
import operator as compare
import re
from collections.abc import Callable, Iterator

import promql_parser as promql
from promql_parser import Expr

from alertdrill.rules.lint.bounds import constant
from alertdrill.rules.lint.expressions import called, calls, number, thresholds
from alertdrill.rules.lint.finding import Severity
from alertdrill.rules.lint.labels import bare
from alertdrill.rules.lint.rule_check import Problem
from alertdrill.rules.lint.subject import Rule
from alertdrill.rules.promql import (
    Shape,
    is_comparison,
    metric_name,
    operator,
    selectors,
    shape,
)


def quantile_beyond_one(rule: Rule) -> Iterator[Problem]:
    """A 95th percentile that was written as 95."""
    asked = [
        (called(call), call.args[0])
        for call, _ in calls(rule, ("histogram_quantile", "quantile_over_time"))
    ]
    asked += [
        ("quantile", visit.expr.param)
        for visit in rule.visits
        if isinstance(visit.expr, promql.AggregateExpr) and str(visit.expr.op) == "quantile"
    ]
    for name, parameter in asked:
        wanted = constant(parameter) if isinstance(parameter, Expr) else None
        if wanted is not None and not 0 <= wanted <= 1:
            yield Problem(
                f"the {number(wanted)} quantile is infinite: quantiles go from 0 to 1",
                word=name,
                fix="write 0.95 for the 95th percentile",
            )


def contradictions(rule: Rule) -> Iterator[Problem]:
    """``x > 10 and x < 5`` and ``x > 10 < 5``: one of the two must be an ``or``, or a typing
    error."""
    for visit in rule.visits:
        expr = visit.expr
        if not isinstance(expr, promql.BinaryExpr):
            continue
        asked: dict[Shape, list[tuple[str, float]]] = {}
        for side, symbol, value in _asked_together(expr):
            asked.setdefault(shape(side), []).append((symbol, value))
        for conditions in asked.values():
            if len(conditions) > 1 and not _can_all_hold(conditions):
                asked_for = " and ".join(
                    f"{symbol} {number(value)}" for symbol, value in conditions
                )
                names = [metric_name(s) for s in selectors(expr)]
                yield Problem(
                    f"{asked_for} never hold together, and all is asked of the same value",
                    word=(names[0] or "") if names else "",
                    fix="say `or`, or correct the limits",
                )


def _asked_together(expr: Expr) -> Iterator[tuple[Expr, str, float]]:
    """What must hold of each series for ``expr`` to return it: side, operator, constant."""
    expr = bare(expr)
    if not isinstance(expr, promql.BinaryExpr):
        return
    if operator(expr) == "and" and (expr.modifier is None or expr.modifier.matching is None):
        yield from _asked_together(expr.lhs)
        yield from _asked_together(expr.rhs)
    elif is_comparison(expr) and not (expr.modifier and expr.modifier.return_bool):
        value = constant(expr.rhs)
        if value is not None:
            yield from _asked_together(expr.lhs)
            yield _compared(expr.lhs), operator(expr), value


def _compared(side: Expr) -> Expr:
    """The value that a chain of comparisons (``x > 0 < 1``) is about."""
    side = bare(side)
    if isinstance(side, promql.BinaryExpr) and is_comparison(side):
        return side if constant(side.rhs) is None else _compared(side.lhs)
    return side


def _can_all_hold(conditions: list[tuple[str, float]]) -> bool:
    """Whether some number meets them all: tried with each limit, and with what lies between."""
    limits = sorted({value for _, value in conditions})
    tried = [
        *limits,
        *((a + b) / 2 for a, b in itertools.pairwise(limits)),
        limits[0] - 1,
        limits[-1] + 1,
    ]
    return any(
        all(_COMPARE[symbol](value, limit) for symbol, limit in conditions) for value in tried
    )


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": compare.gt,
    ">=": compare.ge,
    "<": compare.lt,
    "<=": compare.le,
    "==": compare.eq,
    "!=": compare.ne,
}


_RATIO = re.compile(r"(?:^|[_:])ratio(?:_|:|$)")
# Nobody means 500 % by a ratio of 5; a ratio of 1.5 may well be meant.
_PERCENT = 5


def percent_of_ratio(rule: Rule) -> Iterator[Problem]:
    """A recorded or exposed ratio, by its name, compared with per cent."""
    for side, symbol, _, value, _ in thresholds(rule):
        selector = bare(side)
        name = metric_name(selector) or "" if isinstance(selector, promql.VectorSelector) else ""
        if _RATIO.search(name) and symbol in (">", ">=") and _PERCENT <= value <= 100:
            yield Problem(
                f"{symbol} {number(value)} looks like per cent, and {name} like a share of 1",
                word=name,
                severity=Severity.WARNING,
            )
