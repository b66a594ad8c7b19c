"""Mutants that no series whatsoever can tell from the rule, by what PromQL means.

Both expressions are brought to a form that forgets what can't matter where it stands: whether
``rate`` or ``increase`` of a counter is above zero, the value of what only has to exist, a guard
against a zero denominator where 0/0 is no alert anyway. Equal forms are equivalent. Taken for
granted: counters (and so their rates) are never negative, ``up`` is 0 or 1, all histograms of a
metric have the same buckets, and no sample is NaN.
"""

from __future__ import annotations

from enum import Enum

import promql_parser
from promql_parser import Expr

from alertdrill.rules import promql
from alertdrill.rules.promql import Shape

_RISING = {"rate", "increase"}
_RATES = {*_RISING, "irate"}
_COUNTERS = ("_total", "_bucket", "_count")
# Of values that are never negative, these are positive exactly when one of the values is.
_POSITIVE_WITH_ONE = {"sum", "avg", "max"}
_KEEPING_SIGN = {*_POSITIVE_WITH_ONE, "min", "count", "group"}


class Need(Enum):
    """What of a result can matter where it is used."""

    VALUE = "value"
    SCALE = "scale"  # up to a factor that all values share
    SIGN = "sign"
    PRESENCE = "presence"


def equivalent(original: str, mutant: str, *, value_is_used: bool) -> bool:
    """Whether two expressions give the same alerts for all series.

    ``value_is_used``: a template shows the value, or (of a recording rule) it is recorded.
    """
    need = Need.VALUE if value_is_used else Need.PRESENCE
    return _form(promql.parse(original), need) == _form(promql.parse(mutant), need)


def _form(expr: Expr, need: Need) -> Shape:
    if isinstance(expr, promql_parser.ParenExpr):
        return _form(expr.expr, need)
    if isinstance(expr, promql_parser.BinaryExpr):
        return _comparison(expr, need) or _set_operation(expr, need) or _plain(expr)
    if isinstance(expr, promql_parser.Call):
        return _call(expr, need)
    if isinstance(expr, promql_parser.AggregateExpr):
        return _aggregation(expr, need)
    return _plain(expr)


def _plain(expr: Expr, below: Need = Need.VALUE) -> Shape:
    children = promql.children(expr)
    shape = promql.shape(expr)
    return (*shape[: len(shape) - len(children)], *(_form(child, below) for child in children))


def _comparison(expr: promql_parser.BinaryExpr, need: Need) -> Shape | None:
    if not promql.is_comparison(expr) or (expr.modifier and expr.modifier.return_bool):
        return None
    symbol = promql.operator(expr)
    bound = _constant(expr.rhs)
    if bound == 0 and _never_negative(expr.lhs):
        if symbol in ("==", "<="):
            return ("is zero", _form(expr.lhs, Need.SIGN))
        if symbol in (">", "!="):
            inner = Need.SIGN if need is Need.PRESENCE else Need.VALUE
            return ("is positive", _form(expr.lhs, inner))
    if bound is not None and bound >= 0 and symbol in (">", ">="):
        ratio = _guarded_ratio(_bare(expr.lhs))
        if ratio is not None:
            return (symbol, ratio, repr(bound))
    return None


def _set_operation(expr: promql_parser.BinaryExpr, need: Need) -> Shape | None:
    symbol = promql.operator(expr)
    if symbol not in ("and", "unless", "or"):
        return None
    *head, _, _ = promql.shape(expr)
    inner = Need.PRESENCE if need is Need.PRESENCE else Need.VALUE
    right = inner if symbol == "or" else Need.PRESENCE
    return (*head, _form(expr.lhs, inner), _form(expr.rhs, right))


def _call(expr: promql_parser.Call, need: Need) -> Shape:
    name = expr.func.name
    if need in (Need.SIGN, Need.SCALE) and name in _RISING:
        return ("rises", *(_form(argument, Need.VALUE) for argument in expr.args))
    if name == "histogram_quantile":
        quantile, buckets = expr.args
        return (name, _form(quantile, Need.VALUE), _form(buckets, Need.SCALE))
    return _plain(expr, Need.PRESENCE if name == "absent" else Need.VALUE)


def _aggregation(expr: promql_parser.AggregateExpr, need: Need) -> Shape:
    name = str(expr.op)
    if need is Need.SIGN and name in _POSITIVE_WITH_ONE and _never_negative(expr.expr):
        return ("one is positive", _grouping(expr), _form(expr.expr, Need.SIGN))
    if need is Need.SCALE and name in ("sum", "avg"):
        return ("all together", _grouping(expr), _form(expr.expr, Need.SCALE))
    return _plain(expr, Need.PRESENCE if name in ("count", "group") else Need.VALUE)


def _guarded_ratio(expr: Expr) -> Shape | None:
    """``a / (b > 0)`` and ``a / b`` alike, where b can only be 0 when a is.

    Then 0/0 is NaN, and above nothing.
    """
    if not isinstance(expr, promql_parser.BinaryExpr) or promql.operator(expr) != "/":
        return None
    below = _bare(expr.rhs)
    if (
        isinstance(below, promql_parser.BinaryExpr)
        and promql.operator(below) in (">", ">=", "!=")
        and not (below.modifier and below.modifier.return_bool)
        and _constant(below.rhs) == 0
    ):
        below = _bare(below.lhs)
    above = _bare(expr.lhs)
    if not _is_part_of(above, below):
        return None
    *head, _, _ = promql.shape(expr)
    return ("ratio", *head, _form(above, Need.VALUE), _form(below, Need.VALUE))


def _is_part_of(part: Expr, whole: Expr) -> bool:
    """Both are sums of rates over the same window, and one selects among the other's series."""
    few, many = _summed_rates(part), _summed_rates(whole)
    if few is None or many is None or few[0] != many[0]:
        return False
    return few[1] >= many[1]


def _summed_rates(expr: Expr) -> tuple[Shape, frozenset[Shape]] | None:
    """What ``sum(rate(m{…}[w]))`` is but for its matchers, and the matchers."""
    if not isinstance(expr, promql_parser.AggregateExpr) or str(expr.op) != "sum":
        return None
    call = _bare(expr.expr)
    if not isinstance(call, promql_parser.Call) or call.func.name not in _RATES:
        return None
    window = call.args[0]
    if not isinstance(window, promql_parser.MatrixSelector):
        return None
    selector = window.vector_selector
    if selector.matchers.or_matchers:
        return None
    matchers = frozenset((str(m.op), m.name, m.value) for m in selector.matchers.matchers)
    kind = (
        _grouping(expr),
        call.func.name,
        window.range,
        selector.name,
        selector.offset,
        repr(selector.at),
    )
    return kind, matchers


def _grouping(expr: promql_parser.AggregateExpr) -> Shape | None:
    modifier = expr.modifier
    return None if modifier is None else (str(modifier.type), tuple(sorted(modifier.labels)))


def _bare(expr: Expr) -> Expr:
    return _bare(expr.expr) if isinstance(expr, promql_parser.ParenExpr) else expr


def _constant(expr: Expr) -> float | None:
    bare = _bare(expr)
    return float(bare.val) if isinstance(bare, promql_parser.NumberLiteral) else None


def _never_negative(expr: Expr) -> bool:
    expr = _bare(expr)
    if isinstance(expr, promql_parser.VectorSelector):
        name = promql.metric_name(expr) or ""
        return name == "up" or name.endswith(_COUNTERS)
    if isinstance(expr, promql_parser.Call):
        return expr.func.name in _RATES
    if isinstance(expr, promql_parser.AggregateExpr):
        return str(expr.op) in _KEEPING_SIGN and _never_negative(expr.expr)
    if isinstance(expr, promql_parser.BinaryExpr) and promql.operator(expr) in ("/", "*", "+"):
        return _never_negative(expr.lhs) and _never_negative(expr.rhs)
    return False
