"""Judge A: a history written into a Prometheus, every rule asked at every evaluation, and the
states of its alerts followed as Prometheus follows them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from alertdrill.rules.model import AlertRule, RecordingRule
from alertdrill.rules.prometheus import MAX_STEPS, Prometheus, QueryFailed
from alertdrill.rules.replay.backfill import requests
from alertdrill.rules.replay.evaluate import (
    Indices,
    NotTemplated,
    alert_labels,
    merged,
    spans,
)
from alertdrill.rules.replay.model import AlertTimeline, History, LabelSet, Span, Values
from alertdrill.rules.replay.ruleset import Rule, RuleSet
from alertdrill.rules.replay.soundness import Unjudged, Why, unjudged
from alertdrill.rules.replay.targets import metric_name

# Histories begin on a full day, so that the steps of subqueries, which are aligned to the epoch,
# fall as they do at promtool, whose histories begin at the epoch. The first is 1980-01-01.
_FIRST_MS = 315_532_800_000
_DAY_MS = 86_400_000
# Beyond Prometheus' look-back for instant vectors, one history can't see another.
_STALENESS_MS = 300_000
# Reading chunks that were written since the start costs the square of their number; up to here
# that is less than a restart.
_UNSETTLED_SLOTS = 20_000
# Prometheus answers on all cores; more requests at a time only wait.
_WORKERS = 4


@dataclass(frozen=True)
class Phase:
    """When a group's first evaluation comes after a history's first scrape: a share of the
    group's interval, and some milliseconds. In Prometheus it is a hash of file and group."""

    share: float = 0.0
    plus_ms: int = 0

    def of_ms(self, interval_s: float) -> int:
        return round(self.share * interval_s * 1000) + self.plus_ms

    def __str__(self) -> str:
        return f"{self.share:g}" + (f" + {self.plus_ms} ms" if self.plus_ms else "")


AT_SCRAPE = Phase()
# The last is just after a scrape.
PHASES = (AT_SCRAPE, Phase(0.25), Phase(0.5), Phase(0.75), Phase(plus_ms=1))


@dataclass(frozen=True)
class Judged:
    """What became of every alert on one history: a timeline per phase, or why there is none."""

    phases: tuple[Phase, ...]
    timelines: Mapping[str, tuple[AlertTimeline, ...]]
    unjudged: Mapping[str, Unjudged]


@dataclass(frozen=True)
class Region:
    """Where a history lies in Prometheus' time."""

    base_ms: int
    duration_ms: int

    def evaluations(self, interval_ms: int, phase_ms: int) -> int:
        return max(0, -(-(self.duration_ms - phase_ms) // interval_ms))


@dataclass(frozen=True)
class Placed:
    """A history that was written: where each alert is to be judged at each phase, or why not."""

    regions: Mapping[tuple[str, Phase], Region]
    unjudged: Mapping[str, Unjudged]


# A rule's result: for each label set at which evaluations, and with which values.
_Result = list[tuple[Mapping[str, str], Indices, Values]]


class Judge:
    """Judges histories, one after another, by a Prometheus that is running.

    ``every``: ``rules`` and all versions of them that ``judge_placed`` may be asked for, in one.
    Histories then lie so far apart that no version can see two of them, with all series that any
    may read; and what ``rules``' own expressions give is kept, since versions share it.
    """

    def __init__(self, prometheus: Prometheus, rules: RuleSet, every: RuleSet | None = None):
        self._prometheus = prometheus
        self._rules = rules
        self._every = every or rules
        self._kept = frozenset(rule.expr for rule, _ in rules.rules) if every else frozenset()
        self._results: dict[tuple[str, int, int, int], _Result] = {}
        self._next_ms = _FIRST_MS
        self._unsettled = 0
        look_back_s = max(self._every.look_back_s(self._every.alerts), 0.0)
        self._gap_ms = round(look_back_s * 1000) + _STALENESS_MS

    def judge(
        self,
        history: History,
        *,
        alerts: Collection[str] | None = None,
        phases: Sequence[Phase] = PHASES,
    ) -> Judged:
        """The timelines of ``alerts`` (None: of all) on ``history``, one per phase."""
        names = tuple(self._rules.alerts) if alerts is None else tuple(alerts)
        return self.judge_placed(self.place(history, names, phases), names, phases)

    def place(
        self, history: History, alerts: Collection[str], phases: Sequence[Phase] = PHASES
    ) -> Placed:
        """Write ``history``, and what the recordings of ``alerts`` make of it at each phase."""
        found = {name: reason for name in alerts if (reason := _unsound(self._rules, name))}
        sound = [name for name in alerts if name not in found]
        recording = [name for name in sound if self._reads_recordings(name)]
        series = _needed(history, self._every, sound)
        region = self._write(series, history)
        regions = {(name, phase): region for name in sound for phase in phases}
        for phase in phases if recording else ():
            try:
                own = self._record(recording, series, history, region, phase)
            except QueryFailed as error:
                reason = Unjudged(Why.EVALUATION_FAILS, f"a recording fails: {error}")
                found |= dict.fromkeys(recording, reason)
                break
            regions |= {(name, phase): own for name in recording}
        return Placed(MappingProxyType(regions), MappingProxyType(found))

    def judge_placed(
        self,
        placed: Placed,
        alerts: Collection[str],
        phases: Sequence[Phase],
        rules: RuleSet | None = None,
    ) -> Judged:
        """``alerts`` where ``place`` put them, by ``rules`` that differ from the judge's own in
        these alerts alone (None: by its own)."""
        rules = rules or self._rules
        found = {
            name: reason
            for name in alerts
            if (reason := placed.unjudged.get(name) or _unsound(rules, name))
        }
        jobs = [(name, phase) for name in alerts if name not in found for phase in phases]
        timelines: dict[str, tuple[AlertTimeline, ...]] = {}
        with ThreadPoolExecutor(_WORKERS) as pool:
            results = pool.map(
                lambda job: self._timeline(rules, job[0], job[1], placed.regions[job]), jobs
            )
            for (name, _), result in zip(jobs, results, strict=True):
                if isinstance(result, Unjudged):
                    found[name] = result
                else:
                    timelines[name] = (*timelines.get(name, ()), result)
        for name in found:
            timelines.pop(name, None)
        return Judged(tuple(phases), MappingProxyType(timelines), MappingProxyType(found))

    def _reads_recordings(self, name: str) -> bool:
        return any(self._rules.recordings_of(rule) for rule, _ in self._rules.alerts[name])

    def _write(self, series: Mapping[LabelSet, Values], history: History) -> Region:
        region = self._reserve(history)
        self._send(series, region, round(history.interval_s * 1000))
        return region

    def _reserve(self, history: History) -> Region:
        duration_ms = round(history.duration_s * 1000)
        region = Region(self._next_ms, duration_ms)
        after = self._next_ms + duration_ms + self._gap_ms
        self._next_ms = -(-after // _DAY_MS) * _DAY_MS
        return region

    def _send(
        self, series: Mapping[LabelSet, Values], region: Region, interval_ms: int, at_ms: int = 0
    ) -> None:
        for body in requests(series, region.base_ms + at_ms, interval_ms):
            self._prometheus.write(body)
        self._unsettled += max((len(values) for values in series.values()), default=0)
        if self._unsettled > _UNSETTLED_SLOTS:
            self._prometheus.restart()
            self._unsettled = 0

    def _record(
        self,
        alerts: Iterable[str],
        series: Mapping[LabelSet, Values],
        history: History,
        region: Region,
        phase: Phase,
    ) -> Region:
        """Evaluate the recordings that ``alerts`` need, in order, and write what they give.

        It lies in a region of its own, because at another phase it is other series. Scraped
        series are repeated there only for rules that read both kinds.
        """
        rules: list[Rule] = [rule for name in alerts for rule, _ in self._rules.alerts[name]]
        needed = {id(r) for rule in rules for r in self._rules.recordings_of(rule)}
        recordings = [
            (rule, interval_s)
            for rule, interval_s in self._rules.rules
            if isinstance(rule, RecordingRule) and id(rule) in needed
        ]
        dependent = [r for r, _ in recordings if self._rules.recordings_of(r)]
        both = frozenset(name for r in (*rules, *dependent) for name in self._rules.reads(r))
        repeated = {
            labels: values
            for labels, values in series.items()
            if None in both or metric_name(labels) in both
        }
        own = self._write(repeated, history)
        for rule, interval_s in recordings:
            where = own if self._rules.recordings_of(rule) else region
            interval_ms = round(interval_s * 1000)
            phase_ms = phase.of_ms(interval_s)
            count = where.evaluations(interval_ms, phase_ms)
            recorded: dict[LabelSet, Values] = {}
            for metric, indices, values in self._evaluate(rule, where, interval_ms, phase_ms):
                labels = _recorded_labels(rule, metric)
                if labels in recorded:
                    raise QueryFailed(f"{rule.name} records two series with the same labels")
                recorded[labels] = np.full(count, np.nan)
                recorded[labels][indices] = values
            self._send(recorded, own, interval_ms, phase_ms)
        return own

    def _timeline(
        self, rules: RuleSet, name: str, phase: Phase, region: Region
    ) -> AlertTimeline | Unjudged:
        """The timeline of all rules called ``name``, or why there is none."""
        found: dict[LabelSet, tuple[Span, ...]] = {}
        slowest_s = max(interval_s for _, interval_s in rules.alerts[name])
        for rule, interval_s in rules.alerts[name]:
            try:
                own = self._spans(rule, interval_s, phase, region)
            except QueryFailed as error:
                return Unjudged(Why.EVALUATION_FAILS, str(error))
            except NotTemplated as error:
                return Unjudged(
                    Why.TEMPLATED_LABEL, f"the label {error} is filled in by Prometheus only"
                )
            if found.keys() & own.keys():
                return Unjudged(
                    Why.EVALUATION_FAILS, "two rules of this name raise alerts with equal labels"
                )
            found |= own
        return AlertTimeline(
            alert=name,
            phase_s=phase.of_ms(slowest_s) / 1000,
            interval_s=slowest_s,
            spans=MappingProxyType(found),
        )

    def _spans(
        self, rule: AlertRule, interval_s: float, phase: Phase, region: Region
    ) -> dict[LabelSet, tuple[Span, ...]]:
        interval_ms = round(interval_s * 1000)
        phase_ms = phase.of_ms(interval_s)
        parts: dict[LabelSet, list[Indices]] = {}
        for metric, indices, _ in self._evaluate(rule, region, interval_ms, phase_ms):
            labels = alert_labels(rule, metric, self._rules.external_labels)
            parts.setdefault(labels, []).append(indices)
        found = {}
        for labels, several in sorted(parts.items()):
            present = merged(several)
            if present is None:
                raise QueryFailed(
                    "vector contains metrics with the same labelset after applying alert labels"
                )
            found[labels] = spans(
                present,
                interval_ms=interval_ms,
                phase_ms=phase_ms,
                for_ms=round(rule.for_s * 1000),
                keep_firing_for_ms=round(rule.keep_firing_for_s * 1000),
                count=region.evaluations(interval_ms, phase_ms),
            )
        return found

    def _evaluate(self, rule: Rule, region: Region, interval_ms: int, phase_ms: int) -> _Result:
        """The untouched expression at every evaluation of ``region``."""
        if rule.expr not in self._kept:
            return self._asked(rule, region, interval_ms, phase_ms)
        key = (rule.expr, region.base_ms, interval_ms, phase_ms)
        if key not in self._results:
            self._results[key] = self._asked(rule, region, interval_ms, phase_ms)
        return self._results[key]

    def _asked(self, rule: Rule, region: Region, interval_ms: int, phase_ms: int) -> _Result:
        count = region.evaluations(interval_ms, phase_ms)
        first_ms = region.base_ms + phase_ms
        parts: dict[LabelSet, list[tuple[Indices, Values]]] = {}
        for start in range(0, count, MAX_STEPS):
            end = min(start + MAX_STEPS, count) - 1
            for answer in self._prometheus.query_range(
                rule.expr, first_ms + start * interval_ms, first_ms + end * interval_ms, interval_ms
            ):
                indices = (answer.times_ms - first_ms) // interval_ms
                labels = tuple(sorted(answer.labels.items()))
                parts.setdefault(labels, []).append((indices, answer.values))
        return [
            (
                dict(labels),
                np.concatenate([i for i, _ in several]),
                np.concatenate([v for _, v in several]),
            )
            for labels, several in parts.items()
        ]


def _unsound(rules: RuleSet, alert: str) -> Unjudged | None:
    """Why ``alert`` can't be judged on any history."""
    reasons = (unjudged(rules, rule) for rule, _ in rules.alerts[alert])
    return next((reason for reason in reasons if reason is not None), None)


def _needed(history: History, rules: RuleSet, alerts: Collection[str]) -> dict[LabelSet, Values]:
    """The scraped series that ``alerts`` may read."""
    metrics = rules.metrics_of(alerts)
    return {
        labels: history.series[labels]
        for labels in rules.without_recorded(history.series)
        if metrics is None or metric_name(labels) in metrics
    }


def _recorded_labels(rule: RecordingRule, metric: Mapping[str, str]) -> LabelSet:
    labels = {**metric, **rule.labels, "__name__": rule.name}
    return tuple(sorted((name, value) for name, value in labels.items() if value))
