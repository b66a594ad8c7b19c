"""Which rules mean something else on a faster clock: a dimensional analysis of their PromQL.

Dividing every duration leaves rates and ratios as they were. It does not leave what grows with
the length of a window (``increase``) or tells the time (``hour()``): compared with a constant,
those now hold sooner, later or never.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import promql_parser as promql
from promql_parser import Expr

from alertdrill.rules.promql import children, is_comparison, metric_name, operator

_GROWING = {"increase", "delta", "idelta", "changes", "resets"}
_COUNTING = {"count_over_time", "sum_over_time"}
_CALENDAR = {
    "hour",
    "minute",
    "month",
    "year",
    "day_of_week",
    "day_of_month",
    "day_of_year",
    "days_in_month",
}
_CLOCK = {"time", "timestamp"}
# What these return has no unit of their argument left.
_UNITLESS = {
    "absent",
    "absent_over_time",
    "present_over_time",
    "histogram_quantile",
    "histogram_fraction",
    "histogram_avg",
    "rate",
    "irate",
    "deriv",
    "sgn",
}
_UNITLESS_AGGREGATIONS = {"count", "count_values", "group"}


@dataclass(frozen=True)
class Unit:
    """Powers of a window's length and of its number of samples, and who brought them in."""

    window: int = 0
    samples: int = 0
    causes: tuple[str, ...] = ()

    @property
    def powers(self) -> tuple[int, int]:
        return (self.window, self.samples)

    def times(self, other: Unit, sign: int = 1) -> Unit:
        return Unit(
            self.window + sign * other.window,
            self.samples + sign * other.samples,
            _both(self.causes, other.causes),
        )


def _both(some: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return some + tuple(cause for cause in more if cause not in some)


def unit(expr: Expr, recorded: Mapping[str, Unit]) -> Unit:
    """What ``expr`` scales with; ``recorded``: the units of recorded series by name."""
    if isinstance(expr, promql.VectorSelector):
        return recorded.get(metric_name(expr) or "", Unit())
    if isinstance(expr, promql.Call):
        return _call_unit(expr, recorded)
    if isinstance(expr, promql.AggregateExpr):
        bare = str(expr.op) in _UNITLESS_AGGREGATIONS
        return Unit() if bare else unit(expr.expr, recorded)
    if isinstance(expr, promql.BinaryExpr):
        left, right = unit(expr.lhs, recorded), unit(expr.rhs, recorded)
        symbol = operator(expr)
        if symbol == "*":
            return left.times(right)
        if symbol == "/":
            return left.times(right, -1)
        if is_comparison(expr):
            return Unit() if expr.modifier and expr.modifier.return_bool else left
        return left if left.powers != (0, 0) or symbol in ("and", "unless") else right
    below = children(expr)
    return unit(below[0], recorded) if below else Unit()


def _call_unit(call: promql.Call, recorded: Mapping[str, Unit]) -> Unit:
    name = call.func.name
    if name in _GROWING:
        return Unit(window=1, causes=(f"{name}() grows with the length of its window",))
    if name in _CLOCK:
        return Unit(window=1, causes=(f"{name}() counts seconds that aren't compressed",))
    if name in _UNITLESS or not call.args:
        return Unit()
    # quantile_over_time, histogram_quantile and clamp have the vector among other arguments.
    inner = next(
        (unit(arg, recorded) for arg in call.args if not isinstance(arg, promql.NumberLiteral)),
        Unit(),
    )
    if name in _COUNTING:
        cause = f"{name}() holds as many samples as before only while every scrape is on time"
        return inner.times(Unit(samples=1, causes=(cause,)))
    return inner


def unsound_reasons(expr: Expr, recorded: Mapping[str, Unit]) -> tuple[str, ...]:
    """Why ``expr`` can't be trusted on a compressed clock; empty when it can."""
    return tuple(dict.fromkeys((*calendar_reasons(expr), *_unit_reasons(expr, recorded))))


def calendar_reasons(expr: Expr) -> tuple[str, ...]:
    """Those of ``unsound_reasons`` that hold whatever the numbers in ``expr`` mean."""
    return tuple(dict.fromkeys(_calendar_reasons(expr)))


def _calendar_reasons(expr: Expr) -> Iterator[str]:
    if isinstance(expr, promql.Call):
        name = expr.func.name
        if name in _CALENDAR:
            yield f"{name}() tells the time of day or the date, which isn't compressed"
        if name == "predict_linear":
            yield "predict_linear() looks ahead by a constant number of seconds"
    rest = isinstance(expr, promql.BinaryExpr) and operator(expr) == "%"
    if rest and any(isinstance(e, promql.Call) and e.func.name == "time" for e in _under(expr)):
        yield "time() % … tells the time of day, which isn't compressed"
    for child in children(expr):
        yield from _calendar_reasons(child)


def _under(expr: Expr) -> Iterator[Expr]:
    yield expr
    for child in children(expr):
        yield from _under(child)


def _unit_reasons(expr: Expr, recorded: Mapping[str, Unit]) -> Iterator[str]:
    if isinstance(expr, promql.BinaryExpr) and is_comparison(expr):
        left, right = unit(expr.lhs, recorded), unit(expr.rhs, recorded)
        if left.powers != right.powers and not (_is_zero(expr.lhs) or _is_zero(expr.rhs)):
            yield from (
                f"{cause}, and is compared with something that does not change"
                for cause in _both(left.causes, right.causes)
            )
    for child in children(expr):
        yield from _unit_reasons(child, recorded)


def _is_zero(expr: Expr) -> bool:
    """Zero is the same on every clock."""
    if isinstance(expr, (promql.ParenExpr, promql.UnaryExpr)):
        return _is_zero(expr.expr)
    return isinstance(expr, promql.NumberLiteral) and expr.val == 0
