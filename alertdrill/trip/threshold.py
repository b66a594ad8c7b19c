"""What an alert's expression is compared with, and at which dose it gets there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from operator import ge, gt, le, lt

import promql_parser as promql

from alertdrill.rules.lint.bounds import constant
from alertdrill.rules.mutation.spans import locate
from alertdrill.rules.promql import operator
from alertdrill.trip.axis import Axis
from alertdrill.trip.search import Reading

SYMBOLS: dict[str, Callable[[float, float], bool]] = {">": gt, ">=": ge, "<": lt, "<=": le}


@dataclass(frozen=True)
class Threshold:
    """``side`` (PromQL) ``symbol`` ``value``."""

    side: str
    symbol: str
    value: float

    @property
    def worst(self) -> str:
        """The one value of all its series that is nearest to firing, as PromQL."""
        return f"{'max' if self.symbol in ('>', '>=') else 'min'}({self.side})"

    def is_met_by(self, value: float) -> bool:
        return SYMBOLS[self.symbol](value, self.value)

    def __str__(self) -> str:
        return f"{self.symbol} {self.value:g}"


def threshold_of(text: str) -> Threshold | None:
    """Of an expression that is one comparison of series with a number; None for any other: its
    value says nothing before it is there, or its parts can't be told apart in ``text``."""
    try:
        located = locate(text)
    except ValueError:
        return None
    node = located.root
    while isinstance(node.expr, promql.ParenExpr):
        (node,) = node.children
    expr = node.expr
    if not isinstance(expr, promql.BinaryExpr) or operator(expr) not in SYMBOLS:
        return None
    side, limit = node.children
    value = constant(limit.expr)
    if value is None or constant(side.expr) is not None:
        return None
    return Threshold(located.text(side), operator(expr), value)


def crossing(axis: Axis, readings: Iterable[Reading], threshold: Threshold) -> float | None:
    """The dose at which the expression itself gets to the threshold, between those that were
    tried: by a straight line. None: it met it at each dose, or at none."""
    known = sorted((r.dose, r.value.mean) for r in readings if r.value is not None)
    for (dose, value), (more, higher) in pairwise(known):
        if threshold.is_met_by(value) or not threshold.is_met_by(higher):
            continue
        share = (threshold.value - value) / (higher - value)
        if axis.logarithmic:
            return float(dose * (more / dose) ** share)
        return dose + share * (more - dose)
    return None
