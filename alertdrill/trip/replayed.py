"""Trip points of recorded faults: how short one may be, and how little of it, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from alertdrill.config import Config
from alertdrill.rules.model import load_prometheus
from alertdrill.rules.project import prometheus as find_prometheus
from alertdrill.rules.project import promtool as find_promtool
from alertdrill.rules.replay.answers import Answer, Options
from alertdrill.rules.replay.command import rules_of
from alertdrill.rules.replay.expect import table_of
from alertdrill.rules.replay.segments import load_segments
from alertdrill.rules.replay.virtual import virtual_verdicts
from alertdrill.trip.result import Pair, Replayed
from alertdrill.verdict import Verdict

# Nobody asks here whether the alerts stay quiet all day.
HEALTHY_S = 3600.0


def replayed(
    config: Config, pairs: Sequence[Pair], folder: Path, tell: Callable[[str], None]
) -> tuple[Replayed, ...]:
    """One for each of ``pairs``, from the segments in ``folder``.

    A drill that wasn't recorded is unknown. Raises UsageError, ComponentNotReady.
    """
    configuration = config.path(config.monitoring.prometheus)
    rules = rules_of(load_prometheus(configuration).rule_files, configuration)
    alerts = list(dict.fromkeys(pair.alert for pair in pairs))
    metrics = rules.metrics_of(alerts)
    segments = load_segments(folder, None if metrics is None else metrics | {"up"})
    recorded = {pair.drill.id: pair.drill for pair in pairs if pair.drill.id in segments.faults}
    answers: dict[tuple[str, str], Answer] = {}
    for drill in recorded.values():
        own = [pair.alert for pair in pairs if pair.drill.id == drill.id]
        found = virtual_verdicts(
            rules,
            segments,
            table_of([drill], config.alerts),
            prometheus=find_prometheus(),
            promtool=find_promtool(),
            alerts=own,
            options=Options(healthy_s=HEALTHY_S),
            tell=tell,
        )
        answers |= {(a.segment, a.alert): a for a in found}
    return tuple(_of(pair, answers.get((pair.drill.id, pair.alert))) for pair in pairs)


def _of(pair: Pair, answer: Answer | None) -> Replayed:
    if answer is None:
        return Replayed(pair, unknown="the drill was not recorded")
    if answer.verdict is Verdict.UNKNOWN:
        return Replayed(pair, answer.duration_s, unknown=answer.message)
    return Replayed(pair, answer.duration_s, answer.trip_s, answer.dose)
