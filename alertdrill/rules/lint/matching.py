"""Operators between two vectors: checks AD304 and AD306."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser as promql
from promql_parser import Expr

from alertdrill.rules.lint.examples import (
    ALL,
    ERRORS,
    example,
)
from alertdrill.rules.lint.expressions import (
    called,
)
from alertdrill.rules.lint.finding import Severity
from alertdrill.rules.lint.labels import (
    SETS,
    TARGET,
    Labels,
    bare,
    fixed_labels,
    grouped_side,
    is_scalar,
    labels_of,
    matching,
    surely_has_target,
)
from alertdrill.rules.lint.rule_check import Context, Problem, RuleCheck
from alertdrill.rules.lint.subject import Rule
from alertdrill.rules.promql import (
    operator,
    walk,
)


def _vector_pairs(rule: Rule) -> Iterator[tuple[promql.BinaryExpr, Labels, Labels]]:
    """Every operator between two vectors, with what labels they have."""
    for visit in rule.visits:
        expr = visit.expr
        if not isinstance(expr, promql.BinaryExpr) or is_scalar(expr.lhs) or is_scalar(expr.rhs):
            continue
        yield expr, labels_of(expr.lhs), labels_of(expr.rhs)


def _sides_never_match(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for expr, left, right in _vector_pairs(rule):
        symbol = operator(expr)
        if symbol == "or" or _is_vector_of_number(expr.lhs) or _is_vector_of_number(expr.rhs):
            continue
        how = matching(expr)
        dropped = how[1] if how is not None and not how[0] else frozenset[str]()
        effect = "nothing is excluded" if symbol == "unless" else "the result is empty"
        word = symbol if symbol in SETS else ""
        differing = _differing(expr, how)
        if differing is not None:
            label, (one, other) = differing
            yield Problem(
                f"the sides of {symbol} never match, and {effect}: {label} is {one!r} on the left, "
                f"{other!r} on the right",
                word=word or label,
                fix=f"leave {label} out of the matching: ignoring ({label}) or on (…)",
            )
            continue
        if how is not None and how[0]:
            yield from _lacks_what_on_asks_for(expr, how[1], left, right)
            continue
        left, right = left.without(dropped), right.without(dropped)
        if left.exact and right.exact and left.names != right.names:
            if grouped_side(expr):
                continue
            yield Problem(
                f"the sides of {symbol} never match, and {effect}: the left has "
                f"{_names(left)}, the right {_names(right)}",
                word=word,
            )
        elif left.exact != right.exact:
            exact, raw = (left, expr.rhs) if left.exact else (right, expr.lhs)
            metric = surely_has_target(raw)
            lost = sorted({"instance", "job"} - exact.names - dropped)
            if metric and lost and not grouped_side(expr):
                yield Problem(
                    f"the sides of {symbol} never match, and {effect}: one has {_names(exact)}, "
                    f"the other every label of {metric}",
                    word=word or metric,
                    unless_recorded=metric,
                )


def _differing(
    expr: promql.BinaryExpr, how: tuple[bool, frozenset[str]] | None
) -> tuple[str, tuple[str, str]] | None:
    """A label that takes part in the matching and has another value on either side."""
    left, right = fixed_labels(expr.lhs), fixed_labels(expr.rhs)
    on, names = how if how is not None else (False, frozenset[str]())
    for label in sorted(left.keys() & right.keys()):
        if (label in names) == on and left[label] != right[label]:
            return label, (left[label], right[label])
    return None


def _lacks_what_on_asks_for(
    expr: promql.BinaryExpr, names: frozenset[str], left: Labels, right: Labels
) -> Iterator[Problem]:
    """on(job), and one side is aggregated without job: there it is empty, so nothing is equal."""
    for lacking, having, raw in ((left, right, expr.rhs), (right, left, expr.lhs)):
        for label in sorted(names):
            sure = having.exact or (label in TARGET and bool(surely_has_target(raw)))
            if lacking.exact and sure and having.may_have(label) and not lacking.may_have(label):
                yield Problem(
                    f"the sides of {operator(expr)} never match: on () asks for {label}, and one "
                    f"of them has {_names(lacking)}",
                    word=label,
                    # A label of one's own may be empty everywhere; job and instance never are.
                    severity=None if label in TARGET else Severity.WARNING,
                )
                return


def _is_vector_of_number(expr: Expr) -> bool:
    return any(
        isinstance(n, promql.Call) and called(n) == "vector" for n in (bare(expr), *walk(expr))
    )


def _names(labels: Labels) -> str:
    names = sorted(labels.names)
    return f"only {', '.join(names)}" if names else "no labels"


def _many_to_many(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for expr, left, right in _vector_pairs(rule):
        how = matching(expr)
        if how is None or operator(expr) in SETS:
            continue
        on, names = how
        many = grouped_side(expr)
        for side, labels, alone in (
            ("left", left, many != "left"),
            ("right", right, many != "right"),
        ):
            # An info metric has the labels that group_left copies; one series each is its point.
            copied = frozenset((expr.modifier and expr.modifier.group_labels) or ())
            extra = (labels.names - names if on else labels.names & names) - copied
            if labels.exact and alone and extra and not _is_single(expr, side):
                words = ", ".join(sorted(extra))
                yield Problem(
                    f"the {side} side of {operator(expr)} may have several series for one of the "
                    f"other: they differ in {words}, which matching leaves out",
                    word=sorted(extra)[0],
                )
                break


def _is_single(expr: promql.BinaryExpr, side: str) -> bool:
    """topk(1, …) and its like pick one series and keep its labels."""
    inner = bare(expr.lhs if side == "left" else expr.rhs)
    return any(
        isinstance(n, promql.AggregateExpr) and str(n.op) in ("topk", "bottomk", "limitk")
        for n in walk(inner)
    )


CHECKS: tuple[RuleCheck, ...] = (
    RuleCheck(
        code="AD304",
        severity=Severity.ERROR,
        title="two sides whose labels never match",
        why="Series of two sides are paired when all their labels agree. Aggregated by different "
        "labels they never do: the result is empty, and `unless` excludes nothing.",
        fix="aggregate both sides by the same labels, or say on(…)",
        bad=example(f"sum by (job) ({ERRORS[4:-1]}) / {ALL} > 0.05"),
        good=example(f"{ERRORS} / {ALL} > 0.05"),
        of_tree=_sides_never_match,
    ),
    RuleCheck(
        code="AD306",
        severity=Severity.ERROR,
        title="many-to-many matching",
        why="on() and ignoring() leave out labels by which one side has several series. "
        "Prometheus can't pair them: the evaluation fails, and the alert is gone, as soon as "
        "there are two.",
        fix="aggregate that side by the labels of on(), or say group_left or group_right",
        bad=example(
            "sum by (job, status) (rate(http_requests_total[5m])) / on (job) "
            "sum by (job) (rate(http_requests_total[5m])) > 0.05"
        ),
        good=example(
            "sum by (job, status) (rate(http_requests_total[5m])) / on (job) group_left () "
            "sum by (job) (rate(http_requests_total[5m])) > 0.05"
        ),
        of_tree=_many_to_many,
    ),
)
