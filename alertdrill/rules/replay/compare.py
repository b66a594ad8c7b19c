"""Whether two judges, or a live drill and its replay, say the same."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from alertdrill.rules.replay.model import AlertTimeline, LabelSet, Span, State
from alertdrill.rules.replay.promtool_judge import Case, Checked
from alertdrill.rules.replay.soundness import Unjudged, Why


def compare(
    case: Case, timelines: Mapping[str, AlertTimeline], checked: Checked
) -> Mapping[str, Unjudged]:
    """The alerts of ``case`` on which promtool differs from ``timelines``, with both shown."""
    found: dict[str, Unjudged] = {}
    for alert in case.alerts:
        ours = timelines[alert]
        theirs = promtool_timeline(case, ours, checked)
        if theirs.spans != ours.spans:
            found[alert] = Unjudged(
                Why.JUDGES_DISAGREE,
                f"backfill says {words(ours)}; promtool says {words(theirs)}",
            )
    for error in checked.errors:
        alert = error.partition(" at ")[0]
        found[alert] = Unjudged(Why.EVALUATION_FAILS, f"promtool: {error}")
    return MappingProxyType(found)


def promtool_timeline(case: Case, ours: AlertTimeline, checked: Checked) -> AlertTimeline:
    """What promtool saw of one alert: ``ours``, except where it said otherwise."""
    states: dict[LabelSet, dict[int, State]] = {}
    for labels, spans in ours.spans.items():
        for span in spans:
            start, end = (round(t * 1000) // case.step_ms for t in (span.start_s, span.end_s))
            states.setdefault(labels, {}).update(dict.fromkeys(range(start, end), span.state))
    for difference in checked.disagreements:
        index = round(difference.at_s * 1000) // case.step_ms
        for by_index in states.values():
            by_index.pop(index, None)
        for alert, labels, state in difference.promtool:
            if alert == ours.alert:
                states.setdefault(labels, {})[index] = state
    spans_of = {
        labels: _spans(by_index, case.step_ms / 1000)
        for labels, by_index in sorted(states.items())
        if by_index
    }
    return AlertTimeline(ours.alert, 0.0, case.step_ms / 1000, MappingProxyType(spans_of))


def _spans(states: Mapping[int, State], step_s: float) -> tuple[Span, ...]:
    found: list[Span] = []
    for index, state in sorted(states.items()):
        start_s, end_s = index * step_s, (index + 1) * step_s
        if found and found[-1].state is state and found[-1].end_s == start_s:
            start_s = found.pop().start_s
        found.append(Span(state, start_s, end_s))
    return tuple(found)


_SHOWN = 6


def words(timeline: AlertTimeline) -> str:
    """A timeline for people, e.g. ``pending 30-330, firing 330-1200 s``."""
    parts = []
    for labels, spans in timeline.spans.items():
        shown = ", ".join(f"{s.state} {s.start_s:g}-{s.end_s:g}" for s in spans[:_SHOWN])
        more = f" and {len(spans) - _SHOWN} more" if len(spans) > _SHOWN else ""
        where = "{" + ", ".join(f"{name}={value}" for name, value in labels) + "}"
        parts.append(f"{shown}{more} s {where}")
    return "; ".join(parts) or "inactive throughout"
