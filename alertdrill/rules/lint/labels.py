"""Which labels a result has: what PromQL's aggregations and matching leave of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import promql_parser as promql
from promql_parser import Expr

from alertdrill.rules.promql import children, equal_matcher, metric_name, operator

SETS = ("and", "unless", "or")
# They pick series and leave them as they are.
_PICKING = ("topk", "bottomk", "limitk", "limit_ratio")
ABSENT = ("absent", "absent_over_time")
# Every scraped series has them.
TARGET = frozenset({"job", "instance"})


@dataclass(frozen=True)
class Labels:
    """``exact``: at most ``names``. Otherwise: whatever the series have, without ``names``."""

    exact: bool
    names: frozenset[str] = frozenset()

    def may_have(self, label: str) -> bool:
        return (label in self.names) == self.exact

    def only(self, kept: frozenset[str]) -> Labels:
        return Labels(True, frozenset(label for label in kept if self.may_have(label)))

    def without(self, dropped: frozenset[str]) -> Labels:
        names = self.names - dropped if self.exact else self.names | dropped
        return Labels(self.exact, names)

    def plus(self, added: frozenset[str]) -> Labels:
        names = self.names | added if self.exact else self.names - added
        return Labels(self.exact, names)


NONE = Labels(True)
ANY = Labels(False)


def bare(expr: Expr) -> Expr:
    """``expr`` without the parentheses around it."""
    while isinstance(expr, promql.ParenExpr):
        expr = expr.expr
    return expr


def is_scalar(expr: Expr) -> bool:
    """Whether ``expr`` is one number without labels, and matching doesn't concern it."""
    expr = bare(expr)
    if isinstance(expr, promql.NumberLiteral):
        return True
    if isinstance(expr, promql.UnaryExpr):
        return is_scalar(expr.expr)
    if isinstance(expr, promql.BinaryExpr):
        return is_scalar(expr.lhs) and is_scalar(expr.rhs)
    return isinstance(expr, promql.Call) and expr.func.return_type == promql.ValueType.Scalar


def is_absence(expr: Expr) -> bool:
    expr = bare(expr)
    return isinstance(expr, promql.Call) and expr.func.name in ABSENT


def branches(expr: Expr) -> tuple[Expr, ...]:
    """The alternatives of ``a or b or c``; ``expr`` itself where there are none."""
    expr = bare(expr)
    if isinstance(expr, promql.BinaryExpr) and operator(expr) == "or":
        return (*branches(expr.lhs), *branches(expr.rhs))
    return (expr,)


def labels_of(expr: Expr) -> Labels:
    """The labels that ``expr``'s result may have; of ``a or b``, those of either."""
    found = [_labels(branch) for branch in branches(expr)]
    first = found[0]
    for other in found[1:]:
        if first.exact and other.exact:
            first = first.plus(other.names)
        else:
            lacking = [side.names for side in (first, other) if not side.exact]
            having = frozenset().union(*(side.names for side in (first, other) if side.exact))
            first = Labels(False, frozenset.intersection(*lacking) - having)
    return first


def _labels(expr: Expr) -> Labels:
    if is_scalar(expr):
        return NONE
    if isinstance(expr, promql.VectorSelector):
        empty = {m.name for m in expr.matchers.matchers if m.op == promql.MatchOp.Equal}
        return Labels(False, frozenset(n for n in empty if equal_matcher(expr, n) == ""))
    if isinstance(expr, promql.AggregateExpr):
        return _aggregated(expr)
    if isinstance(expr, promql.Call):
        return _called(expr)
    if isinstance(expr, promql.BinaryExpr):
        return _combined(expr)
    below = children(expr)
    return labels_of(below[0]) if below else NONE


def grouping(expr: promql.AggregateExpr) -> tuple[bool, frozenset[str]]:
    """Whether it is ``by``, and the labels; without a modifier it is ``by ()``."""
    if expr.modifier is None:
        return True, frozenset()
    by = expr.modifier.type == promql.AggModifierType.By
    return by, frozenset(expr.modifier.labels)


def _aggregated(expr: promql.AggregateExpr) -> Labels:
    below = labels_of(expr.expr)
    if str(expr.op) in _PICKING:
        return below
    by, names = grouping(expr)
    found = below.only(names) if by else below.without(names)
    if str(expr.op) == "count_values" and isinstance(expr.param, promql.StringLiteral):
        found = found.plus(frozenset({expr.param.val}))
    return found


def _called(call: promql.Call) -> Labels:
    name = call.func.name
    if name in ABSENT:
        return Labels(True, _absent_labels(call))
    if name == "info":
        return ANY
    vectors = [arg for arg in call.args if not _is_parameter(arg)]
    if not vectors or name == "vector":
        return NONE
    below = labels_of(vectors[0])
    if name in ("histogram_quantile", "histogram_fraction"):
        return below.without(frozenset({"le"}))
    if name in ("label_replace", "label_join") and isinstance(call.args[1], promql.StringLiteral):
        return below.plus(frozenset({call.args[1].val}))
    return below


def _is_parameter(arg: Expr) -> bool:
    return isinstance(arg, promql.StringLiteral) or is_scalar(arg)


def _absent_labels(call: promql.Call) -> frozenset[str]:
    """absent() has the labels that its selector asks for by ``=``, and no others."""
    arg = bare(call.args[0])
    selector = arg.vector_selector if isinstance(arg, promql.MatrixSelector) else arg
    if not isinstance(selector, promql.VectorSelector):
        return frozenset()
    names = {m.name for m in selector.matchers.matchers} - {"__name__"}
    return frozenset(name for name in names if equal_matcher(selector, name))


def matching(expr: promql.BinaryExpr) -> tuple[bool, frozenset[str]] | None:
    """Whether it is ``on``, and the labels; None where all labels must agree."""
    if expr.modifier is None or expr.modifier.matching is None:
        return None
    on = expr.modifier.matching.type == promql.LabelModifierType.Include
    return on, frozenset(expr.modifier.matching.labels)


def grouped_side(expr: promql.BinaryExpr) -> str:
    """``left`` or ``right`` for group_left and group_right (the many), otherwise empty."""
    card = None if expr.modifier is None else expr.modifier.card
    if card == promql.VectorMatchCardinality.ManyToOne:
        return "left"
    return "right" if card == promql.VectorMatchCardinality.OneToMany else ""


def _combined(expr: promql.BinaryExpr) -> Labels:
    if is_scalar(expr.lhs):
        return labels_of(expr.rhs)
    left = labels_of(expr.lhs)
    if is_scalar(expr.rhs) or operator(expr) in SETS:
        return left
    many = grouped_side(expr)
    if many:
        copied = frozenset((expr.modifier and expr.modifier.group_labels) or ())
        return (left if many == "left" else labels_of(expr.rhs)).plus(copied)
    how = matching(expr)
    if how is None:
        return left
    on, names = how
    return left.only(names) if on else left.without(names)


def fixed_labels(expr: Expr) -> dict[str, str]:
    """Labels that all series of ``expr``'s result have with one value, as its matchers ask."""
    found = _pinned(expr)
    kept = labels_of(expr) if found else NONE
    return {name: value for name, value in found.items() if kept.may_have(name)}


def _pinned(expr: Expr) -> dict[str, str]:
    """Labels that have one value, unless they are aggregated away."""
    expr = bare(expr)
    if isinstance(expr, promql.VectorSelector):
        equal = [m for m in expr.matchers.matchers if m.op == promql.MatchOp.Equal and m.value]
        return {m.name: m.value for m in equal if m.name != "__name__"}
    if isinstance(expr, promql.BinaryExpr):
        if operator(expr) == "or":
            return {}
        found = _pinned(
            expr.rhs if is_scalar(expr.lhs) or grouped_side(expr) == "right" else expr.lhs
        )
        rewritten = frozenset((expr.modifier and expr.modifier.group_labels) or ())
    elif isinstance(expr, promql.Call):
        if expr.func.name in ("info", "vector"):
            return {}
        vectors = [arg for arg in expr.args if not _is_parameter(arg)]
        found = _pinned(vectors[0]) if vectors else {}
        is_rewriting = expr.func.name in ("label_replace", "label_join")
        texts = [arg.val for arg in expr.args if isinstance(arg, promql.StringLiteral)]
        rewritten = frozenset(texts[:1] if is_rewriting else ())
    else:
        below = children(expr)
        return _pinned(below[0]) if below else {}
    return {name: value for name, value in found.items() if name not in rewritten}


def raw_selectors(expr: Expr) -> Iterator[promql.VectorSelector]:
    """The selectors whose labels reach the result of ``expr`` as they are."""
    expr = bare(expr)
    if isinstance(expr, promql.VectorSelector):
        yield expr
    elif isinstance(expr, promql.AggregateExpr):
        if str(expr.op) in _PICKING:
            yield from raw_selectors(expr.expr)
    elif isinstance(expr, promql.BinaryExpr):
        yield from raw_selectors(expr.rhs if is_scalar(expr.lhs) else expr.lhs)
    elif not (isinstance(expr, promql.Call) and expr.func.name in ABSENT):
        for child in children(expr):
            yield from raw_selectors(child)


def is_recorded_name(name: str) -> bool:
    """Colons are for recorded series; what labels or unit they have, their names only hint at."""
    return ":" in name


def surely_has_target(expr: Expr) -> str:
    """The metric by which ``expr``'s result has ``job`` and ``instance``; empty if unsure."""
    found = labels_of(expr)
    names = [metric_name(selector) for selector in raw_selectors(expr)]
    unsure = found.exact or bool(found.names & TARGET) or not names
    if unsure or any(name is None or is_recorded_name(name) for name in names):
        return ""
    return names[0] or ""
