"""The report for people and for machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from alertdrill.rules.durations import format_ms
from alertdrill.rules.routing.experiment import Delivery, route_to
from alertdrill.rules.routing.finding import few
from alertdrill.rules.routing.firing import Firing
from alertdrill.rules.routing.judge import Judged
from alertdrill.rules.routing.recorder import Identity, identity
from alertdrill.rules.routing.rewrite import repeat_real_s
from alertdrill.rules.routing.run import Report

SCHEMA = 1
_WORDS = {"pass": "pass", "fail": "fail", "unknown": "unkn"}
_HEAD = ("", "alert", "receiver", "group_by", "first", "repeated", "resolved")


def text(report: Report) -> str:
    """One row per alert and receiver, below it what else is to be known of the alert."""
    names = _names(report.alerts)
    rows: list[tuple[str, ...]] = [_HEAD]
    below: list[list[str]] = [[]]
    for judged in report.alerts:
        own = list(_rows(report, judged)) or [("nobody", "", "", "", "")]
        for number, cells in enumerate(own):
            word = _WORDS[judged.verdict.word] if number == 0 else ""
            rows.append((word, judged.firing.rule.name if number == 0 else "", *cells))
            below.append([])
        below[-1] = list(_details(judged, names))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        f"{_count(report.alerts)} put to Alertmanager {report.version}, clock "
        f"{report.setup.clock}; times: seen here (on the real clock)",
        "",
    ]
    for cells, details in zip(rows, below, strict=True):
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        lines.append(f"  {line}".rstrip())
        lines.extend(f"        {detail}" for detail in details)
    lines.append("")
    lines.extend(f"{finding.level}: {finding.message}" for finding in report.findings)
    lines.extend(f"note: {note}" for note in report.notes)
    lines.extend(f"replaced: {words}" for words in report.setup.replaced)
    if any(judged.firing.placeholders for judged in report.alerts):
        lines.append("values that the rules don't say are written <label>; $value is 1")
    if report.untried:
        lines.append(
            f"note: {report.untried} pairs of alerts are said to inhibit by the file alone: too "
            "many to try"
        )
    counts = Counter(judged.verdict.word for judged in report.alerts)
    parts = ", ".join(f"{counts[word]} {word}" for word in _WORDS if counts[word])
    lines.append(f"verdict: {report.verdict.word} ({parts})")
    return "\n".join(lines)


def _count(alerts: Sequence[Judged]) -> str:
    rules = len({id(judged.firing.rule) for judged in alerts})
    sets = f" with {len(alerts)} label sets" if len(alerts) > rules else ""
    return f"{rules} alert{'s' if rules > 1 else ''}{sets}"


def _names(alerts: Sequence[Judged]) -> dict[Identity, str]:
    return {identity(judged.firing.labels): judged.firing.rule.name for judged in alerts}


def _rows(report: Report, judged: Judged) -> Iterator[tuple[str, ...]]:
    for delivery in judged.deliveries:
        real = _real(report, judged.firing, delivery)
        kinds = report.config.receiver(delivery.receiver).kinds
        yield (
            delivery.receiver if kinds else f"{delivery.receiver} (tells nobody)",
            ", ".join(real["group_by"]) or "nothing",
            _time(delivery.first_s, real["first_s"]),
            _time(delivery.repeat_s, real["repeat_s"]),
            _time(delivery.resolved_s, real["resolved_s"], "≤ "),
        )


def _time(seen_s: float | None, real_s: float | None, bound: str = "") -> str:
    if seen_s is None:
        return "never"
    real = "" if real_s is None else f" ({bound}{format_ms(round(real_s * 1000))})"
    return f"{seen_s:.2f} s{real}"


def _real(report: Report, firing: Firing, delivery: Delivery) -> dict[str, Any]:
    """What the file promises on the real clock, for the route that the alert took."""
    route = route_to(report.config, firing.labels, delivery.receiver)
    if route is None:
        return {"group_by": [], "first_s": None, "repeat_s": None, "resolved_s": None}
    return {
        "group_by": list(route.group_by),
        "first_s": route.group_wait_s,
        "repeat_s": repeat_real_s(route),
        "resolved_s": route.group_interval_s,
    }


def _details(judged: Judged, names: dict[Identity, str]) -> Iterator[str]:
    labels = ", ".join(f'{k}="{v}"' for k, v in sorted(judged.firing.labels.items()))
    yield f"{{{labels}}}"
    for delivery in judged.deliveries:
        others = _others(judged, delivery, names)
        if others:
            yield f"grouped with {few(others)}"
    if judged.inhibited_by:
        yield f"inhibited by {few(judged.inhibited_by)}"
    for finding in judged.findings:
        yield f"{finding.level}: {finding.message}"


def _others(judged: Judged, delivery: Delivery, names: dict[Identity, str]) -> list[str]:
    found = {names.get(who, "?") for who in delivery.grouped_with}
    return sorted(found - {judged.firing.rule.name})


def document(report: Report) -> dict[str, Any]:
    """The same for machines; times in seconds, ``null`` for what never came."""
    names = _names(report.alerts)
    clock = report.setup.clock
    return {
        "schema": SCHEMA,
        "verdict": report.verdict.word,
        "alertmanager": {"version": report.version, "config": str(report.config.path)},
        "clock": {"factor": clock.wait_factor, "repeat_factor": clock.repeat_factor},
        "alerts": [_alert(report, judged, names) for judged in report.alerts],
        "findings": [finding.document() for finding in report.findings],
        "notes": list(report.notes),
        "replaced": list(report.setup.replaced),
        "inhibitions_untried": report.untried,
    }


def _alert(report: Report, judged: Judged, names: dict[Identity, str]) -> dict[str, Any]:
    firing = judged.firing
    return {
        "name": firing.rule.name,
        "file": str(firing.rule.file),
        "line": firing.rule.line,
        "verdict": judged.verdict.word,
        "labels": dict(sorted(firing.labels.items())),
        "annotations": dict(firing.annotations),
        "placeholders": sorted(firing.placeholders),
        "inhibited_by": list(judged.inhibited_by),
        "deliveries": [
            {
                "receiver": delivery.receiver,
                "group_labels": dict(delivery.group_labels),
                "grouped_with": _others(judged, delivery, names),
                "first_s": delivery.first_s,
                "repeat_s": delivery.repeat_s,
                "resolved_s": delivery.resolved_s,
                "real": _real(report, firing, delivery),
            }
            for delivery in judged.deliveries
        ],
        "findings": [finding.document() for finding in judged.findings],
    }
