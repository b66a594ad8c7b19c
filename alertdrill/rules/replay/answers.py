"""What replay says of each alert and fault: does it fire, how soon, does it stay quiet, how long
until it resolves, what is the least that trips it.

Times count from the moments that a fault's first slot can have begun and ended at the earliest:
one scrape interval before its first, and at its last scrape.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from alertdrill.rules.promtool import Promtool
from alertdrill.rules.replay.compare import compare
from alertdrill.rules.replay.expect import Expectation
from alertdrill.rules.replay.judge import AT_SCRAPE, Judge, Judged
from alertdrill.rules.replay.model import AlertTimeline, History, Span, State, Stretch
from alertdrill.rules.replay.promtool_judge import Case, cases, check, part
from alertdrill.rules.replay.ruleset import RuleSet
from alertdrill.rules.replay.segments import HEALTHY, Segments
from alertdrill.rules.replay.soundness import Unjudged, Why, unread
from alertdrill.rules.replay.tile import build, incident
from alertdrill.rules.replay.trip import can_be_diluted, diluted, smallest
from alertdrill.verdict import Reason, Verdict

FIRES, MAY_FIRE, QUIET = "fires", "may fire", "quiet"

# Healthy time after the longest window has filled, in which nothing may fire.
_CALM_S = 600.0
# Alerts whose windows are within a factor of this share their histories.
_BUCKET = 4.0
_FIRST_BUCKET_S = 1800.0
_DOSE_STEPS = 100

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Answer:
    """One alert under one fault (``healthy``: none; ``blip`` says that it was a short one).

    Times are seconds on the real clock, the worst of all phases; None: it did not happen, or
    not in every phase. ``trip_s`` and ``dose`` are the shortest fault, and the smallest share of
    traffic that meets it, at which the alert fires in every phase.
    """

    alert: str
    segment: str
    expected: str
    duration_s: float
    verdict: Verdict
    reason: str | None = None
    message: str = ""
    fires_after_s: float | None = None
    within_s: float | None = None
    resolves_after_s: float | None = None
    resolved_within_s: float | None = None
    trip_s: float | None = None
    dose: float | None = None
    blip: bool = False

    def document(self) -> dict[str, object]:
        return {**vars(self), "verdict": self.verdict.word}


@dataclass(frozen=True)
class Scene:
    """A history and where the fault lies in it, in seconds: healthy before ``begin_s``, judged
    from ``warm_s``, when the longest window has filled."""

    history: History
    warm_s: float
    begin_s: float
    end_s: float


@dataclass(frozen=True)
class Job:
    """A scene and the alerts that are judged on it. ``expectation`` None: all is healthy there.
    ``blip``: the fault is a short one, which must fire nothing."""

    expectation: Expectation | None
    alerts: tuple[str, ...]
    scene: Scene
    blip: bool = False


@dataclass(frozen=True)
class Options:
    """``healthy_s``: how long the healthy history is. ``trips``: look for trip points."""

    healthy_s: float = 86_400.0
    trips: bool = True


DEFAULTS = Options()


def tell_nobody(_: str) -> None:
    """Tell nobody."""


@dataclass
class Replay:
    """Answers for one set of rules, with both judges at hand."""

    rules: RuleSet
    segments: Segments
    judge: Judge
    promtool: Promtool
    workers: int = 1
    tell: Tell = tell_nobody

    def answers(
        self,
        expectations: Sequence[Expectation],
        alerts: Collection[str],
        options: Options = DEFAULTS,
    ) -> tuple[Answer, ...]:
        """One answer per alert and expectation, and per alert for healthy times.

        Judged by backfill at every phase; the same histories, or half a day of them, go to
        promtool, and where the two differ the answer is unknown.
        """
        found: list[Answer] = []
        checks: list[tuple[Case, Mapping[str, AlertTimeline]]] = []
        rows: list[tuple[Answer, Expectation | None, tuple[Case, ...]]] = []
        jobs = self.jobs(expectations, alerts, options)
        for number, job in enumerate(jobs, 1):
            what = HEALTHY if job.expectation is None else job.expectation.segment
            self.tell(f"{number}/{len(jobs)} {what}{' (short)' if job.blip else ''}")
            judged = self.judge.judge(job.scene.history, alerts=job.alerts)
            compared = (
                [] if job.blip else self._cross_checks(f"{number} ({what})", job.scene, judged)
            )
            checks += compared
            for name in job.alerts:
                answer = self.answer(name, job, judged)
                own = tuple(case for case, _ in compared if name in case.alerts)
                rows.append((answer, job.expectation, own))
        self.tell(f"promtool: {len(checks)} histories")
        said = check(self.promtool, self.rules, checks, workers=self.workers)
        differing = {
            case.name: compare(case, timelines, one)
            for (case, timelines), one in zip(checks, said, strict=True)
        }
        for answer, expectation, own in rows:
            answer = _cross_checked(answer, own, differing)
            if options.trips and expectation is not None and not answer.blip:
                answer = self._tripped(answer, expectation)
            found.append(answer)
        return tuple(found)

    def jobs(
        self, expectations: Sequence[Expectation], alerts: Collection[str], options: Options
    ) -> tuple[Job, ...]:
        """Everything that ``alerts`` are judged on."""
        return (*self._healthy_jobs(options, alerts), *self._fault_jobs(expectations, alerts))

    def _healthy_jobs(self, options: Options, alerts: Collection[str]) -> Iterator[Job]:
        for window_s, names in self._buckets(alerts):
            length_s = max(options.healthy_s, window_s + _CALM_S)
            history = self._build((Stretch(HEALTHY, length_s),), names, None)
            end_s = history.duration_s
            yield Job(None, names, Scene(history, min(window_s, end_s), end_s, end_s))

    def _fault_jobs(
        self, expectations: Sequence[Expectation], alerts: Collection[str]
    ) -> Iterator[Job]:
        for expectation in expectations:
            for _, names in self._buckets(alerts):
                yield Job(
                    expectation, names, self.scene(expectation, names, expectation.duration_s)
                )
                if expectation.blip_s is not None:
                    short = self.scene(expectation, names, expectation.blip_s)
                    yield Job(expectation, names, short, blip=True)

    def _buckets(self, alerts: Collection[str]) -> list[tuple[float, tuple[str, ...]]]:
        """Alerts by how much history their windows need, in seconds, so that one of 30 days
        doesn't make all others wait for it."""
        found: dict[float, list[str]] = {}
        for alert in alerts:
            bucket_s = _FIRST_BUCKET_S
            look_back_s = self.rules.look_back_s([alert])
            while bucket_s < look_back_s:
                bucket_s *= _BUCKET
            found.setdefault(bucket_s, []).append(alert)
        return [(self.rules.look_back_s(names), tuple(names)) for _, names in sorted(found.items())]

    def scene(self, expectation: Expectation, alerts: Collection[str], duration_s: float) -> Scene:
        """Healthy for as long as windows need, the fault for ``duration_s``, healthy again."""
        window_s = self.rules.look_back_s(alerts)
        slowest_s = max(i for a in alerts for _, i in self.rules.alerts[a])
        kept_s = max(r.keep_firing_for_s for a in alerts for r, _ in self.rules.alerts[a])
        lead_s = window_s + _CALM_S
        tail_s = window_s + kept_s + 4 * slowest_s + _CALM_S + self._slow_s(expectation)
        stretches = incident(expectation.segment, duration_s, lead_s=lead_s, tail_s=tail_s)
        history = self._build(stretches, alerts, None)
        begin = round(lead_s / history.interval_s)
        slots = round((lead_s + duration_s) / history.interval_s) - begin
        begin_s = (begin - 1) * history.interval_s
        return Scene(history, window_s, begin_s, begin_s + slots * history.interval_s)

    def _build(
        self, stretches: Sequence[Stretch], alerts: Collection[str], drill: str | None
    ) -> History:
        return build(self.segments, stretches, select=self.rules.metrics_of(alerts), drill=drill)

    def _slow_s(self, expectation: Expectation) -> float:
        """What a slowed operation adds to every limit."""
        segment = self.segments.faults[self.segments.drill_of(expectation.segment)]
        return expectation.operation_s * segment.factor

    def _cross_checks(
        self, what: str, scene: Scene, judged: Judged
    ) -> list[tuple[Case, Mapping[str, AlertTimeline]]]:
        timelines = {name: by_phase[0] for name, by_phase in judged.timelines.items()}
        shown = part(scene.history, scene.begin_s if scene.end_s > scene.begin_s else 0.0)
        found = cases(what, shown, self.rules, timelines)
        if shown is not scene.history and found:
            names = [name for case in found for name in case.alerts]
            again = self.judge.judge(shown, alerts=names, phases=(AT_SCRAPE,))
            timelines = {name: by_phase[0] for name, by_phase in again.timelines.items()}
        return [
            (replace(case, alerts=own), timelines)
            for case in found
            if (own := tuple(name for name in case.alerts if name in timelines))
        ]

    def answer(self, alert: str, job: Job, judged: Judged) -> Answer:
        """What follows from ``judged``, not compared with promtool and without trip points."""
        expectation, scene, blip = job.expectation, job.scene, job.blip
        limit = None if expectation is None else expectation.limit(alert)
        slow_s = 0.0 if expectation is None else self._slow_s(expectation)
        duration_s = scene.end_s - scene.begin_s
        fires = expectation is not None and alert in expectation.fires and not blip
        within_s = limit.within_s if limit and fires else None
        resolved_within_s = limit.resolved_within_s if limit and fires else None
        answer = Answer(
            alert=alert,
            segment=HEALTHY if expectation is None else expectation.segment,
            expected=_expected(alert, expectation, blip),
            duration_s=duration_s if expectation is not None else scene.history.duration_s,
            verdict=Verdict.PASS,
            within_s=None if within_s is None else within_s + slow_s,
            resolved_within_s=None if resolved_within_s is None else resolved_within_s + slow_s,
            blip=blip,
        )
        if alert in judged.unjudged:
            return _unknown(answer, judged.unjudged[alert])
        timelines = judged.timelines[alert]
        answer = _timed(answer, timelines, scene)
        verdict, reason, message = _verdict(answer, timelines, scene)
        missing = unread(self.rules, alert, scene.history)
        if missing and (verdict is Verdict.PASS and answer.expected != FIRES):
            return _unknown(answer, missing)
        if missing and verdict is Verdict.FAIL:
            message = f"{message}; {missing.message}"
        return replace(answer, verdict=verdict, reason=reason, message=message)

    def _tripped(self, answer: Answer, expectation: Expectation) -> Answer:
        """``answer`` with its trip points, where it fires at all."""
        if answer.fires_after_s is None or answer.verdict is Verdict.UNKNOWN:
            return answer
        self.tell(f"trip point of {answer.alert} under {answer.segment}")
        step_s = self.segments.faults[self.segments.drill_of(answer.segment)].interval_s

        def fires(steps: int) -> bool:
            scene = self.scene(expectation, [answer.alert], steps * step_s)
            return self._fires_in_every_phase(answer.alert, scene, scene.history)

        steps = smallest(fires, round(answer.duration_s / step_s))
        return replace(answer, trip_s=steps * step_s, dose=self._dose(answer, expectation))

    def _dose(self, answer: Answer, expectation: Expectation) -> float | None:
        alerts = [answer.alert]
        metrics = self.rules.metrics_of(alerts)
        drill = self.segments.drill_of(expectation.segment)
        kinds = {**self.segments.healthy[drill].kinds, **self.segments.faults[drill].kinds}
        scene = self.scene(expectation, alerts, answer.duration_s)
        whole_s = sum(stretch.duration_s for stretch in scene.history.stretches)
        healthy = self._build((Stretch(HEALTHY, whole_s),), alerts, drill)
        if metrics is None or not can_be_diluted(healthy, scene.history, kinds, metrics):
            return None

        def fires(percent: int) -> bool:
            history = diluted(healthy, scene.history, kinds, percent / _DOSE_STEPS)
            return self._fires_in_every_phase(answer.alert, scene, history)

        return smallest(fires, _DOSE_STEPS) / _DOSE_STEPS

    def _fires_in_every_phase(self, alert: str, scene: Scene, history: History) -> bool:
        judged = self.judge.judge(history, alerts=[alert])
        timelines = judged.timelines.get(alert, ())
        return bool(timelines) and all(
            timeline.first(State.FIRING, scene.begin_s) is not None for timeline in timelines
        )


def unknown_answers(
    reasons: Mapping[str, Unjudged], expectations: Iterable[Expectation | None], options: Options
) -> Iterator[Answer]:
    """For alerts that can't be judged, one answer per expectation, as ``Replay.answers`` gives
    them; ``reasons`` by alert."""
    for expectation in expectations:
        for alert, reason in reasons.items():
            answer = Answer(
                alert=alert,
                segment=HEALTHY if expectation is None else expectation.segment,
                expected=_expected(alert, expectation, blip=False),
                duration_s=options.healthy_s if expectation is None else expectation.duration_s,
                verdict=Verdict.UNKNOWN,
            )
            yield _unknown(answer, reason)


def _expected(alert: str, expectation: Expectation | None, blip: bool) -> str:
    if expectation is None or blip or expectation.must_stay_quiet(alert):
        return QUIET
    return FIRES if alert in expectation.fires else MAY_FIRE


def _timed(answer: Answer, timelines: Sequence[AlertTimeline], scene: Scene) -> Answer:
    """``answer`` with the worst times of all phases."""
    if answer.segment == HEALTHY:
        return answer
    firsts = [timeline.first(State.FIRING, scene.begin_s) for timeline in timelines]
    seen = [first for first in firsts if first is not None]
    lasts = [span.end_s for timeline in timelines for span in _firing(timeline, scene.begin_s)]
    return replace(
        answer,
        fires_after_s=max(seen) - scene.begin_s if len(seen) == len(firsts) else None,
        resolves_after_s=max(max(lasts) - scene.end_s, 0.0) if lasts else None,
    )


def _firing(timeline: AlertTimeline, since_s: float, until_s: float = float("inf")) -> list[Span]:
    return [
        span
        for spans in timeline.spans.values()
        for span in spans
        if span.state is State.FIRING and span.end_s > since_s and span.start_s < until_s
    ]


def _verdict(
    answer: Answer, timelines: Sequence[AlertTimeline], scene: Scene
) -> tuple[Verdict, str | None, str]:
    for timeline in timelines:
        early = _firing(timeline, scene.warm_s, scene.begin_s)
        if early:
            at_s = max(early[0].start_s, scene.warm_s)
            return _fail(
                Reason.ALERT_WITHOUT_FAULT,
                f"fired while all was healthy, {at_s:.0f} s into the history"
                f" (first evaluation at {timeline.phase_s:g} s)",
            )
    if answer.segment == HEALTHY:
        return Verdict.PASS, None, ""
    fired = [_firing(timeline, scene.begin_s) for timeline in timelines]
    if answer.expected == QUIET:
        if any(fired):
            after_s = min(s.start_s for spans in fired for s in spans) - scene.begin_s
            words = f"fired {after_s:.0f} s after the begin of a fault of {answer.duration_s:.0f} s"
            return _fail(Reason.UNEXPECTED_ALERT, words)
        return Verdict.PASS, None, ""
    if answer.expected == FIRES:
        if answer.fires_after_s is None:
            silent = sum(not spans for spans in fired)
            phases = "" if silent == len(fired) else f" in {silent} of {len(fired)} phases"
            return _fail(
                Reason.ALERT_DID_NOT_FIRE,
                f"did not fire{phases} under a fault of {answer.duration_s:.0f} s"
                + _closest(timelines, scene),
            )
        limit_s = answer.duration_s if answer.within_s is None else answer.within_s
        if answer.fires_after_s > limit_s:
            limit = "the end of the fault" if answer.within_s is None else "its limit"
            return _fail(
                Reason.ALERT_DID_NOT_FIRE,
                f"fired {answer.fires_after_s:.0f} s after the fault began, later than {limit}"
                f" ({limit_s:.0f} s)",
            )
    return _resolved(answer, timelines, scene)


def _resolved(
    answer: Answer, timelines: Sequence[AlertTimeline], scene: Scene
) -> tuple[Verdict, str | None, str]:
    after_s = answer.resolves_after_s
    if after_s is None:
        return Verdict.PASS, None, ""
    ends_s = scene.history.duration_s
    for timeline in timelines:
        if any(span.end_s >= ends_s for span in _firing(timeline, scene.end_s)):
            left_s = ends_s - scene.end_s
            words = f"still fired {left_s:.0f} s after the fault had ended"
            return _fail(Reason.ALERT_DID_NOT_RESOLVE, words)
    if answer.resolved_within_s is not None and after_s > answer.resolved_within_s:
        return _fail(
            Reason.ALERT_DID_NOT_RESOLVE,
            f"resolved {after_s:.0f} s after the fault had ended, later than its limit"
            f" ({answer.resolved_within_s:.0f} s)",
        )
    return Verdict.PASS, None, ""


def _closest(timelines: Sequence[AlertTimeline], scene: Scene) -> str:
    """How near it came."""
    pending = [
        span.end_s - span.start_s
        for timeline in timelines
        for spans in timeline.spans.values()
        for span in spans
        if span.state is State.PENDING and span.end_s > scene.begin_s
    ]
    return f"; it was pending for {max(pending):.0f} s" if pending else "; it never was pending"


def _fail(reason: Reason, message: str) -> tuple[Verdict, str, str]:
    return Verdict.FAIL, reason.value, message


def _unknown(answer: Answer, reason: Unjudged) -> Answer:
    return replace(answer, verdict=Verdict.UNKNOWN, reason=reason.why.value, message=reason.message)


def _cross_checked(
    answer: Answer,
    own: Sequence[Case],
    differing: Mapping[str, Mapping[str, Unjudged]],
) -> Answer:
    """``answer``, unless promtool says otherwise or could not be asked."""
    if answer.verdict is Verdict.UNKNOWN or answer.blip:
        return answer
    for case in own:
        reason = differing[case.name].get(answer.alert)
        if reason is not None:
            return _unknown(answer, reason)
    if own:
        return answer
    words = f" (backfill alone: {answer.verdict.word}{answer.message and ', ' + answer.message})"
    return _unknown(
        answer,
        Unjudged(
            Why.NOT_CROSS_CHECKED,
            "promtool evaluates all rules at one interval, which these rules don't have" + words,
        ),
    )
