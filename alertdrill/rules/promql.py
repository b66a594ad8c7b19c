"""PromQL as a tree: parse it, compare it, walk it, and rewrite its durations in the text.

The parser's own printer loses milliseconds and turns ``x[5m:]`` into ``x[5m]``, so a rewritten
expression is never printed from the tree: its text is edited, and the tree of the result is
compared with the tree that was wanted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from fractions import Fraction

import promql_parser as promql
from promql_parser import Expr

from alertdrill.rules.durations import divide_ms, format_ms, parse_ms

Shape = tuple[object, ...]

_COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")


# The parser is recursive, and its stack is the process's: what is far deeper than this kills it.
_MAX_NODES = 2_000
# So are those who walk the tree, by a few of Python's 1,000 frames a level.
_MAX_DEPTH = 150


class NotUnderstood(ValueError):
    """The expression can't be read here, and may be PromQL all the same: promtool can tell."""


def parse(text: str) -> Expr:
    """The tree of ``text``. Raises NotUnderstood, or ValueError for what no Prometheus accepts,
    both with one line of the parser's own words."""
    if not text.strip():
        raise ValueError("the expression is empty")
    if sum(text.count(char) for char in "(+-*/%^=<>{[") > _MAX_NODES:
        raise NotUnderstood("it is too long or too deep to be judged here")
    try:
        tree = promql.parse(text)
    except ValueError as error:
        words = (str(error).splitlines() or ["no PromQL"])[0]
        raise (NotUnderstood if _may_be_newer(text, words) else ValueError)(words) from None
    if _is_too_deep(tree):
        raise NotUnderstood("it is nested too deeply to be judged here")
    if any(selector.matchers.or_matchers for selector in selectors(tree)):
        raise ValueError("`or` between matchers is no PromQL, though other databases accept it")
    return tree


def _is_too_deep(tree: Expr) -> bool:
    level: tuple[Expr, ...] = (tree,)
    for _ in range(_MAX_DEPTH):
        level = tuple(child for expr in level for child in children(expr))
        if not level:
            return False
    return True


# What Prometheus learnt after the parser: durations that are computed, modifiers of ranges and
# of matching, digits in groups. Seeing one of these, the parser's refusal proves nothing.
_NEWER_WORDS = ("anchored", "smoothed", "fill", "fill_left", "fill_right", "offset", "@")
IN_BRACKETS = "unexpected character inside brackets"
_UNKNOWN_FUNCTION = "unknown function"
_BAD_NUMBER = "bad number or duration syntax"
_GROUPED_DIGITS = re.compile(r"[0-9A-Fa-fxX]_[0-9A-Fa-f]")


def _may_be_newer(text: str, words: str) -> bool:
    if _UNKNOWN_FUNCTION in words or IN_BRACKETS in words:
        return True
    if _BAD_NUMBER in words:
        return _GROUPED_DIGITS.search(text) is not None
    if words != "invalid promql query":
        return False
    tokens = "".join(char if char.isalnum() or char in "_@" else " " for char in text).split()
    return any(word in tokens for word in _NEWER_WORDS) or "@" in text


def children(expr: Expr) -> tuple[Expr, ...]:
    """The expressions directly below ``expr``; a string or number parameter is one too."""
    if isinstance(expr, promql.AggregateExpr):
        return (expr.expr, expr.param) if isinstance(expr.param, Expr) else (expr.expr,)
    if isinstance(expr, promql.BinaryExpr):
        return (expr.lhs, expr.rhs)
    if isinstance(expr, promql.Call):
        return tuple(expr.args)
    if isinstance(expr, promql.MatrixSelector):
        return (expr.vector_selector,)
    if isinstance(expr, (promql.ParenExpr, promql.UnaryExpr, promql.SubqueryExpr)):
        return (expr.expr,)
    return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """``expr`` and everything below it, parents first."""
    yield expr
    for child in children(expr):
        yield from walk(child)


def selectors(expr: Expr) -> tuple[promql.VectorSelector, ...]:
    """Every series selector in ``expr``, those of ranges included."""
    return tuple(node for node in walk(expr) if isinstance(node, promql.VectorSelector))


def metric_name(selector: promql.VectorSelector) -> str | None:
    """The one metric that a selector asks for, however it is written; None when it may be many."""
    if selector.name:
        return selector.name
    return equal_matcher(selector, "__name__")


def metrics_read(expr: Expr, recordings: Sequence[tuple[str, Expr]]) -> set[str | None]:
    """The metrics that ``expr`` reads, by itself or through ``recordings`` (a name may have
    several); None among them where a selector names no one metric."""
    unread, read = [expr], set[str | None]()
    while unread:
        new = {metric_name(selector) for selector in selectors(unread.pop())} - read
        read |= new
        unread += [tree for name, tree in recordings if name in new]
    return read


def equal_matcher(selector: promql.VectorSelector, label: str) -> str | None:
    """The value that ``label`` must equal in ``selector``, where it says so."""
    for matcher in selector.matchers.matchers:
        if matcher.name == label and matcher.op == promql.MatchOp.Equal:
            return matcher.value
    return None


def operator(expr: promql.BinaryExpr) -> str:
    """The operator's text, e.g. ``>=`` or ``unless``."""
    return str(expr.op)


def is_comparison(expr: Expr) -> bool:
    return isinstance(expr, promql.BinaryExpr) and operator(expr) in _COMPARISONS


def as_ms(delta: timedelta | None) -> int:
    return 0 if delta is None else round(delta / timedelta(milliseconds=1))


def look_back_ms(expr: Expr, recorded: Mapping[str, int] | None = None) -> int:
    """How far back the oldest sample lies that ``expr`` may use: ranges, subqueries, offsets.

    ``recorded``: the look-back of recorded series by their name, added where one is used. The
    staleness of an instant vector (Prometheus' lookback-delta) is not counted.
    """
    recorded = recorded or {}
    below = max((look_back_ms(child, recorded) for child in children(expr)), default=0)
    if isinstance(expr, promql.VectorSelector):
        return as_ms(expr.offset) + recorded.get(metric_name(expr) or "", 0)
    if isinstance(expr, promql.MatrixSelector):
        return as_ms(expr.range) + below
    if isinstance(expr, promql.SubqueryExpr):
        return as_ms(expr.range) + as_ms(expr.offset) + below
    return below


def shape(expr: Expr, on_duration: Callable[[int], int] = lambda ms: ms) -> Shape:
    """Everything that ``expr`` means as nested tuples, so that two trees can be compared.

    ``on_duration`` maps every range, step and offset (in milliseconds).
    """

    def duration(delta: timedelta | None) -> int | None:
        return None if delta is None else on_duration(as_ms(delta))

    def at(modifier: promql.AtModifier | None) -> Shape | None:
        return None if modifier is None else (str(modifier.type), repr(modifier.at))

    below = tuple(shape(child, on_duration) for child in children(expr))
    head: Shape
    if isinstance(expr, promql.VectorSelector):
        groups = [expr.matchers.matchers, *expr.matchers.or_matchers]
        matchers = tuple(tuple((str(m.op), m.name, m.value) for m in group) for group in groups)
        head = (expr.name, matchers, duration(expr.offset), at(expr.at))
    elif isinstance(expr, promql.MatrixSelector):
        head = (duration(expr.range),)
    elif isinstance(expr, promql.SubqueryExpr):
        head = (duration(expr.range), duration(expr.step), duration(expr.offset), at(expr.at))
    elif isinstance(expr, (promql.NumberLiteral, promql.StringLiteral)):
        head = (repr(expr.val),)
    elif isinstance(expr, promql.Call):
        head = (expr.func.name,)
    elif isinstance(expr, promql.AggregateExpr):
        parameter = None if isinstance(expr.param, Expr) else repr(expr.param)
        grouping = expr.modifier and (str(expr.modifier.type), tuple(expr.modifier.labels))
        head = (str(expr.op), parameter, grouping)
    elif isinstance(expr, promql.BinaryExpr):
        head = (str(expr.op), expr.modifier and _binary_modifier(expr.modifier))
    else:
        head = ()
    return (type(expr).__name__, *head, *below)


def _binary_modifier(modifier: promql.BinModifier) -> Shape:
    matching = modifier.matching
    return (
        str(modifier.card),
        matching and (str(matching.type), tuple(matching.labels)),
        modifier.return_bool,
        tuple(modifier.group_labels or ()),
        (modifier.fill_values.lhs, modifier.fill_values.rhs),
    )


_TOKEN = re.compile(
    r"""(?P<skip> "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | `[^`]*` | \#[^\n]* )
      | (?P<offset> \b(?i:offset)\b (?P<sign>\s*[-+]?\s*) (?P<by>[0-9][0-9A-Za-z.]*) )
      | (?P<word> [A-Za-z_:][A-Za-z0-9_:]* | [0-9][0-9A-Za-z_.]* )
      | (?P<range> \[ [^\]]* \] )
      | (?P<other> . )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"[0-9][0-9A-Za-z.]*")


def divide_durations(text: str, factor: Fraction) -> str:
    """``text`` with every range, step and offset divided by ``factor``; all else as it stands.

    Times given to ``@`` and numbers (also those written like ``5m`` outside of brackets) keep
    their value. Raises ValueError when ``text`` is no PromQL, when a duration would fall below
    a millisecond, and when the result does not mean what it should.
    """
    wanted = shape(parse(text), lambda ms: divide_ms(ms, factor))
    rewritten = rewrite_text(text, factor)
    if shape(parse(rewritten)) != wanted:
        raise ValueError(f"its durations can't be rewritten safely (tried {rewritten!r})")
    return rewritten


def rewrite_text(text: str, factor: Fraction) -> str:
    """The edit behind ``divide_durations``, without its proof."""

    def divided(number: re.Match[str]) -> str:
        return format_ms(divide_ms(_literal_ms(number.group()), factor))

    def token(match: re.Match[str]) -> str:
        if match["range"]:
            return _NUMBER.sub(divided, match["range"])
        if match["offset"]:
            head = match["offset"].removesuffix(match["by"])
            return head + format_ms(divide_ms(_literal_ms(match["by"]), factor))
        return match.group()

    return _TOKEN.sub(token, text)


def _literal_ms(text: str) -> int:
    """A duration, or (since Prometheus 3) a plain number of seconds."""
    try:
        return parse_ms(text)
    except ValueError:
        return round(Fraction(text) * 1000)
