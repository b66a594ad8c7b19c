"""Many mutants of one alert in one promtool test: as alerts of different names, side by side.

Most of what promtool does for a test case is the same for every mutant: start, load the series,
evaluate the other rules. An alert depends on its own expression, the recording rules and the
input series, and an assertion on one alert's name. So the mutants of an alert stand in its place,
each under its own name and each with its own copy of the assertions; the other alerts are left
out. The rule as it is runs along: should it fail a case that it is known to pass, the mutants of
that case are judged one file each instead. What does not fit (rules or assertions that read
``ALERTS``) is never packed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ruamel.yaml.nodes import Node

from alertdrill.rules import promql
from alertdrill.rules.document import Place, parse_document, read_document
from alertdrill.rules.mutation.mutants import Mutant
from alertdrill.rules.testing.document import Case, TestFile
from alertdrill.rules.testing.emit import emit, quoted

# The rule as it is, among the numbers of its mutants.
CONTROL = 0
_ALERTS = ("ALERTS", "ALERTS_FOR_STATE")
_NOBODY = "__no_alert_has_this_name__"


def reads_alerts(expr: str) -> bool:
    """Whether ``expr`` may read what alerts write; also True where the parser can't say."""
    try:
        names = [promql.metric_name(found) for found in promql.selectors(promql.parse(expr))]
    except ValueError:
        return True
    return any(name is None or name in _ALERTS for name in names)


@dataclass(frozen=True)
class RuleDocument:
    """A rule file as YAML nodes."""

    path: Path
    place: Place

    @staticmethod
    def read(path: Path) -> RuleDocument:
        return RuleDocument(path, read_document(path))

    @cached_property
    def groups(self) -> tuple[tuple[Place, tuple[Place, ...]], ...]:
        """Each group with its rules."""
        return tuple(
            (group, group.entries()["rules"].items() if "rules" in group.entries() else ())
            for group in self.place.entries()["groups"].items()
        )

    @cached_property
    def reads_alerts(self) -> bool:
        """Whether a rule of it depends on what other alerts do."""
        return any(
            reads_alerts(rule.entries()["expr"].text()) or "ALERTS" in emit(rule.node)
            for _, rules in self.groups
            for rule in rules
        )

    def with_rules(self, instead: dict[tuple[int, int], list[str]]) -> str:
        """The file with only its recording rules, and with ``instead`` (rules as YAML) where the
        rule of that group and index stands."""
        groups = []
        for group_index, (group, rules) in enumerate(self.groups):
            kept = []
            for index, rule in enumerate(rules):
                if (group_index, index) in instead:
                    kept += instead[group_index, index]
                elif "record" in rule.entries():
                    kept.append(emit(rule.node))
            entries = group.entries()
            replaced = {entries["rules"].node: _list(kept)} if "rules" in entries else {}
            groups.append(emit(group.node, replaced))
        return f"groups: {_list(groups)}\n"

    def family(self, alert: str) -> dict[tuple[int, int], Place]:
        """Every rule that is called ``alert``."""
        return {
            (group_index, index): rule
            for group_index, (_, rules) in enumerate(self.groups)
            for index, rule in enumerate(rules)
            if "alert" in rule.entries() and rule.entries()["alert"].text() == alert
        }


def _list(items: Iterable[str]) -> str:
    return "[" + ",\n".join(items) + "]"


def variant_name(alert: str, number: int) -> str:
    return f"{alert}__{number}"


def renamed(rule: Place, name: str) -> str:
    """A rule as YAML under another name."""
    return emit(rule.node, {rule.entries()["alert"].node: quoted(name)})


def mutated_rule(mutant: Mutant, file: Path) -> Place:
    """The mutant's rule, read from its own text."""
    return parse_document(" " * mutant.rule.column + mutant.text + "\n", file)


@dataclass(frozen=True)
class SuiteCase:
    """A test case, and what of it matters here.

    ``alerts``   whose alerts it asserts something about
    ``is_whole``  it asserts something about series that alerts write: can't be packed
    ``until``    the last ``eval_time``, as written: so far its rules are evaluated
    """

    case: Case
    alerts: frozenset[str]
    is_whole: bool
    until: str

    @staticmethod
    def of(case: Case) -> SuiteCase:
        entries = case.place.entries()
        asserted = entries["alert_rule_test"].items() if "alert_rule_test" in entries else ()
        queried = entries["promql_expr_test"].items() if "promql_expr_test" in entries else ()
        names = {
            item.entries()["alertname"].text() for item in asserted if "alertname" in item.entries()
        }
        times = [
            (item.entries()["eval_time"].duration_ms(), item.entries()["eval_time"].text())
            for item in (*asserted, *queried)
            if "eval_time" in item.entries()
        ]
        whole = any(
            reads_alerts(item.entries()["expr"].text())
            for item in queried
            if "expr" in item.entries()
        )
        return SuiteCase(case, frozenset(names), whole, max(times, default=(0, "0s"))[1])

    def packed(self, alert: str, numbers: Sequence[int]) -> str:
        """The case as YAML, with its assertions on ``alert`` once for each variant."""
        entries = self.case.place.entries()
        left_out = {"alert_rule_test", "promql_expr_test"}
        parts = [
            f"{quoted(key)}: {emit(value.node)}"
            for key, value in entries.items()
            if key not in left_out
        ]
        asserted = entries["alert_rule_test"].items() if "alert_rule_test" in entries else ()
        tests = [
            emit(item.node, {item.entries()["alertname"].node: quoted(variant_name(alert, number))})
            for item in asserted
            if "alertname" in item.entries() and item.entries()["alertname"].text() == alert
            for number in numbers
        ]
        # Evaluated as long as before, and an error in evaluating counts as before.
        tests.append(f"{{eval_time: {self.until}, alertname: {quoted(_NOBODY)}, exp_alerts: []}}")
        parts.append(f"alert_rule_test: {_list(tests)}")
        return "{" + ", ".join(parts) + "}"


@dataclass(frozen=True)
class SuiteFile:
    """A test file that loads the mutated rule file, and the rule files that it loads."""

    test_file: TestFile
    cases: tuple[SuiteCase, ...]
    documents: tuple[RuleDocument, ...]

    @cached_property
    def can_pack(self) -> bool:
        return not any(document.reads_alerts for document in self.documents)

    def with_cases(self, rule_files: Iterable[Path], cases: Iterable[str]) -> str:
        """The test file with other rule files and with ``cases`` (as YAML)."""
        top = self.test_file.place.entries()
        replaced: dict[Node, str] = {
            top["rule_files"].node: _list(quoted(str(path)) for path in rule_files),
            top["tests"].node: _list(cases),
        }
        return emit(self.test_file.place.node, replaced) + "\n"


def verdict_of(failure: str, alert: str) -> tuple[int, str] | None:
    """Which variant a failure speaks of, and at what time; None when of none."""
    found = re.search(
        rf"^\s*(?P<what>alertname|rule): {re.escape(alert)}__(?P<number>\d+), time: (?P<time>\w+),",
        failure,
        re.MULTILINE,
    )
    if found is None:
        return None
    doing = "" if found["what"] == "alertname" else "can't be evaluated "
    return int(found["number"]), f"{doing}at {found['time']}"
