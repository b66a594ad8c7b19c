"""Many versions of rules on the same histories: what would replay say of each of them?

Each history is written once, with what the recordings make of it at each phase. A version that
changes one alert is then a few range queries, and none at all where its expression is that of the
rules as they are: a changed ``for`` needs no new evaluation. A version that changes a recording
makes other series, so it gets a Prometheus of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Self

from alertdrill.rules.prometheus import Prometheus
from alertdrill.rules.promtool import Promtool
from alertdrill.rules.replay.answers import Answer, Options, Replay, Scene
from alertdrill.rules.replay.expect import Expectation
from alertdrill.rules.replay.judge import AT_SCRAPE, PHASES, Judge, Judged, Phase, _Region, _Result
from alertdrill.rules.replay.model import AlertTimeline, History
from alertdrill.rules.replay.ruleset import Rule, RuleSet
from alertdrill.rules.replay.segments import Segments
from alertdrill.rules.replay.soundness import Unjudged, unjudged

# Most versions go wrong in the first phase already.
_ROUNDS: tuple[tuple[Phase, ...], ...] = ((AT_SCRAPE,), PHASES[1:])


@dataclass(frozen=True)
class Played:
    """One alert of a version on one history, in ``phases``.

    ``answer``     what replay says of it
    ``timelines``  one per phase; none where it could not be judged
    ``number``     of the history
    """

    number: int
    phases: tuple[Phase, ...]
    answer: Answer
    timelines: tuple[AlertTimeline, ...]


@dataclass(frozen=True)
class _Job:
    """A history and the alerts that are judged on it, as ``Replay`` makes them."""

    expectation: Expectation | None
    alerts: tuple[str, ...]
    scene: Scene
    blip: bool


class _Replay(Replay):
    """What of a replay needs no promtool."""

    def jobs(
        self, expectations: Sequence[Expectation], alerts: Collection[str], options: Options
    ) -> tuple[_Job, ...]:
        found = (*self._healthy_jobs(options, alerts), *self._fault_jobs(expectations, alerts))
        return tuple(_Job(*job) for job in found)

    def answer(self, alert: str, job: _Job, judged: Judged) -> Answer:
        return self._answer(alert, job.expectation, job.scene, judged, job.blip)


class _Judge(Judge):
    """Judges versions of ``rules`` in regions that were written once.

    Regions lie so far apart that none of ``every`` can see two of them.
    """

    def __init__(self, prometheus: Prometheus, rules: RuleSet, every: RuleSet):
        super().__init__(prometheus, every)
        self._rules = rules
        self._original = frozenset(rule.expr for rule, _ in rules.rules)
        # Results of the rules' own expressions, which many versions share.
        self._remembered: dict[tuple[str, int, int, int], _Result] = {}

    def version(self, rules: RuleSet) -> Self:
        """The same for other rules; only this one may ``place``."""
        other = copy.copy(self)
        other._rules = rules
        return other

    def place(self, history: History, alerts: Sequence[str]) -> dict[tuple[str, Phase], _Region]:
        """Write ``history``, and what the recordings of ``alerts`` make of it at each phase;
        where each alert is to be judged. Raises QueryFailed."""
        scraped = self._rules.without_recorded(history.series)
        series = {labels: history.series[labels] for labels in scraped}
        recording = [name for name in alerts if self._reads_recordings(name)]
        region = self._write(series, history)
        found = {(name, phase): region for name in alerts for phase in PHASES}
        for phase in PHASES if recording else ():
            own = self._record(recording, series, history, region, phase)
            found |= {(name, phase): own for name in recording}
        return found

    def judged(
        self, alert: str, phases: tuple[Phase, ...], regions: Mapping[tuple[str, Phase], _Region]
    ) -> Judged:
        """``alert`` where ``place`` put it."""
        reasons = [unjudged(self._rules, rule) for rule, _ in self._rules.alerts[alert]]
        reason = next((one for one in reasons if one is not None), None)
        found: list[AlertTimeline] = []
        for phase in phases if reason is None else ():
            timeline = self._timeline(alert, phase, regions[alert, phase])
            if isinstance(timeline, Unjudged):
                reason = timeline
                break
            found.append(timeline)
        if reason is not None:
            return Judged(phases, MappingProxyType({}), MappingProxyType({alert: reason}))
        return Judged(phases, MappingProxyType({alert: tuple(found)}), MappingProxyType({}))

    def _evaluate(self, rule: Rule, region: _Region, interval_ms: int, phase_ms: int) -> _Result:
        if rule.expr not in self._original:
            return super()._evaluate(rule, region, interval_ms, phase_ms)
        key = (rule.expr, region.base_ms, interval_ms, phase_ms)
        if key not in self._remembered:
            self._remembered[key] = super()._evaluate(rule, region, interval_ms, phase_ms)
        return self._remembered[key]


class Stage:
    """Plays versions of ``rules`` on the faults of ``expectations``, and on healthy times.

    ``alerts``: those to play. ``every``: the rules and all their versions in one, so that histories
    are long enough for the longest window and `for` among them. ``server`` is for this stage
    alone, ``binary`` starts others. Thread-safe. Raises QueryFailed for a recording that can't be
    evaluated, UsageError for a fault that wasn't recorded.
    """

    def __init__(
        self,
        rules: RuleSet,
        every: RuleSet,
        segments: Segments,
        expectations: Sequence[Expectation],
        alerts: Collection[str],
        *,
        server: Prometheus,
        binary: Path,
        promtool: Promtool,
        options: Options,
    ):
        self._rules = rules
        self._binary = binary
        self._judge = _Judge(server, rules, every)
        self._replay = _Replay(rules, segments, self._judge, promtool)
        jobs = replace(self._replay, rules=every).jobs(expectations, alerts, options)
        # An alert that must fire under a fault is where most versions of it go wrong.
        self._jobs = tuple(sorted(jobs, key=lambda job: (job.blip, job.expectation is None)))
        self._regions = [self._judge.place(job.scene.history, job.alerts) for job in self._jobs]

    def play(self, rules: RuleSet, alert: str) -> Generator[Played, None, None]:
        """``alert`` by other ``rules`` that differ in this alert alone, history by history."""
        judge = self._judge.version(rules)

        def judged(number: int, phases: tuple[Phase, ...]) -> Judged:
            return judge.judged(alert, phases, self._regions[number])

        return self._played(rules, alert, judged)

    def play_apart(self, rules: RuleSet, alert: str) -> Generator[Played, None, None]:
        """The same for any other ``rules``, with a Prometheus of their own."""
        with Prometheus(
            self._binary, evaluation_interval_s=self._rules.evaluation_interval_s
        ) as server:
            judge = Judge(server, rules)

            def judged(number: int, phases: tuple[Phase, ...]) -> Judged:
                history = self._jobs[number].scene.history
                return judge.judge(history, alerts=[alert], phases=phases)

            yield from self._played(rules, alert, judged)

    def _played(
        self,
        rules: RuleSet,
        alert: str,
        judged: Callable[[int, tuple[Phase, ...]], Judged],
    ) -> Generator[Played, None, None]:
        replay = replace(self._replay, rules=rules)
        own = [(number, job) for number, job in enumerate(self._jobs) if alert in job.alerts]
        own.sort(key=lambda pair: not _must_fire(pair[1], alert))
        for phases in _ROUNDS:
            for number, job in own:
                found = judged(number, phases)
                answer = replay.answer(alert, job, found)
                yield Played(number, phases, answer, found.timelines.get(alert, ()))


def _must_fire(job: _Job, alert: str) -> bool:
    return job.expectation is not None and alert in job.expectation.fires and not job.blip
