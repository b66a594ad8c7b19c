"""What the checks of rules ask an expression: its calls, its thresholds, its ranges."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import promql_parser as promql
from promql_parser import Expr

from alertdrill.rules.lint.bounds import Bounds, bounds_of, constant
from alertdrill.rules.lint.rule_check import Context
from alertdrill.rules.lint.subject import Rule, Visit
from alertdrill.rules.promql import (
    is_comparison,
    operator,
    walk,
)

RATES = ("rate", "irate", "increase")


# They need two samples in their range to have a result.
TWO_SAMPLES = (*RATES, "delta", "idelta", "deriv", "predict_linear")


GAUGE_CALLS = ("delta", "idelta", "deriv", "predict_linear")


def calls(rule: Rule, names: tuple[str, ...]) -> Iterator[tuple[promql.Call, Visit]]:
    """Every call of one of ``names`` in the rule's expression."""
    for visit in rule.visits:
        if isinstance(visit.expr, promql.Call) and visit.expr.func.name in names:
            yield visit.expr, visit


def called(call: promql.Call) -> str:
    return str(call.func.name)


def direct_selectors(expr: Expr) -> tuple[promql.VectorSelector, ...]:
    return (expr.vector_selector,) if isinstance(expr, promql.MatrixSelector) else ()


_MIRRORED = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}


def thresholds(rule: Rule) -> Iterator[tuple[Expr, str, Expr, float, Visit]]:
    """Every comparison with a constant: the side that varies, the operator (the varying side
    on its left), the constant's expression and value."""
    for visit in rule.visits:
        expr = visit.expr
        if not isinstance(expr, promql.BinaryExpr) or not is_comparison(expr):
            continue
        left, right, symbol = constant(expr.lhs), constant(expr.rhs), operator(expr)
        if left is None and right is not None:
            yield expr.lhs, symbol, expr.rhs, right, visit
        elif left is not None and right is None:
            yield expr.rhs, _MIRRORED[symbol], expr.lhs, left, visit


_NEVER: dict[str, Callable[[float, float, float], bool]] = {
    ">": lambda low, high, bound: high <= bound,
    ">=": lambda low, high, bound: high < bound,
    "<": lambda low, high, bound: low >= bound,
    "<=": lambda low, high, bound: low > bound,
    "==": lambda low, high, bound: bound < low or bound > high,
}


def impossible(rule: Rule, context: Context) -> Iterator[tuple[Expr, str, Expr, float]]:
    for side, symbol, limit, value, _ in thresholds(rule):
        if symbol not in _NEVER or math.isnan(value):
            continue
        bounds = bounds_of(side, context.exposed)
        if _NEVER[symbol](bounds.low, bounds.high, value):
            yield side, symbol, limit, value


def quantile_in(side: Expr) -> promql.Call | None:
    for node in walk(side):
        if isinstance(node, promql.Call) and called(node) == "histogram_quantile":
            return node
    return None


def number(value: float) -> str:
    return f"{value:.12g}"


def range_words(bounds: Bounds) -> str:
    if bounds.low == bounds.high:
        return f"at {number(bounds.low)}"
    if math.isinf(bounds.low):
        return f"at {number(bounds.high)} or below"
    if math.isinf(bounds.high):
        return f"at {number(bounds.low)} or above"
    return f"between {number(bounds.low)} and {number(bounds.high)}"
