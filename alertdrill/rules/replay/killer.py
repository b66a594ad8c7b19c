"""Many versions of rules on the same histories: what would replay say of each of them?

Each history is written once, with what the recordings make of it at each phase. A version that
changes one alert is then a few range queries, and none at all where its expression is that of the
rules as they are: a changed ``for`` needs no new evaluation. A version that changes a recording
makes other series, so it gets a Prometheus of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from alertdrill.rules.prometheus import Prometheus
from alertdrill.rules.promtool import Promtool
from alertdrill.rules.replay.answers import Answer, Job, Options, Replay
from alertdrill.rules.replay.expect import Expectation
from alertdrill.rules.replay.judge import AT_SCRAPE, PHASES, Judge, Judged, Phase
from alertdrill.rules.replay.model import AlertTimeline
from alertdrill.rules.replay.ruleset import RuleSet
from alertdrill.rules.replay.segments import Segments

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


class Stage:
    """Plays versions of ``rules`` on the faults of ``expectations``, and on healthy times.

    ``alerts``: those to play. ``every``: the rules and all their versions in one, so that histories
    are long enough for the longest window and `for` among them. ``server`` is for this stage
    alone, ``binary`` starts others. Thread-safe. Raises UsageError for a fault that wasn't
    recorded.
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
        self._judge = Judge(server, rules, every)
        self._replay = Replay(rules, segments, self._judge, promtool)
        jobs = replace(self._replay, rules=every).jobs(expectations, alerts, options)
        # An alert that must fire under a fault is where most versions of it go wrong.
        self._jobs = tuple(sorted(jobs, key=lambda job: (job.blip, job.expectation is None)))
        self._placed = [self._judge.place(job.scene.history, job.alerts) for job in self._jobs]

    def play(self, rules: RuleSet, alert: str) -> Generator[Played, None, None]:
        """``alert`` by other ``rules`` that differ in this alert alone, history by history."""

        def judged(number: int, phases: tuple[Phase, ...]) -> Judged:
            return self._judge.judge_placed(self._placed[number], [alert], phases, rules)

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


def _must_fire(job: Job, alert: str) -> bool:
    return job.expectation is not None and alert in job.expectation.fires and not job.blip
