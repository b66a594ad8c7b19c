"""How an expression can be broken: each operator replaces one part of it by another text.

A hint says which situation tells the mutant from the rule; ``{alert}`` stands for its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

import promql_parser
from promql_parser import Expr

from alertdrill.rules import promql
from alertdrill.rules.durations import format_ms, parse_ms
from alertdrill.rules.mutation.spans import Located, Node, Token, closing


@dataclass(frozen=True)
class Change:
    """One way to break an expression: ``text`` in place of ``node``."""

    operator: str
    node: Node
    text: str
    hint: str


Operator = Callable[[Located, Node], Iterator[Change]]

WEAKER_OR_FLIPPED = {
    ">": (">=", "<"),
    ">=": (">", "<="),
    "<": ("<=", ">"),
    "<=": ("<", ">="),
    "==": ("!=", ">=", "<="),
    "!=": ("==",),
}
SWAPPED: dict[str, dict[str, tuple[str, ...]]] = {
    "aggregation": {
        "sum": ("avg", "max"),
        "avg": ("sum", "max"),
        "max": ("min", "avg"),
        "min": ("max", "avg"),
        "count": ("sum",),
        "topk": ("bottomk",),
        "bottomk": ("topk",),
        "stddev": ("avg",),
        "stdvar": ("avg",),
    },
    "function": {
        "rate": ("increase", "irate"),
        "increase": ("rate", "irate"),
        "irate": ("rate", "increase"),
        "delta": ("idelta",),
        "idelta": ("delta",),
        "avg_over_time": ("max_over_time", "min_over_time"),
        "max_over_time": ("min_over_time", "avg_over_time"),
        "min_over_time": ("max_over_time", "avg_over_time"),
        "sum_over_time": ("avg_over_time", "count_over_time"),
        "count_over_time": ("sum_over_time",),
        "last_over_time": ("max_over_time",),
        "absent_over_time": ("present_over_time",),
        "present_over_time": ("absent_over_time",),
    },
    "set operator": {
        "and": ("unless", "or"),
        "unless": ("and", "or"),
        "or": ("and", "unless"),
    },
    "arithmetic": {"/": ("*",), "*": ("/",), "+": ("-",), "-": ("+",)},
}
_QUANTILES = ("0.5", "0.9", "0.99")
_WITH_QUANTILE = ("histogram_quantile", "quantile_over_time")
_NEGATED = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}
_FACTORS = (Decimal(2), Decimal("0.5"), Decimal("1.1"), Decimal("0.9"))


def changes(located: Located) -> Iterator[Change]:
    """Every way to break the expression by one change, in the order of its text."""
    for node in located.root.walk():
        for operator in OPERATORS:
            yield from operator(located, node)


def _thresholds(located: Located, node: Node) -> Iterator[Change]:
    if not promql.is_comparison(node.expr):
        return
    for side, other in (node.children, reversed(node.children)):
        if not _is_constant(side.expr) or _is_constant(other.expr):
            continue
        number, value = next(
            (part, Decimal(repr(part.expr.val)))
            for part in side.walk()
            if isinstance(part.expr, promql_parser.NumberLiteral)
        )
        old = located.text(number)
        for factor in _FACTORS if value.is_finite() and value else ():
            new = f"{(value * factor).normalize():f}"
            low, high = sorted((abs(value).normalize(), abs(value * factor).normalize()))
            yield Change(
                "threshold",
                number,
                new,
                f"an alert_rule_test of {{alert}} where {_shown(located, other)} (threshold {old})"
                f" lies between {low:f} and {high:f}",
            )


def _comparators(located: Located, node: Node) -> Iterator[Change]:
    if not (isinstance(node.expr, promql_parser.BinaryExpr) and promql.is_comparison(node.expr)):
        return
    old = promql.operator(node.expr)
    token = _operator_token(node)
    for new in WEAKER_OR_FLIPPED[old]:
        weakened = set(new) ^ set(old) == {"="}
        where = "equals" if weakened else "is clearly above, and another where it is clearly below,"
        yield Change(
            "comparator",
            node,
            _edited(located, node, token.start, token.end, new),
            f"an alert_rule_test of {{alert}} where {_shown(located, node.children[0])} {where}"
            f" {_shown(located, node.children[1])}",
        )
    kept = node.children[1 if _is_constant(node.children[0].expr) else 0]
    yield Change(
        "comparison dropped",
        node,
        located.text(kept),
        f"an alert_rule_test of {{alert}} where {_shown(located, node)} does not hold",
    )


def _windows(located: Located, node: Node) -> Iterator[Change]:
    if not isinstance(node.expr, (promql_parser.MatrixSelector, promql_parser.SubqueryExpr)):
        return
    opening = [index for index, token in node.own_depth() if token.text == "["][-1]
    token = node.tokens[opening + 1]
    try:
        old_ms = parse_ms(token.text)
    except ValueError:
        return  # a plain number of seconds, or an expression
    for new_ms in (old_ms // 2, old_ms * 2):
        low, high = sorted((old_ms, new_ms))
        yield Change(
            "window",
            node,
            _edited(located, node, token.start, token.end, format_ms(new_ms)),
            f"an alert_rule_test of {{alert}} at an eval_time {format_ms(low)} to"
            f" {format_ms(high)} after the series changed, where only one of the two windows"
            " still sees what was before",
        )


def _matchers(located: Located, node: Node) -> Iterator[Change]:
    if not _is_selector(node.expr):
        return
    opening = next((index for index, token in node.own_depth() if token.text == "{"), None)
    if opening is None:
        return
    last = closing(node.tokens, opening)
    parts = _split(node.tokens[opening + 1 : last])
    for index, part in enumerate(parts):
        if len(part) != 3 or part[1].text not in _NEGATED:
            continue
        label, comparison, _ = part
        written = located.source[label.start : part[-1].end]
        hint = (
            f"an alert_rule_test of {{alert}} with series that {written} does not select and that"
            " would change its result"
        )
        yield Change(
            "matcher negated",
            node,
            _edited(located, node, comparison.start, comparison.end, _NEGATED[comparison.text]),
            hint,
        )
        if len(parts) == 1:
            cut = (node.tokens[opening].start, node.tokens[last].end)
        else:
            cut = _with_comma(parts, index)
        if cut[0] > node.start or cut[1] < node.end:
            yield Change("matcher dropped", node, _edited(located, node, *cut, ""), hint)


def _metric(located: Located, node: Node) -> Iterator[Change]:
    first = node.tokens[0]
    if _is_selector(node.expr) and first.text[0] not in "{\"'`":
        yield Change(
            "metric renamed",
            node,
            _edited(located, node, first.end, first.end, "_renamed"),
            f"an alert_rule_test of {{alert}} whose result depends on {first.text}",
        )


def _swaps(located: Located, node: Node) -> Iterator[Change]:
    expr = node.expr
    if isinstance(expr, promql_parser.AggregateExpr):
        kind, token = "aggregation", node.tokens[0]
        hint = "with two or more series of different values in one group"
    elif isinstance(expr, promql_parser.Call):
        kind, token = "function", node.tokens[0]
        hint = "whose series change unevenly within the window"
    elif isinstance(expr, promql_parser.BinaryExpr) and not _is_constant(expr):
        token = _operator_token(node)
        kind = "set operator" if token.text.lower() in SWAPPED["set operator"] else "arithmetic"
        hint = (
            "where only one side has a result" if kind == "set operator" else "near its threshold"
        )
    else:
        return
    for new in SWAPPED[kind].get(token.text.lower(), ()):
        yield Change(
            kind,
            node,
            _edited(located, node, token.start, token.end, new),
            f"an alert_rule_test of {{alert}} {hint}",
        )


def _absence(located: Located, node: Node) -> Iterator[Change]:
    if isinstance(node.expr, promql_parser.Call) and node.expr.func.name == "absent":
        (inner,) = node.children
        yield Change(
            "absent dropped",
            node,
            located.text(inner),
            f"an alert_rule_test of {{alert}} where {_shown(located, inner)} exists, and all is"
            " well",
        )


def _quantiles(located: Located, node: Node) -> Iterator[Change]:
    expr = node.expr
    if isinstance(expr, promql_parser.Call) and expr.func.name in _WITH_QUANTILE:
        number = node.children[0]
    elif isinstance(expr, promql_parser.AggregateExpr) and str(expr.op) == "quantile":
        number = node.children[1]
    else:
        return
    if isinstance(number.expr, promql_parser.NumberLiteral):
        for new in _QUANTILES:
            if float(new) != number.expr.val:
                yield Change(
                    "quantile",
                    number,
                    new,
                    "an alert_rule_test of {alert} where the quantiles"
                    f" {located.text(number)} and {new} lie on different sides of the threshold",
                )


def _labels_of_lists(located: Located, node: Node) -> Iterator[Change]:
    for kind, opening, clause_start in _label_lists(node):
        last = closing(node.tokens, opening)
        parts = _split(node.tokens[opening + 1 : last])
        for index, part in enumerate(parts):
            if len(parts) > 1:
                cut = _with_comma(parts, index)
            elif kind == "grouping":
                cut = (node.tokens[clause_start].start, node.tokens[last].end)
            else:
                cut = (part[0].start, part[-1].end)
            yield Change(
                f"{kind} label dropped",
                node,
                _edited(located, node, *cut, ""),
                f"an alert_rule_test of {{alert}} with two values of {part[0].text}, of which only"
                " one is bad, and exp_labels that say which",
            )


def _label_lists(node: Node) -> Iterator[tuple[str, int, int]]:
    """What kind of list, the index of its opening bracket and of the word before."""
    if isinstance(node.expr, promql_parser.AggregateExpr):
        kind, words = "grouping", ("by", "without")
    elif isinstance(node.expr, promql_parser.BinaryExpr):
        kind, words = "matching", ("on", "ignoring")
    else:
        return
    between = range(len(node.tokens))
    if kind == "matching":
        left, right = node.children[0].end, node.children[1].start
        between = range(*(sum(t.start < edge for t in node.tokens) for edge in (left, right)))
    depth = {index for index, _ in node.own_depth()}
    for index in between:
        if index in depth and node.tokens[index].text.lower() in words:
            yield kind, index + 1, index


OPERATORS: tuple[Operator, ...] = (
    _thresholds,
    _comparators,
    _windows,
    _matchers,
    _metric,
    _swaps,
    _absence,
    _quantiles,
    _labels_of_lists,
)


def _shown(located: Located, node: Node) -> str:
    """A part in one line, for people."""
    return f"`{' '.join(located.text(node).split())}`"


def _is_selector(expr: Expr) -> bool:
    return isinstance(expr, (promql_parser.VectorSelector, promql_parser.MatrixSelector))


def _is_constant(expr: Expr) -> bool:
    return all(
        isinstance(
            part,
            (
                promql_parser.NumberLiteral,
                promql_parser.ParenExpr,
                promql_parser.UnaryExpr,
                promql_parser.BinaryExpr,
            ),
        )
        for part in promql.walk(expr)
    )


def _operator_token(node: Node) -> Token:
    """The operator of a binary expression: the first token behind its left side."""
    left = node.children[0]
    return next(token for token in node.tokens if token.start >= left.end)


def _edited(located: Located, node: Node, start: int, end: int, new: str) -> str:
    """The text of ``node`` with ``new`` from ``start`` to ``end`` (offsets in the source)."""
    return located.source[node.start : start] + new + located.source[end : node.end]


def _split(tokens: tuple[Token, ...]) -> list[tuple[Token, ...]]:
    """The tokens between commas."""
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.text == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return [tuple(part) for part in parts if part]


def _with_comma(parts: list[tuple[Token, ...]], index: int) -> tuple[int, int]:
    """From where to where to cut one of several parts, and one comma with it."""
    if index + 1 < len(parts):
        return parts[index][0].start, parts[index + 1][0].start
    return parts[index - 1][-1].end, parts[index][-1].end
