"""A check of single rules: what it may look at, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from promql_parser import Expr

from alertdrill.rules.alertmanager import AlertmanagerConfig
from alertdrill.rules.lint.exposition import Exposition
from alertdrill.rules.lint.finding import Check, Severity, Spot
from alertdrill.rules.lint.prometheus import Prometheus
from alertdrill.rules.lint.subject import Rule


@dataclass(frozen=True)
class Context:
    """What is known beside the rule file; None: not given, so nothing is judged by it."""

    prometheus: Prometheus | None = None
    alertmanager: AlertmanagerConfig | None = None
    exposed: Exposition | None = None


@dataclass(frozen=True)
class Problem:
    """One finding of a check. It stands where ``word`` does in the expression, or at ``spot``."""

    message: str
    word: str = ""
    spot: Spot | None = None
    severity: Severity | None = None
    fix: str = ""
    unless_recorded: str = ""


Find = Callable[[Rule, Context], Iterator[Problem]]
FindInTree = Callable[[Rule, Expr, Context], Iterator[Problem]]


@dataclass(frozen=True, kw_only=True)
class RuleCheck(Check):
    """``of_tree`` finds need an expression that could be parsed; ``of_rule`` finds don't."""

    of_tree: FindInTree | None = None
    of_rule: Find | None = None
    alerts_only: bool = False

    def problems(self, rule: Rule, context: Context) -> Iterator[Problem]:
        if self.alerts_only and not rule.is_alert:
            return
        if self.of_rule is not None:
            yield from self.of_rule(rule, context)
        if self.of_tree is not None and rule.tree is not None:
            yield from self.of_tree(rule, rule.tree, context)
