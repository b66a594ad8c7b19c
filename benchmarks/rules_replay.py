"""How long replay takes: a day and 30 days of history under the shipped rules, and a whole table.

No stack runs: the segments are those that the project keeps (``rules/``). Everything counts
that happens after the programs are found: building the history, writing it into a Prometheus
that is started for it, and asking every rule at every evaluation, the states followed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from alertdrill.errors import AlertdrillError
from alertdrill.rules.project import prometheus as find_prometheus
from alertdrill.rules.project import promtool as find_promtool
from alertdrill.rules.prometheus import Prometheus
from alertdrill.rules.promtool import open_promtool
from alertdrill.rules.replay.command import rules_of
from alertdrill.rules.replay.compare import compare
from alertdrill.rules.replay.expect import Expectation, load_expectations, load_unjudged
from alertdrill.rules.replay.judge import AT_SCRAPE, PHASES, Judge, Phase
from alertdrill.rules.replay.model import AlertTimeline, History, State
from alertdrill.rules.replay.promtool_judge import Case, cases, check, part
from alertdrill.rules.replay.ruleset import RuleSet
from alertdrill.rules.replay.segments import Segments, load_segments
from alertdrill.rules.replay.tile import build, incident
from alertdrill.rules.replay.virtual import virtual_verdicts
from alertdrill.verdict import Verdict
from benchmarks.report import Detail, Figure, Report, Target, parser, present
from benchmarks.setting import GIB, project

DAY_S = 86_400.0
FAULT_S, TAIL_S = 1200.0, 1800.0
DAY_TARGET = Target("≤", 2.0)
MONTH_TARGET = Target("≤", 30.0)
FAULT = "postgresql-refuses-connections"
FIRES = {"HighErrorRate", "ApiErrorRateHigh", "NoSuccessfulSyncs"}


@dataclass
class Steps:
    """Seconds of each step, in order."""

    taken: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.taken.append((name, time.monotonic() - begun))

    @property
    def total_s(self) -> float:
        return sum(seconds for _, seconds in self.taken)


def prepare() -> tuple[RuleSet, Segments, tuple[Expectation, ...], tuple[str, ...]]:
    """The rules, the recorded faults, their table, and the alerts that it lets replay judge."""
    config = project()
    prometheus = config.path(config.monitoring.prometheus)
    rules = rules_of([prometheus.parent / "alerts.yml"], prometheus)
    path = config.root / "rules" / "expect.yml"
    own = {name: promise for name, promise in config.alerts.items() if name in rules.alerts}
    unjudged = load_unjudged(path, rules.alerts)
    alerts = tuple(name for name in rules.replayable if name not in unjudged)
    recorded = load_segments(config.root / "rules" / "segments")
    return rules, recorded, load_expectations(path, own), alerts


def judged(
    rules: RuleSet,
    recorded: Segments,
    alerts: Sequence[str],
    days: float,
    phases: Sequence[Phase],
) -> tuple[Steps, History, dict[str, tuple[AlertTimeline, ...]]]:
    """A history of ``days`` with 20 minutes of a fault near its end, judged by backfill."""
    steps = Steps()
    with steps.step("build"):
        lead_s = days * DAY_S - FAULT_S - TAIL_S
        stretches = incident(FAULT, FAULT_S, lead_s=lead_s, tail_s=TAIL_S)
        history = build(recorded, stretches, select=rules.metrics_of(alerts))
    binary = find_prometheus()
    with ExitStack() as running:
        with steps.step("start"):
            server = running.enter_context(
                Prometheus(binary, evaluation_interval_s=rules.evaluation_interval_s)
            )
        with steps.step("write, judge"):
            found = Judge(server, rules).judge(history, alerts=alerts, phases=phases)
    fired = {n for n, t in found.timelines.items() if t[0].first(State.FIRING) is not None}
    if fired != FIRES or found.unjudged:
        raise AlertdrillError(f"wrong verdicts: {sorted(fired)}, {found.unjudged}")
    return steps, history, dict(found.timelines)


def cross_checked(
    rules: RuleSet, history: History, alerts: Sequence[str], days: float
) -> tuple[float, int]:
    """Seconds that promtool takes for its part of ``history``, and its evaluations."""
    shown = part(history, days * DAY_S - FAULT_S - TAIL_S)
    with Prometheus(find_prometheus(), evaluation_interval_s=rules.evaluation_interval_s) as server:
        again = Judge(server, rules).judge(shown, alerts=alerts, phases=(AT_SCRAPE,))
    timelines = {name: one[0] for name, one in again.timelines.items()}
    with open_promtool(find_promtool()) as promtool:
        begun = time.monotonic()
        found = cases("benchmark", shown, rules, timelines)
        pairs: list[tuple[Case, dict[str, AlertTimeline]]] = [(c, timelines) for c in found]
        said = check(promtool, rules, pairs)
        took_s = time.monotonic() - begun
    differing = [compare(c, timelines, one) for c, one in zip(found, said, strict=True)]
    if any(differing):
        raise AlertdrillError(f"the judges disagree: {differing}")
    return took_s, sum(case.evaluations for case in found)


def whole_table(
    rules: RuleSet, recorded: Segments, table: Sequence[Expectation], alerts: Sequence[str]
) -> tuple[float, int]:
    """Seconds for the whole table with everything: both judges, phases, trip points."""
    begun = time.monotonic()
    answers = virtual_verdicts(
        rules,
        recorded,
        table,
        prometheus=find_prometheus(),
        promtool=find_promtool(),
        alerts=alerts,
    )
    took_s = time.monotonic() - begun
    wrong = [answer for answer in answers if answer.verdict is not Verdict.PASS]
    if wrong:
        raise AlertdrillError(f"wrong verdicts: {wrong}")
    return took_s, len(answers)


def measure() -> Report:
    rules, recorded, table, alerts = prepare()
    rows: list[tuple[str | float | None, ...]] = []
    figures = []
    for days, target in ((1.0, DAY_TARGET), (30.0, MONTH_TARGET)):
        name = f"{days:g} day{'s' if days > 1 else ''}"
        for phases in ((AT_SCRAPE,), PHASES):
            steps, history, _ = judged(rules, recorded, alerts, days, phases)
            samples = history.slots * len(history.series)
            evaluations = len(phases) * round(days * DAY_S / 30)
            seconds = [taken_s for _, taken_s in steps.taken]
            phrase = f"{name}, {len(phases)} phase{'s' if len(phases) > 1 else ''}"
            rows.append((phrase, *seconds, steps.total_s, f"{samples:,}", f"{evaluations:,}"))
            if len(phases) == 1:
                note = f"{samples / 1e6:.1f} M samples of {len(history.series)} series"
                figures.append(Figure(f"{name} judged", steps.total_s, "s", target, note))
        took_s, evaluations = cross_checked(rules, history, alerts, days)
        figures.append(
            Figure(
                f"{name} compared",
                took_s,
                "s",
                None,
                f"promtool, {evaluations:,} evaluations",
            )
        )
    took_s, count = whole_table(rules, recorded, table, alerts)
    name = f"the table of {len(table)} faults"
    note = f"{count} answers, trip points included"
    figures.append(Figure(name, took_s, "s", None, note))
    columns = ("seconds", "build", "start", "write, judge", "total", "samples", "evaluations")
    return Report(
        "Replay of the shipped rules",
        _machine(),
        tuple(figures),
        (
            Detail(
                f"What a history takes ({len(alerts)} alerts, 15 s scrapes, 30 s evaluations)",
                columns,
                rows,
            ),
        ),
    )


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')} · {os.cpu_count()} cores, {memory:.1f} GiB"
        f" · Linux {platform.release().partition('-')[0]} · Python {platform.python_version()}"
        f" · before: load average {os.getloadavg()[0]:.2f}"
    )


def main(arguments: argparse.Namespace) -> int:
    return present(measure, arguments.json)


if __name__ == "__main__":
    sys.exit(main(parser(__doc__).parse_args()))
