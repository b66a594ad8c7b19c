"""Where the parts of a PromQL expression stand in its text, found with the parser's own help.

The parser gives a tree without positions. Each node's children are looked for among the tokens
of its own span, and a candidate counts only when the parser reads it as that child. A replaced
part is proven the same way: the new text must read as the old tree with that one part changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import promql_parser
from promql_parser import Expr

from alertdrill.rules import promql

_TOKEN = re.compile(
    r"""(?P<skip> \s+ | \#[^\n]* )
      | (?P<string> "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | `[^`]*` )
      | (?P<word> [A-Za-z_:][A-Za-z0-9_:]* | (?:[0-9]|\.[0-9])(?:[eE][-+][0-9]|[0-9A-Za-z_.])* )
      | (?P<operator> == | != | >= | <= | =~ | !~ | . )""",
    re.VERBOSE | re.DOTALL,
)
_OPENING = "([{"
_CLOSING = ")]}"
_MATCHING = ("on", "ignoring", "group_left", "group_right", "fill", "fill_left", "fill_right")


@dataclass(frozen=True)
class Token:
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Node:
    """A part of an expression: ``source[start:end]`` reads as ``expr``.

    ``path`` leads to it from the root through ``promql.children``. A range selector has no
    children here: its modifiers stand behind the range, but belong to the selector in it.
    """

    expr: Expr
    path: tuple[int, ...]
    tokens: tuple[Token, ...]
    children: tuple[Node, ...]

    @property
    def start(self) -> int:
        return self.tokens[0].start

    @property
    def end(self) -> int:
        return self.tokens[-1].end

    def walk(self) -> Iterator[Node]:
        """This node and everything below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def own_depth(self) -> Iterator[tuple[int, Token]]:
        """Its tokens outside of any bracket, with their index."""
        depth = 0
        for index, token in enumerate(self.tokens):
            if token.text in _CLOSING:
                depth -= 1
            if depth == 0:
                yield index, token
            if token.text in _OPENING:
                depth += 1


@dataclass(frozen=True)
class Located:
    """An expression's text and its tree with positions."""

    source: str
    root: Node

    def text(self, node: Node) -> str:
        return self.source[node.start : node.end]

    def replace(self, node: Node, text: str) -> str:
        """The whole text with ``node`` replaced by ``text``, in parentheses where it needs them.

        Raises ValueError when the parser refuses the result, or reads more into it than this.
        """
        wanted = _reshaped(self.root, node.path, promql.shape(promql.parse(text)))
        for candidate in (text, f"({text})"):
            result = self.source[: node.start] + candidate + self.source[node.end :]
            if without_parentheses(promql.shape(promql.parse(result))) == wanted:
                return result
        raise ValueError(f"{text!r} can't take the place of {self.text(node)!r}")


def locate(source: str) -> Located:
    """``source`` with the position of each part. Raises ValueError when it is no PromQL, or when
    a part can't be found."""
    expr = promql.parse(source)
    tokens = tuple(
        Token(match.group(), match.start(), match.end())
        for match in _TOKEN.finditer(source)
        if match["skip"] is None
    )
    return Located(source, _node(source, expr, tokens, ()))


def _node(source: str, expr: Expr, tokens: tuple[Token, ...], path: tuple[int, ...]) -> Node:
    spans = _children(source, expr, tokens)
    children = tuple(
        _node(source, child, tokens[slice(*span)], (*path, index))
        for index, (child, span) in enumerate(zip(promql.children(expr), spans, strict=False))
    )
    return Node(expr, path, tokens, children)


Span = tuple[int, int]


def _children(source: str, expr: Expr, tokens: tuple[Token, ...]) -> tuple[Span, ...]:
    """The token spans of ``promql.children(expr)``, in that order; of a range's, none."""
    last = len(tokens)
    if isinstance(expr, promql_parser.ParenExpr):
        return ((1, last - 1),)
    if isinstance(expr, promql_parser.UnaryExpr):
        return ((1, last),)
    if isinstance(expr, promql_parser.Call):
        return _arguments(tokens, 1)
    if isinstance(expr, promql_parser.AggregateExpr):
        spans = _arguments(tokens, _aggregated_at(tokens))
        return spans if len(spans) == 1 else (spans[1], spans[0])
    if isinstance(expr, promql_parser.SubqueryExpr):
        brackets = [i for i, token in enumerate(tokens) if token.text == "["]
        return _first_that_reads(source, expr, tokens, [((0, at),) for at in reversed(brackets)])
    if isinstance(expr, promql_parser.BinaryExpr):
        splits = [
            ((0, at), (_behind_modifiers(tokens, at + 1), last))
            for at, token in enumerate(tokens)
            if token.text.lower() == promql.operator(expr) and 0 < at < last - 1
        ]
        return _first_that_reads(source, expr, tokens, splits)
    return ()


def _first_that_reads(
    source: str, expr: Expr, tokens: tuple[Token, ...], candidates: Iterable[tuple[Span, ...]]
) -> tuple[Span, ...]:
    wanted = [promql.shape(child) for child in promql.children(expr)]
    for spans in candidates:
        if [_shape(source, tokens[slice(*span)]) for span in spans] == wanted:
            return spans
    raise ValueError(f"can't tell where the parts of {source!r} stand")


def _shape(source: str, tokens: tuple[Token, ...]) -> promql.Shape | None:
    if not tokens:
        return None
    try:
        return promql.shape(promql.parse(source[tokens[0].start : tokens[-1].end]))
    except ValueError:
        return None


def _arguments(tokens: tuple[Token, ...], opening: int) -> tuple[Span, ...]:
    """The spans between the commas of the parentheses that open at ``opening``."""
    spans = []
    depth, begun = 0, opening + 1
    for index in range(opening, len(tokens)):
        text = tokens[index].text
        if text in _OPENING:
            depth += 1
        elif text in _CLOSING:
            depth -= 1
        if (text == "," and depth == 1) or depth == 0:
            if index > begun:
                spans.append((begun, index))
            begun = index + 1
            if depth == 0:
                break
    return tuple(spans)


def _aggregated_at(tokens: tuple[Token, ...]) -> int:
    """Where the parentheses open that hold what is aggregated: behind ``by (…)`` or at once."""
    if tokens[1].text.lower() in ("by", "without"):
        return closing(tokens, 2) + 1
    return 1


def _behind_modifiers(tokens: tuple[Token, ...], index: int) -> int:
    while index < len(tokens):
        word = tokens[index].text.lower()
        if word == "bool":
            index += 1
        elif word in _MATCHING:
            with_list = index + 1 < len(tokens) and tokens[index + 1].text == "("
            index = closing(tokens, index + 1) + 1 if with_list else index + 1
        else:
            break
    return index


def closing(tokens: tuple[Token, ...], opening: int) -> int:
    """The index of the bracket that closes the one at ``opening``."""
    depth = 0
    for index in range(opening, len(tokens)):
        if tokens[index].text in _OPENING:
            depth += 1
        elif tokens[index].text in _CLOSING:
            depth -= 1
            if depth == 0:
                return index
    raise ValueError("a bracket is not closed")


def _reshaped(node: Node, path: tuple[int, ...], new: promql.Shape) -> promql.Shape:
    """The root's shape with the node at ``path`` replaced, without parentheses."""

    def rebuilt(expr: Expr, rest: tuple[int, ...]) -> promql.Shape:
        if not rest:
            return new
        below = promql.children(expr)
        head = promql.shape(expr)[: -len(below)]
        return (
            *head,
            *(
                rebuilt(child, rest[1:]) if index == rest[0] else promql.shape(child)
                for index, child in enumerate(below)
            ),
        )

    return without_parentheses(rebuilt(node.expr, path))


def without_parentheses(shape: promql.Shape) -> promql.Shape:
    """``shape`` as if nothing in it stood in parentheses: they only say what the tree says."""
    if shape and shape[0] == "ParenExpr":
        (inner,) = shape[1:]
        assert isinstance(inner, tuple)
        return without_parentheses(inner)
    return tuple(without_parentheses(p) if isinstance(p, tuple) else p for p in shape)
