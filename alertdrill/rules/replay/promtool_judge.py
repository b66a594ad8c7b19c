"""Judge B: the same history as a promtool unit test, whose expectations are judge A's timelines.

promtool runs Prometheus' own rule manager, so it shares neither the way in (its series notation)
nor the state machine with judge A; what both say is what the rules do. It evaluates at 0, one
interval, two intervals, …: that is the phase at the scrape. Every evaluation is a test of the
states of all alerts, so nothing between two of them is left out.

It stops at 10,000 samples per query and is slow on long histories, so it is given half a day of
a longer one, around the begin of the fault (``part``). Judge A judges that part as well, and the
two are compared on it.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from promql_parser import SubqueryExpr

from alertdrill.errors import AlertdrillError
from alertdrill.rules import promql
from alertdrill.rules.durations import format_ms
from alertdrill.rules.promtool import Promtool, run_in_batches
from alertdrill.rules.replay.model import AlertTimeline, History, LabelSet, State, Values
from alertdrill.rules.replay.ruleset import RuleSet, ordered_groups
from alertdrill.rules.replay.targets import metric_name

# Half a day at 15 s: far from promtool's limit, and judged within a second or two.
MAX_SLOTS = 2_880

# What is active at one evaluation: labels (without alertname) and state, by alert.
Active = frozenset[tuple[str, LabelSet, State]]


@dataclass(frozen=True)
class Case:
    """One history and the alerts that are compared on it; all are evaluated every
    ``interval_s`` seconds."""

    name: str
    history: History
    alerts: tuple[str, ...]
    interval_s: float

    @property
    def evaluations(self) -> int:
        return -(-round(self.history.duration_s * 1000) // self.step_ms)

    @property
    def step_ms(self) -> int:
        return round(self.interval_s * 1000)


@dataclass(frozen=True)
class Disagreement:
    """One evaluation at which the two judges differ."""

    at_s: float
    ours: Active
    promtool: Active


@dataclass(frozen=True)
class Checked:
    """What promtool said of a case: where it differs, and rules that it could not evaluate."""

    case: str
    disagreements: tuple[Disagreement, ...]
    errors: tuple[str, ...]


def cases(name: str, history: History, rules: RuleSet, alerts: Collection[str]) -> list[Case]:
    """``alerts`` in one case per interval; one that promtool can't be asked about is in none.

    promtool evaluates all groups at one interval, which is also the step of subqueries that name
    none, so a recording of another interval and such a subquery are beyond it.
    """
    found: dict[float, list[str]] = {}
    for alert in alerts:
        interval_s = _interval_s(rules, alert)
        if interval_s is not None:
            found.setdefault(interval_s, []).append(alert)
    return [
        Case(f"{name} every {interval_s:g} s", history, tuple(names), interval_s)
        for interval_s, names in found.items()
    ]


def part(history: History, around_s: float = 0.0) -> History:
    """At most MAX_SLOTS scrapes of ``history``, a quarter of them before ``around_s``."""
    begin = max(0, round(around_s / history.interval_s) - MAX_SLOTS // 4)
    if history.slots <= MAX_SLOTS:
        return history
    begin = min(begin, history.slots - MAX_SLOTS)
    kept = {labels: values[begin : begin + MAX_SLOTS] for labels, values in history.series.items()}
    return replace(history, series=kept)


def _interval_s(rules: RuleSet, alert: str) -> float | None:
    """The one interval of ``alert`` and all that it reads; None where promtool can't follow."""
    chain = [one for rule, _ in rules.alerts[alert] for one in rules.chain(rule)]
    every = {id(rule): interval_s for rule, interval_s in rules.rules}
    intervals = {every[id(rule)] for rule in chain}
    if len(intervals) != 1:
        return None
    (interval_s,) = intervals
    nodes = [node for rule in chain for node in promql.walk(promql.parse(rule.expr))]
    stepless = any(isinstance(n, SubqueryExpr) and n.step is None for n in nodes)
    return None if stepless and interval_s != rules.evaluation_interval_s else interval_s


def check(
    promtool: Promtool,
    rules: RuleSet,
    cases: Sequence[tuple[Case, Mapping[str, AlertTimeline]]],
    *,
    workers: int = 1,
) -> list[Checked]:
    """Let promtool judge every case, and compare with the timelines given beside it.

    Raises AlertdrillError when promtool can't be run or says something else than expected.
    """
    with tempfile.TemporaryDirectory(prefix="alertdrill-replay-") as folder:
        files = []
        for number, (case, timelines) in enumerate(cases):
            file = Path(folder) / f"{number}.test.yml"
            # JSON is YAML too.
            file.write_text(json.dumps(_document(case, timelines, rules)), encoding="utf-8")
            files.append(file)
        results = run_in_batches(promtool, files, workers)
    found = []
    for result, (case, timelines) in zip(results, cases, strict=True):
        if result.error is not None:
            raise AlertdrillError(f"promtool could not judge {case.name}: {result.error}")
        said = [words for one in result.cases for words in one.failures]
        found.append(_checked(case, timelines, said))
    return found


def _document(
    case: Case, timelines: Mapping[str, AlertTimeline], rules: RuleSet
) -> dict[str, object]:
    query = _query(case)
    series = rules.without_recorded(case.history.series)
    wanted = rules.metrics_of(case.alerts)
    return {
        "rule_files": [str(file.path.resolve()) for file in rules.files],
        "evaluation_interval": format_ms(case.step_ms),
        "group_eval_order": ordered_groups(rules.files),
        "tests": [
            {
                "name": case.name,
                "interval": format_ms(round(case.history.interval_s * 1000)),
                "external_labels": dict(rules.external_labels),
                "input_series": [
                    {"series": selector(labels), "values": notation(case.history.series[labels])}
                    for labels in series
                    if wanted is None or metric_name(labels) in wanted
                ],
                "promql_expr_test": [
                    {
                        "expr": query,
                        "eval_time": format_ms(index * case.step_ms),
                        "exp_samples": [_sample(*one) for one in sorted(active)],
                    }
                    for index, active in enumerate(_expected(case, timelines))
                ],
            }
        ],
    }


def _query(case: Case) -> str:
    names = "|".join(re.escape(name) for name in case.alerts)
    return f"ALERTS{{alertname=~{json.dumps(names, ensure_ascii=False)}}}"


def _expected(case: Case, timelines: Mapping[str, AlertTimeline]) -> list[Active]:
    """What is active at each evaluation, by judge A."""
    found: list[set[tuple[str, LabelSet, State]]] = [set() for _ in range(case.evaluations)]
    for alert in case.alerts:
        for labels, spans in timelines[alert].spans.items():
            for span in spans:
                start, end = (round(t * 1000) // case.step_ms for t in (span.start_s, span.end_s))
                for index in range(start, end):
                    found[index].add((alert, labels, span.state))
    return [frozenset(active) for active in found]


def _sample(alert: str, labels: LabelSet, state: State) -> dict[str, object]:
    names = (("__name__", "ALERTS"), ("alertname", alert), ("alertstate", state.value))
    return {"labels": selector((*names, *labels)), "value": 1}


def selector(labels: LabelSet) -> str:
    """A series in PromQL's own words: ``up{job="a"}``."""
    pairs = ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}"
        for name, value in labels
        if name != "__name__"
    )
    return f"{metric_name(labels)}{{{pairs}}}"


def notation(values: Values) -> str:
    """``values`` as promtool reads them; a gap begins with a stale marker, as in judge A.

    Runs are shortened only where promtool's repeated addition gives the very same numbers.
    """
    return " ".join(_words(values))


def _words(values: Values) -> Iterator[str]:
    absent = np.isnan(values)
    # A run of equal differences between whole numbers below 2^53 is exact.
    whole = ~absent & (np.abs(np.where(absent, 0, values)) < 2**53)
    whole &= np.where(whole, values, 0.5) % 1 == 0
    place, count = 0, len(values)
    # Steps into and out of holes are never used.
    steps = np.diff(np.where(whole, values, 0))
    # How far each run of equal steps goes: the next place at which the step changes.
    changes = np.flatnonzero(np.diff(steps)) + 1 if count > 2 else np.array([], np.int64)
    ends = np.append(changes, max(count - 1, 0))
    holes = np.append(np.flatnonzero(~whole), count)
    while place < count:
        if absent[place]:
            yield "stale" if place and not absent[place - 1] else "_"
            place += 1
            continue
        last = place
        if whole[place]:
            limit = int(holes[np.searchsorted(holes, place)]) - 1
            last = (
                min(int(ends[np.searchsorted(ends, place, side="right")]), limit)
                if (place < count - 1)
                else place
            )
        if last - place < 2:
            yield _number(float(values[place]))
            place += 1
            continue
        step = int(steps[place])
        sign = "-" if step < 0 else "+"
        yield f"{int(values[place])}{sign}{abs(step)}x{last - place}"
        place = last + 1


def _number(value: float) -> str:
    if np.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


_FAILED = re.compile(
    r"expr: .*?, time: (?P<time>[^,\s]+),\s*\n\s*exp: ?(?P<exp>.*)\n\s*got: ?(?P<got>.*)"
)
_ERROR = re.compile(r"rule: (?P<rule>.*?), time: (?P<time>[^,\s]+), err: (?P<error>.*)")
_LABELS = re.compile(r'\{((?:[^"}]|"(?:\\.|[^"\\])*")*)\}')
_PAIR = re.compile(r'([A-Za-z_]\w*)=("(?:\\.|[^"\\])*")')


def _checked(case: Case, timelines: Mapping[str, AlertTimeline], said: Sequence[str]) -> Checked:
    ours = _expected(case, timelines)
    disagreements = []
    errors = []
    understood = False
    for text in said:
        for match in _FAILED.finditer(text):
            understood = True
            at_s = _seconds(match["time"])
            got = _active(match["got"])
            index = round(at_s * 1000) // case.step_ms
            disagreements.append(Disagreement(at_s, ours[index], got))
        for match in _ERROR.finditer(text):
            understood = True
            if match["rule"] in case.alerts:
                errors.append(f"{match['rule']} at {match['time']}: {match['error']}")
    if said and not understood:
        raise AlertdrillError(f"promtool failed in words that are not known: {said[0][:300]}")
    return Checked(case.name, tuple(disagreements), tuple(errors))


def _seconds(text: str) -> float:
    """A duration as Go and Prometheus print it, e.g. ``1h0m7.5s``."""
    units = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    parts = re.findall(r"([\d.]+)(ms|[dhms])", text)
    return sum(float(number) * units[unit] for number, unit in parts)


def _active(text: str) -> Active:
    found = set()
    for match in _LABELS.finditer(text):
        labels = {name: str(json.loads(value)) for name, value in _PAIR.findall(match[1])}
        alert = labels.pop("alertname")
        state = State(labels.pop("alertstate"))
        labels.pop("__name__", None)
        found.add((alert, tuple(sorted(labels.items())), state))
    return frozenset(found)
