"""The alerts that a rule can fire: one for each set of labels that its expression can yield."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import promql_parser as promql
from promql_parser import Expr

from alertdrill.rules.lint.exposition import Exposition
from alertdrill.rules.lint.labels import (
    TARGET,
    Labels,
    branches,
    grouped_side,
    is_scalar,
    labels_of,
    matching,
    raw_selectors,
    surely_has_target,
)
from alertdrill.rules.lint.templates import labels_used
from alertdrill.rules.model import AlertRule, RecordingRule
from alertdrill.rules.promql import children, metric_name, operator, parse, selectors, walk

# Of each alternative of an expression, so many label sets from a metrics file.
_MAX_SETS = 5
_OF_TIME = frozenset(
    (
        *("time", "hour", "minute", "month", "year"),
        *("day_of_week", "day_of_month", "day_of_year", "days_in_month"),
    )
)


@dataclass(frozen=True)
class Firing:
    """An alert as it fires.

    ``series``        the labels that the expression yields
    ``placeholders``  those of them whose value isn't known and is written ``<label>``
    ``lacks``         labels that a template prints and the expression surely doesn't yield
    ``labels``        all of them with the rule's own, once rendered; ``alertname`` is one
    ``unrendered``    why the templates couldn't be rendered; then those in labels and
                      annotations stand as written
    """

    rule: AlertRule
    series: Mapping[str, str]
    placeholders: frozenset[str]
    lacks: frozenset[str]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    unrendered: str = ""

    @property
    def labels_unknown(self) -> bool:
        """Whether a label has a template that couldn't be rendered: its route isn't known."""
        return bool(self.unrendered) and any("{{" in text for text in self.rule.labels.values())

    def sent_with(self, external: Mapping[str, str]) -> Firing:
        """As Prometheus sends it: with its external labels, where the alert has none of them."""
        return replace(self, labels={**external, **self.labels})


def firings(
    rule: AlertRule, recordings: Iterable[RecordingRule] = (), metrics: Exposition | None = None
) -> tuple[Firing, ...]:
    """Every label set with which ``rule`` can fire, not rendered yet; at least one.

    ``a or b`` has one for each side. Values are those that selectors ask for by ``=`` and those
    in ``metrics``; others are placeholders. Labels that nothing in the expression names are
    not known, except ``job`` and ``instance`` of scraped series and those that templates print.
    """
    recorded = {recording.name: recording for recording in recordings}
    used = frozenset(
        label
        for text in (*rule.labels.values(), *rule.annotations.values())
        for label in labels_used(text)
    )
    found: dict[tuple[tuple[str, str], ...], Firing] = {}
    for branch in branches(parse(rule.expr)):
        possible = _with_recordings(branch, recorded)
        for series in _label_sets(branch, possible, used, metrics):
            values = {label: value or f"<{label}>" for label, value in series.items()}
            found.setdefault(
                tuple(sorted(values.items())),
                Firing(
                    rule=rule,
                    series=values,
                    placeholders=frozenset(label for label, value in series.items() if not value),
                    lacks=used - set(series),
                ),
            )
    return tuple(found.values())


def _with_recordings(branch: Expr, recorded: Mapping[str, RecordingRule]) -> Labels:
    """The labels of ``branch``; where they are those of recorded series, the recordings' own."""
    labels = labels_of(branch)
    if labels.exact:
        return labels
    names = [metric_name(selector) or "" for selector in raw_selectors(branch)]
    rules = [recorded[name] for name in names if name in recorded]
    if not rules or len(rules) < len(names):
        return labels
    below = [labels_of(parse(rule.expr)).plus(frozenset(rule.labels)) for rule in rules]
    if not all(each.exact for each in below):
        return labels
    return Labels(True, frozenset().union(*(each.names for each in below)) - labels.names)


def _label_sets(
    branch: Expr, possible: Labels, used: frozenset[str], metrics: Exposition | None
) -> Iterator[dict[str, str]]:
    """Labels with their values; an empty value is one that isn't known."""
    known = {
        label: value
        for label, value in _asked_for(branch).items()
        if possible.may_have(label) and label != "__name__"
    }
    names = set(possible.names) if possible.exact else {n for n in used if possible.may_have(n)}
    if not possible.exact and surely_has_target(branch):
        names |= TARGET
    if not possible.exact:
        names |= set(known)
    base = {name: known.get(name, "") for name in sorted(names)}
    exposed = _exposed(branch, metrics) if metrics is not None else ()
    sets = [
        base | {name: value for name, value in series.items() if _keeps(name, possible)}
        for series in exposed
    ]
    yield from _distinct(sets or [base])[:_MAX_SETS]


def _keeps(label: str, possible: Labels) -> bool:
    return possible.may_have(label) and label not in ("__name__", "le", "quantile")


def _distinct(sets: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [labels for n, labels in enumerate(sets) if labels not in sets[:n]]


def _asked_for(branch: Expr) -> dict[str, str]:
    """What selectors say of labels: the value, where all that name a label agree on it."""
    values: dict[str, set[str]] = {}
    for matcher in _matchers(branch):
        if matcher.op == promql.MatchOp.Equal and matcher.value:
            values.setdefault(matcher.name, set()).add(matcher.value)
        elif matcher.op == promql.MatchOp.Re:
            values.setdefault(matcher.name, set()).update(("", matcher.value))
    return {label: next(iter(said)) if len(said) == 1 else "" for label, said in values.items()}


def _matchers(expr: Expr) -> Iterator[promql.Matcher]:
    """Those that say something of the labels of ``expr``'s result."""
    if isinstance(expr, promql.VectorSelector):
        yield from expr.matchers.matchers
    elif isinstance(expr, promql.BinaryExpr):
        own, other = _sides(expr)
        yield from _matchers(own)
        if operator(expr) == "or":
            yield from _matchers(other)
        elif operator(expr) != "unless":
            there = labels_of(other)
            for matcher in _matchers(other):
                if there.may_have(matcher.name) and _crosses(expr, matcher.name):
                    yield matcher
    else:
        for child in children(expr):
            yield from _matchers(child)


def _sides(expr: promql.BinaryExpr) -> tuple[Expr, Expr]:
    """The side whose series the result's are, and the other one."""
    if grouped_side(expr) == "right" or is_scalar(expr.lhs):
        return expr.rhs, expr.lhs
    return expr.lhs, expr.rhs


def _own_selectors(expr: Expr) -> Iterator[promql.VectorSelector]:
    """Those whose series the result's are; of ``or``, those of either side."""
    if isinstance(expr, promql.VectorSelector):
        yield expr
    elif isinstance(expr, promql.BinaryExpr):
        sides = _sides(expr)
        for side in sides if operator(expr) == "or" else sides[:1]:
            yield from _own_selectors(side)
    else:
        for child in children(expr):
            yield from _own_selectors(child)


def _crosses(expr: promql.BinaryExpr, label: str) -> bool:
    """Whether the result has ``label`` as the other side has it: matched, or copied from there."""
    how = matching(expr)
    copied = (expr.modifier and expr.modifier.group_labels) or ()
    return how is None or label in copied or (label in how[1]) is how[0]


def _exposed(branch: Expr, metrics: Exposition) -> Iterator[Mapping[str, str]]:
    """The series that the selectors of ``branch`` find, by what they ask for with ``=``."""
    for selector in _own_selectors(branch):
        wanted = {
            matcher.name: matcher.value
            for matcher in selector.matchers.matchers
            if matcher.op == promql.MatchOp.Equal and matcher.name not in TARGET | {"__name__"}
        }
        for series in metrics.series.get(metric_name(selector) or "", ()):
            if all(series.get(label, "") == value for label, value in wanted.items()):
                yield series


def always_fires(rule: AlertRule) -> bool:
    """Whether its expression asks for no series and no time: a watchdog's ``vector(1)``."""
    tree = parse(rule.expr)
    calls = {node.func.name for node in walk(tree) if isinstance(node, promql.Call)}
    return not selectors(tree) and not calls & _OF_TIME
