"""The virtual verdicts of a table of faults, and whether live drills said the same."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alertdrill.rules.prometheus import Prometheus
from alertdrill.rules.promtool import open_promtool
from alertdrill.rules.replay.answers import (
    DEFAULTS,
    Answer,
    Options,
    Replay,
    Tell,
    tell_nobody,
)
from alertdrill.rules.replay.expect import Expectation
from alertdrill.rules.replay.judge import Judge
from alertdrill.rules.replay.ruleset import RuleSet
from alertdrill.rules.replay.segments import HEALTHY, Segments
from alertdrill.verdict import Verdict

# A live alert is later than its replay: scrapes and evaluations of a busy machine are late, and
# a compressed clock multiplies that. In real seconds of the run, and as a share of the time.
_LATE_S = 2.0
_LATE_SHARE = 0.1


def virtual_verdicts(
    rules: RuleSet,
    segments: Segments,
    expectations: Sequence[Expectation],
    *,
    prometheus: Path,
    promtool: Path,
    alerts: Collection[str] | None = None,
    options: Options = DEFAULTS,
    tell: Tell = tell_nobody,
) -> tuple[Answer, ...]:
    """What ``rules`` would have done under each fault of ``expectations``: one answer per alert
    and fault, and one per alert for healthy times.

    ``prometheus`` and ``promtool`` are programs, which are started for it; ``alerts`` None: all
    that read series. Raises UsageError for a segment that wasn't recorded, ComponentNotReady,
    AlertdrillError.
    """
    chosen = tuple(name for name in rules.replayable if alerts is None or name in alerts)
    with (
        Prometheus(prometheus, evaluation_interval_s=rules.evaluation_interval_s) as server,
        open_promtool(promtool) as tool,
    ):
        replay = Replay(rules, segments, Judge(server, rules), tool, os.cpu_count() or 1, tell)
        return replay.answers(expectations, chosen, options)


@dataclass(frozen=True)
class Compared:
    """One alert in one live drill and in its replay. Times are seconds from the fault's begin on
    the real clock, None: it did not fire. ``verdict`` is PASS where both agree."""

    drill: str
    alert: str
    live_s: float | None
    virtual_s: float | None
    verdict: Verdict
    message: str = ""

    def document(self) -> dict[str, object]:
        return {**vars(self), "verdict": self.verdict.word}


def compare_with_live(
    document: Mapping[str, Any], answers: Sequence[Answer]
) -> tuple[Compared, ...]:
    """Whether the drills of ``document`` (a run's ``verdict.json``) and ``answers`` agree on which
    alerts fire.

    A live fault ends when its drill has seen enough, so an alert that would have fired only
    later is no disagreement. Drills that proved nothing are left out.
    """
    factor = float(document["clock"]["factor"])
    return tuple(
        _compared(drill, answer, factor)
        for drill in document["drills"]
        if drill["verdict"] != Verdict.UNKNOWN.word and drill["heal_s"] is not None
        for answer in _of(drill, answers)
    )


def _of(drill: Mapping[str, Any], answers: Sequence[Answer]) -> Iterator[Answer]:
    for answer in answers:
        is_it = answer.segment in (drill["id"], drill["fault"])
        if is_it and not answer.blip and answer.segment != HEALTHY:
            yield answer


def _compared(drill: Mapping[str, Any], answer: Answer, factor: float) -> Compared:
    outcomes = {alert["name"]: alert for alert in drill["alerts"]}
    firing_s = outcomes.get(answer.alert, {}).get("firing_s")
    live_s = None if firing_s is None else float(firing_s) * factor
    healed_s = float(drill["heal_s"]) * factor
    virtual_s = answer.fires_after_s
    verdict, message = Verdict.PASS, ""
    if answer.verdict is Verdict.UNKNOWN:
        verdict, message = Verdict.UNKNOWN, f"its replay is unknown: {answer.message}"
    elif live_s is not None and virtual_s is None:
        verdict = Verdict.UNKNOWN
        message = f"fired live {live_s:.0f} s after the fault, and not in every phase of its replay"
    elif live_s is None and virtual_s is not None:
        by_s = virtual_s * (1 + _LATE_SHARE) + _LATE_S * factor
        if by_s < healed_s:
            verdict = Verdict.UNKNOWN
            message = (
                f"fires {virtual_s:.0f} s after the fault in its replay, and did not live, "
                f"where the fault lasted for {healed_s:.0f} s"
            )
    return Compared(drill["id"], answer.alert, live_s, virtual_s, verdict, message)
