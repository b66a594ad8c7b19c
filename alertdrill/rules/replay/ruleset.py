"""The rules that are judged together: their order, and which of them read which recordings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from alertdrill.rules import promql
from alertdrill.rules.model import DEFAULT_INTERVAL_S, AlertRule, RecordingRule, RuleFile
from alertdrill.rules.replay.model import LabelSet
from alertdrill.rules.replay.targets import metric_name

Rule = AlertRule | RecordingRule


@dataclass(frozen=True)
class RuleSet:
    """``files`` in the order of evaluation; what stands elsewhere in Prometheus' configuration:
    the evaluation interval of groups that have none, and external labels for templates."""

    files: tuple[RuleFile, ...]
    evaluation_interval_s: float = DEFAULT_INTERVAL_S
    external_labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @cached_property
    def rules(self) -> tuple[tuple[Rule, float], ...]:
        """Every rule with its interval in seconds."""
        return tuple(
            (rule, group.interval_s or self.evaluation_interval_s)
            for file in self.files
            for group in file.groups
            for rule in group.rules
        )

    @cached_property
    def alerts(self) -> Mapping[str, tuple[tuple[AlertRule, float], ...]]:
        """Alert rules and their intervals by name; several may share one (e.g. per severity)."""
        found: dict[str, list[tuple[AlertRule, float]]] = {}
        for rule, interval_s in self.rules:
            if isinstance(rule, AlertRule):
                found.setdefault(rule.name, []).append((rule, interval_s))
        return MappingProxyType({name: tuple(rules) for name, rules in found.items()})

    @cached_property
    def replayable(self) -> tuple[str, ...]:
        """The alerts that read series. What reads none, such as a heartbeat, does the same under
        every fault."""
        return tuple(
            name
            for name, rules in self.alerts.items()
            if any(self.reads(rule) for rule, _ in rules)
        )

    @cached_property
    def recorded(self) -> frozenset[str]:
        """The metrics that the rules themselves record."""
        return frozenset(rule.name for rule, _ in self.rules if isinstance(rule, RecordingRule))

    def reads(self, rule: Rule) -> frozenset[str | None]:
        """The metrics that ``rule`` selects; None where a selector names no single one."""
        selectors = promql.selectors(promql.parse(rule.expr))
        return frozenset(promql.metric_name(selector) for selector in selectors)

    def recordings_of(self, rule: Rule) -> tuple[RecordingRule, ...]:
        """The recordings that ``rule`` needs, directly or through others, as evaluated."""
        needed: set[str] = set()
        wanted = self._recorded_by(rule)
        while wanted - needed:
            needed |= wanted
            wanted = {
                name
                for other, _ in self.rules
                if isinstance(other, RecordingRule) and other.name in needed
                for name in self._recorded_by(other)
            }
        return tuple(
            other
            for other, _ in self.rules
            if isinstance(other, RecordingRule) and other.name in needed
        )

    def chain(self, rule: Rule) -> tuple[Rule, ...]:
        """``rule`` after the recordings that it needs."""
        return (*self.recordings_of(rule), rule)

    def _recorded_by(self, rule: Rule) -> set[str]:
        names = self.reads(rule)
        return set(self.recorded) if None in names else {n for n in names if n in self.recorded}

    def metrics_of(self, names: Collection[str]) -> frozenset[str] | None:
        """The scraped metrics that the alerts called ``names`` need; None: any may be needed."""
        rules: list[Rule] = [rule for name in names for rule, _ in self.alerts[name]]
        rules += [recording for rule in tuple(rules) for recording in self.recordings_of(rule)]
        found = frozenset(name for rule in rules for name in self.reads(rule))
        if None in found:
            return None
        return frozenset(name for name in found if name is not None and name not in self.recorded)

    def look_back_s(self, names: Collection[str]) -> float:
        """How far back the oldest sample lies that an alert called one of ``names`` may use."""
        windows: dict[str, int] = {}
        recordings = [(r, i) for r, i in self.rules if isinstance(r, RecordingRule)]
        # Each pass lets the windows flow one recording further down a chain.
        for _ in recordings:
            windows = {
                rule.name: max(
                    promql.look_back_ms(promql.parse(same.expr), windows) + round(interval * 1000)
                    for same, interval in recordings
                    if same.name == rule.name
                )
                for rule, _ in recordings
            }
        trees = [promql.parse(rule.expr) for name in names for rule, _ in self.alerts[name]]
        return max((promql.look_back_ms(tree, windows) for tree in trees), default=0) / 1000

    def without_recorded(self, series: Mapping[LabelSet, object]) -> tuple[LabelSet, ...]:
        """The label sets of ``series`` that were scraped: what the rules record, they record."""
        return tuple(labels for labels in series if metric_name(labels) not in self.recorded)


def ordered_groups(files: Sequence[RuleFile]) -> list[str]:
    """The names of all groups, once each, in the order of evaluation."""
    return list(dict.fromkeys(group.name for file in files for group in file.groups))
