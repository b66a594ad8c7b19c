"""Which rules can be judged on tiled histories, and which would only seem to be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import promql_parser

from alertdrill.rules import promql
from alertdrill.rules.model import RecordingRule
from alertdrill.rules.replay.model import History
from alertdrill.rules.replay.ruleset import Rule, RuleSet
from alertdrill.rules.replay.targets import metric_name


class Why(StrEnum):
    """Why an alert could not be judged, for machines."""

    NOT_UNDERSTOOD = "not_understood"
    BROKEN_SEGMENT = "broken_segment"
    UNSOUND_ON_TILES = "unsound_on_tiles"
    TEMPLATED_LABEL = "templated_label"
    EVALUATION_FAILS = "evaluation_fails"
    RECORDING_ORDER = "recording_order"
    JUDGES_DISAGREE = "judges_disagree"
    NOT_CROSS_CHECKED = "not_cross_checked"
    NO_DATA = "no_data"


@dataclass(frozen=True)
class Unjudged:
    """Nothing can be said of an alert: why, for machines and for people."""

    why: Why
    message: str


_SLOPES = {"predict_linear", "deriv", "holt_winters", "double_exponential_smoothing"}
_STEPS = {"delta", "idelta", "changes", "resets"}
_CLOCK = {"time", "timestamp"}
_CALENDAR = {
    "minute",
    "hour",
    "day_of_week",
    "day_of_month",
    "day_of_year",
    "days_in_month",
    "month",
    "year",
}
_REASONS = (
    (_SLOPES, "{}() draws a line through the seams between tiles"),
    (_STEPS, "{}() counts the steps at the seams between tiles"),
    (_CLOCK, "{}() is the time of the replay, not of the recording"),
    (_CALENDAR, "{}() is the calendar of the replay, not of the recording"),
)


def unjudged(rules: RuleSet, rule: Rule) -> Unjudged | None:
    """Why ``rule`` can't be judged by replay, None where it can. Its recordings count as well."""
    chain = rules.chain(rule)
    for one in chain:
        for name in sorted(rules.unread_recordings):
            if {name, None} & rules.reads(one):
                words = f"its recording {name} is in PromQL that is not understood here"
                return Unjudged(Why.NOT_UNDERSTOOD, words)
        for reason in _unsound(promql.parse(one.expr)):
            where = "" if one is rule else f"its recording {one.name}: "
            return Unjudged(Why.UNSOUND_ON_TILES, where + reason)
    order = [other for other, _ in rules.rules]
    for one in chain:
        for read in rules.recordings_of(one):
            if not _before(order, read, one) and read.name in rules.reads(one) | {None}:
                return Unjudged(
                    Why.RECORDING_ORDER,
                    f"{one.name} reads {read.name}, which is recorded only after it",
                )
    return None


def unread(rules: RuleSet, alert: str, history: History) -> Unjudged | None:
    """Why the silence of ``alert`` proves nothing on ``history``: it reads metrics of which
    there is not one series. None where all are there; ``absent`` may ask for what isn't."""
    there = {metric_name(labels) for labels in history.series} | rules.recorded
    missing = {
        name
        for rule, _ in rules.alerts[alert]
        for one in rules.chain(rule)
        for name in _read(promql.parse(one.expr))
        if name not in there
    }
    if not missing:
        return None
    words = f"no series of {', '.join(sorted(missing))} was recorded"
    return Unjudged(Why.NO_DATA, words)


def _read(tree: promql_parser.Expr) -> Iterator[str]:
    if isinstance(tree, promql_parser.Call) and tree.func.name.startswith("absent"):
        return
    if isinstance(tree, promql_parser.VectorSelector):
        name = promql.metric_name(tree)
        if name is not None:
            yield name
    for child in promql.children(tree):
        yield from _read(child)


def _before(order: list[Rule], read: RecordingRule, reader: Rule) -> bool:
    places = {id(rule): place for place, rule in enumerate(order)}
    return places[id(read)] < places[id(reader)]


def _unsound(tree: promql_parser.Expr) -> Iterator[str]:
    for node in promql.walk(tree):
        if isinstance(node, promql_parser.Call):
            for names, words in _REASONS:
                if node.func.name in names:
                    yield words.format(node.func.name)
        if isinstance(node, promql_parser.VectorSelector | promql_parser.SubqueryExpr):
            if node.at is not None:
                yield "@ fixes a time, which a history does not have"
            if promql.as_ms(node.offset) < 0:
                yield "a negative offset looks into the future"
        if isinstance(node, promql_parser.VectorSelector) and promql.metric_name(node) in (
            "ALERTS",
            "ALERTS_FOR_STATE",
        ):
            yield "it reads the state of other alerts"
