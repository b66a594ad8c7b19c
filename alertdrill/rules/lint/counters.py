"""Counters taken for gauges and gauges for counters: checks AD301, AD302, AD314 and AD315."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser as promql
from promql_parser import Expr

from alertdrill.rules.lint.bounds import constant
from alertdrill.rules.lint.examples import (
    ALL,
    example,
)
from alertdrill.rules.lint.expressions import (
    GAUGE_CALLS,
    RATES,
    called,
    calls,
    direct_selectors,
)
from alertdrill.rules.lint.finding import Severity
from alertdrill.rules.lint.kinds import Kind, kind_of
from alertdrill.rules.lint.rule_check import Context, Problem, RuleCheck
from alertdrill.rules.lint.subject import Rule, Visit
from alertdrill.rules.lint.words import words
from alertdrill.rules.promql import (
    is_comparison,
    metric_name,
    operator,
    selectors,
    walk,
)

# What they return does not depend on how far a counter has come.
_COUNTER_SAFE = words(
    "rate irate increase resets changes timestamp absent absent_over_time present_over_time"
    " count_over_time histogram_quantile"
)


_EXISTENCE = ("count", "group")


def _counter_without_rate(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    said: set[str] = set()
    for visit in rule.visits:
        if not isinstance(visit.expr, promql.VectorSelector):
            continue
        name = metric_name(visit.expr) or ""
        guess = kind_of(name, context.exposed)
        if guess.kind is not Kind.COUNTER or name in said or _is_safe_for_counter(visit, name):
            continue
        said.add(name)
        yield Problem(
            f"{name} is a counter without rate(): it only grows, and starts at zero "
            "whenever its process does",
            word=name,
            severity=Severity.ERROR if guess.sure else Severity.WARNING,
            unless_recorded=name,
        )


def _is_safe_for_counter(visit: Visit, name: str) -> bool:
    below: Expr = visit.expr
    for above in reversed(visit.above):
        if isinstance(above, promql.Call) and called(above) in (*_COUNTER_SAFE, *GAUGE_CALLS):
            return True
        if isinstance(above, promql.AggregateExpr) and str(above.op) in _EXISTENCE:
            return True
        if isinstance(above, promql.SubqueryExpr):
            return True  # a rate() over it is AD314's subject
        if isinstance(above, promql.BinaryExpr) and _forgives(above, below, name):
            return True
        below = above
    return False


def _forgives(above: promql.BinaryExpr, below: Expr, name: str) -> bool:
    """Whether an operator leaves nothing of a counter's height: it asks whether the counter
    exists, whether it is zero, or by how much it differs from itself at another time."""
    symbol = operator(above)
    if symbol in ("and", "unless"):
        return _is_at_right(above, below)
    if symbol in ("==", "!=") and 0 in (constant(above.lhs), constant(above.rhs)):
        return True
    if symbol == "-" or is_comparison(above):
        return all(
            name in {metric_name(s) for s in selectors(side)} for side in (above.lhs, above.rhs)
        )
    return False


def _is_at_right(above: promql.BinaryExpr, below: Expr) -> bool:
    return str(above.rhs) == str(below) and str(above.lhs) != str(below)


def _rate_of_gauge(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for call, _ in calls(rule, RATES):
        for selector in direct_selectors(call.args[0]):
            name = metric_name(selector) or ""
            guess = kind_of(name, context.exposed)
            if guess.kind is Kind.GAUGE:
                yield Problem(
                    f"{called(call)}() of {name}, a gauge: every fall counts as a restart from "
                    "zero",
                    word=name,
                    severity=Severity.ERROR if guess.sure else Severity.WARNING,
                    unless_recorded=name,
                )


def _delta_of_counter(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for call, _ in calls(rule, GAUGE_CALLS):
        for selector in direct_selectors(call.args[0]):
            name = metric_name(selector) or ""
            guess = kind_of(name, context.exposed)
            if guess.kind is Kind.COUNTER:
                yield Problem(
                    f"{called(call)}() of {name}, a counter: a restart counts as a fall",
                    word=name,
                    severity=Severity.ERROR if guess.sure else Severity.WARNING,
                    unless_recorded=name,
                )


def _rate_of_sum(rule: Rule, tree: Expr, context: Context) -> Iterator[Problem]:
    for call, _ in calls(rule, RATES):
        inside = call.args[0]
        if not isinstance(inside, promql.SubqueryExpr):
            continue
        for node in walk(inside.expr):
            if isinstance(node, promql.AggregateExpr) and str(node.op) in ("sum", "avg"):
                names = [metric_name(s) or "" for s in selectors(node)]
                if any(kind_of(n, context.exposed).kind is Kind.COUNTER for n in names) and not (
                    any(isinstance(n, promql.Call) and called(n) in RATES for n in walk(node))
                ):
                    yield Problem(
                        f"{called(call)}() of a {node.op}(): when one of the counters restarts, "
                        "the fall of the total counts as a restart of all",
                        word=called(call),
                    )
                    break


CHECKS: tuple[RuleCheck, ...] = (
    RuleCheck(
        code="AD301",
        needs=("metrics",),
        severity=Severity.ERROR,
        title="a counter without rate",
        why="A counter only grows: once above a threshold it stays there until a restart, which "
        "says nothing of now. An error where --metrics says that it is a counter, a warning "
        "where only its name does.",
        fix="wrap it in rate(…[5m]) or increase(…[5m])",
        bad=example("http_requests_failed_total > 100"),
        good=example("increase(http_requests_failed_total[10m]) > 100"),
        of_tree=_counter_without_rate,
    ),
    RuleCheck(
        code="AD302",
        needs=("metrics",),
        severity=Severity.ERROR,
        title="rate of a gauge",
        why="rate() takes every fall for a restart and adds the value after it: a gauge that "
        "goes up and down has a high rate. An error where --metrics says that it is a gauge, a "
        "warning where only its name does.",
        fix="use deriv() or delta(), or compare the gauge itself",
        bad=example("rate(process_resident_memory_bytes[15m]) > 1e6"),
        good=example("deriv(process_resident_memory_bytes[15m]) > 1e6"),
        of_tree=_rate_of_gauge,
    ),
    RuleCheck(
        code="AD314",
        severity=Severity.ERROR,
        title="rate of a sum",
        why="When one process restarts, the sum of counters falls a little, and rate() takes "
        "that for a restart of everything: a huge spike.",
        fix="take the rates first, then the sum: sum(rate(…))",
        bad=example("rate(sum(http_requests_total)[5m:30s]) > 100"),
        good=example(f"{ALL} > 100"),
        of_tree=_rate_of_sum,
    ),
    RuleCheck(
        code="AD315",
        needs=("metrics",),
        severity=Severity.ERROR,
        title="a gauge's function of a counter",
        why="delta(), deriv() and predict_linear() know nothing of restarts: a counter that "
        "starts again at zero looks like a steep fall. An error where --metrics says that it is "
        "a counter, a warning where only its name does.",
        fix="use increase() or rate()",
        bad=example("delta(http_requests_total[5m]) > 100"),
        good=example("increase(http_requests_total[5m]) > 100"),
        of_tree=_delta_of_counter,
    ),
)
