"""Between which values a result must lie: interval arithmetic over PromQL.

A share (errors of all requests) is recognised by its two sides: the same metric, of which one
side is asked for with more matchers than the other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import promql_parser as promql
from promql_parser import Expr

from alertdrill.rules.lint.exposition import Exposition
from alertdrill.rules.lint.kinds import Kind, is_flag, kind_of
from alertdrill.rules.lint.labels import bare, branches, is_scalar
from alertdrill.rules.lint.words import words
from alertdrill.rules.promql import as_ms, is_comparison, metric_name, operator, selectors, shape


@dataclass(frozen=True)
class Bounds:
    """The closed interval from ``low`` to ``high``."""

    low: float = -math.inf
    high: float = math.inf


ANY = Bounds()
SHARE = Bounds(0, 1)
POSITIVE = Bounds(0, math.inf)
_ONE = Bounds(1, 1)

_NON_NEGATIVE_CALLS = words(
    "rate irate increase resets changes abs sqrt stddev_over_time stdvar_over_time"
    " time timestamp histogram_count exp"
)
_PASSING_CALLS = words(
    "avg_over_time min_over_time max_over_time last_over_time first_over_time sort sort_desc"
    " sort_by_label sort_by_label_desc label_replace label_join ceil floor round scalar vector"
    " double_exponential_smoothing holt_winters"
)
_FIXED_CALLS = {
    "absent": _ONE,
    "absent_over_time": _ONE,
    "present_over_time": _ONE,
    # Where there is nothing to count, there is no result.
    "count_over_time": Bounds(1),
    "histogram_fraction": SHARE,
    "hour": Bounds(0, 23),
    "minute": Bounds(0, 59),
    "day_of_week": Bounds(0, 6),
    "day_of_month": Bounds(1, 31),
    "days_in_month": Bounds(28, 31),
    "day_of_year": Bounds(1, 366),
    "month": Bounds(1, 12),
    "sgn": Bounds(-1, 1),
}
_CLAMPS = {"clamp": ("floor", "top"), "clamp_min": ("floor",), "clamp_max": ("top",)}
_PASSING_AGGREGATIONS = words("avg min max topk bottomk limitk limit_ratio quantile")

# A gauge and what bounds it: `db_pool_in_use` can't exceed `db_pool_limit`.
_USED = ("_in_use", "_used", "_active", "_current", "_idle", "_size", "_open")
_LIMIT = ("_limit", "_max", "_capacity", "_max_size", "_size")


def constant(expr: Expr) -> float | None:
    """The number that ``expr`` is whatever the series are; None where it isn't one."""
    expr = bare(expr)
    if isinstance(expr, promql.NumberLiteral):
        return float(expr.val)
    if isinstance(expr, promql.UnaryExpr):
        inner = constant(expr.expr)
        return None if inner is None else -inner
    if isinstance(expr, promql.Call) and expr.func.name in ("vector", "scalar"):
        return constant(expr.args[0])
    if isinstance(expr, promql.BinaryExpr) and operator(expr) in _ARITHMETIC:
        left, right = constant(expr.lhs), constant(expr.rhs)
        if left is None or right is None:
            return None
        try:
            return _ARITHMETIC[operator(expr)](left, right)
        except (ZeroDivisionError, OverflowError):
            return None
    return None


_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}


def bounds_of(expr: Expr, exposed: Exposition | None) -> Bounds:
    """The bounds of ``expr``; ``exposed`` adds types, bucket bounds and limits."""
    found = [_bounds(branch, exposed) for branch in branches(expr)]
    return Bounds(min(b.low for b in found), max(b.high for b in found))


def _bounds(expr: Expr, exposed: Exposition | None) -> Bounds:
    value = constant(expr)
    if value is not None:
        return Bounds(value, value)
    if isinstance(expr, promql.UnaryExpr):
        inner = bounds_of(expr.expr, exposed)
        return Bounds(-inner.high, -inner.low)
    if isinstance(expr, promql.VectorSelector):
        return _selector(expr, exposed)
    if isinstance(expr, promql.MatrixSelector):
        return _selector(expr.vector_selector, exposed)
    if isinstance(expr, promql.SubqueryExpr):
        return bounds_of(expr.expr, exposed)
    if isinstance(expr, promql.AggregateExpr):
        return _aggregate(expr, exposed)
    if isinstance(expr, promql.Call):
        return _call(expr, exposed)
    if isinstance(expr, promql.BinaryExpr):
        return _binary(expr, exposed)
    return ANY


def _selector(selector: promql.VectorSelector, exposed: Exposition | None) -> Bounds:
    name = metric_name(selector)
    if name is None:
        return ANY
    if name == "ALERTS":
        return _ONE
    if is_flag(name, exposed):
        return SHARE
    if kind_of(name, exposed).kind is Kind.COUNTER:
        return POSITIVE
    limit = None if exposed is None else limit_of(name, exposed)
    return ANY if limit is None else Bounds(high=limit[1])


def limit_of(name: str, exposed: Exposition) -> tuple[str, float] | None:
    """The exposed gauge that bounds ``name``, and its highest value."""
    for used in _USED:
        stem = name.removesuffix(used)
        if stem == name:
            continue
        for limit in _LIMIT:
            if stem + limit != name and stem + limit in exposed.highest:
                return stem + limit, exposed.highest[stem + limit]
    return None


def _aggregate(expr: promql.AggregateExpr, exposed: Exposition | None) -> Bounds:
    op = str(expr.op)
    if op == "group":
        return _ONE
    if op == "count":
        return Bounds(1, math.inf)
    inner = bounds_of(expr.expr, exposed)
    if op in _PASSING_AGGREGATIONS:
        return inner
    if op == "sum":
        low = inner.low if inner.low >= 0 else -math.inf
        return Bounds(low, inner.high if inner.high <= 0 else math.inf)
    return POSITIVE if op in ("stddev", "stdvar", "count_values") else ANY


def _call(call: promql.Call, exposed: Exposition | None) -> Bounds:
    name = call.func.name
    if name in _FIXED_CALLS:
        return _FIXED_CALLS[name]
    if name in _NON_NEGATIVE_CALLS:
        return POSITIVE
    if name == "histogram_quantile":
        last = last_bucket(call, exposed)
        return ANY if last is None else Bounds(high=last)
    if name in _CLAMPS and len(call.args) == 1 + len(_CLAMPS[name]):
        given = {end: constant(arg) for end, arg in zip(_CLAMPS[name], call.args[1:], strict=True)}
        return _clamped(bounds_of(call.args[0], exposed), given.get("floor"), given.get("top"))
    if name == "quantile_over_time" and len(call.args) == 2:
        return bounds_of(call.args[1], exposed)
    if name in _PASSING_CALLS and call.args:
        inner = bounds_of(call.args[0], exposed)
        # Rounding to a multiple may leave the interval by less than that multiple.
        return inner if name != "round" or len(call.args) == 1 else ANY
    return ANY


def _clamped(inner: Bounds, floor: float | None, top: float | None) -> Bounds:
    low, high = inner.low, inner.high
    if floor is not None:
        low, high = max(low, floor), max(high, floor)
    if top is not None:
        low, high = min(low, top), min(high, top)
    return Bounds(low, high)


def last_bucket(call: promql.Call, exposed: Exposition | None) -> float | None:
    """A quantile's ceiling: the last finite bound of the buckets that it is computed from."""
    if exposed is None:
        return None
    names = {metric_name(s) for arg in call.args for s in selectors(arg)}
    bounds = [exposed.last_finite_bucket(name) for name in names if name]
    known = [bound for bound in bounds if bound is not None]
    return max(known) if known and len(known) == len(names) else None


def _binary(expr: promql.BinaryExpr, exposed: Exposition | None) -> Bounds:
    symbol = operator(expr)
    left = bounds_of(expr.lhs, exposed)
    if is_comparison(expr):
        if expr.modifier is not None and expr.modifier.return_bool:
            return SHARE
        # With the number on the left, the right side's values are what passes.
        return bounds_of(expr.rhs, exposed) if is_scalar(expr.lhs) else left
    if symbol in ("and", "unless"):
        return left
    right = bounds_of(expr.rhs, exposed)
    if symbol == "/":
        factor, part = _factored(expr.lhs)
        if _is_same(part, expr):
            return Bounds(factor, factor)
        if factor > 0 and _is_part(part, expr.rhs):
            return Bounds(0, factor)
    if symbol == "+":
        return Bounds(left.low + right.low, left.high + right.high)
    if symbol == "-":
        return Bounds(left.low - right.high, left.high - right.low)
    if symbol in ("*", "/"):
        return _scaled(symbol, left, right)
    return ANY


def _scaled(symbol: str, left: Bounds, right: Bounds) -> Bounds:
    factor, other = (right, left) if right.low == right.high else (left, right)
    if symbol == "/" and factor is left:
        return POSITIVE if left.low >= 0 and right.low >= 0 else ANY
    if factor.low == factor.high and math.isfinite(factor.low) and factor.low != 0:
        scale = factor.low if symbol == "*" else 1 / factor.low
        ends = (other.low * scale, other.high * scale)
        return Bounds(min(ends), max(ends))
    return POSITIVE if left.low >= 0 and right.low >= 0 else ANY


# --- shares --------------------------------------------------------------------------------

_ADDING = ("sum", "count")
_COUNTING_CALLS = ("rate", "irate", "increase", "sum_over_time", "count_over_time")


def _factored(expr: Expr) -> tuple[float, Expr]:
    """``100 * x`` as 100 and x: in ``100 * x / y`` the factor belongs to the left side."""
    inner = bare(expr)
    if isinstance(inner, promql.BinaryExpr) and operator(inner) == "*":
        for number, other in ((inner.lhs, inner.rhs), (inner.rhs, inner.lhs)):
            factor = constant(number)
            if factor is not None and math.isfinite(factor):
                return factor, other
    return 1.0, expr


def _is_same(part: Expr, division: promql.BinaryExpr) -> bool:
    """Whether a division's sides are one expression: the quotient is 1 (0/0 is no number).

    A common slip: the matcher that makes the left side a part of the right one was forgotten.
    """
    matched = division.modifier is not None and division.modifier.matching is not None
    return not matched and shape(bare(part)) == shape(_unguarded(division.rhs))


# A share by its name: what is free (used, available) of what there is.
_FREE = re.compile(r"(?:available|avail|free|used)(?=_bytes|_inodes|_blocks|$)", re.IGNORECASE)
_TOTAL = re.compile(r"(?:capacity|size|total)(?=_bytes|_inodes|_blocks|$)", re.IGNORECASE)


def _is_free_of_total(part: str, whole: str) -> bool:
    """``node_filesystem_avail_bytes`` never exceeds ``node_filesystem_size_bytes``."""
    free, total = _FREE.subn("", part), _TOTAL.subn("", whole)
    return free[1] == total[1] == 1 and free[0] == total[0]


def _is_part(part: Expr, whole: Expr) -> bool:
    part, whole = bare(part), _unguarded(whole)
    if isinstance(part, promql.AggregateExpr) and isinstance(whole, promql.AggregateExpr):
        same = str(part.op) == str(whole.op) and str(part.op) in _ADDING
        return same and _grouping(part) == _grouping(whole) and _is_part(part.expr, whole.expr)
    if isinstance(part, promql.Call) and isinstance(whole, promql.Call):
        same = part.func.name == whole.func.name and part.func.name in _COUNTING_CALLS
        return same and _is_part(part.args[0], whole.args[0])
    if isinstance(part, promql.MatrixSelector) and isinstance(whole, promql.MatrixSelector):
        same = as_ms(part.range) == as_ms(whole.range)
        return same and _is_part(part.vector_selector, whole.vector_selector)
    if isinstance(part, promql.VectorSelector) and isinstance(whole, promql.VectorSelector):
        return _is_subset(part, whole)
    return False


def _unguarded(expr: Expr) -> Expr:
    """``expr`` without a guard against zero: ``(x > 0)``, ``clamp_min(x, …)``."""
    expr = bare(expr)
    if isinstance(expr, promql.BinaryExpr) and is_comparison(expr) and is_scalar(expr.rhs):
        return _unguarded(expr.lhs)
    if isinstance(expr, promql.Call) and expr.func.name == "clamp_min":
        return _unguarded(expr.args[0])
    return expr


def _grouping(expr: promql.AggregateExpr) -> tuple[str, frozenset[str]]:
    if expr.modifier is None:
        return "", frozenset()
    return str(expr.modifier.type), frozenset(expr.modifier.labels)


def _is_subset(part: promql.VectorSelector, whole: promql.VectorSelector) -> bool:
    name, other = metric_name(part), metric_name(whole)
    bucket = (
        name is not None
        and other is not None
        and (name.endswith("_bucket") and other == name.removesuffix("_bucket") + "_count")
    )
    if name is None or other is None:
        return False
    if name != other and not bucket and not _is_free_of_total(name, other):
        return False
    asked = {(str(m.op), m.name, m.value) for m in part.matchers.matchers}
    of_all = {(str(m.op), m.name, m.value) for m in whole.matchers.matchers}
    plain = not (part.matchers.or_matchers or whole.matchers.or_matchers)
    same_time = as_ms(part.offset) == as_ms(whole.offset) and part.at is None and whole.at is None
    if bucket and not any(m.name == "le" for m in part.matchers.matchers):
        return False
    return plain and same_time and of_all <= asked
