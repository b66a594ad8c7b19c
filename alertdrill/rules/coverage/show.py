"""A coverage judgement for people and for machines."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alertdrill.rules.coverage.incident import Incident, Seen, State
from alertdrill.rules.coverage.judge import Judgement
from alertdrill.rules.coverage.matrix import Matrix
from alertdrill.verdict import Verdict

SCHEMA = 1

_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.UNKNOWN: "yellow"}
_FIRED = {"live": "L", "replay": "R"}
_OTHER = {State.QUIET: "·", State.UNKNOWN: "?"}
_LEGEND = "L fired live   R fired in its replay   · quiet   ? not judged"
_SIGNS = "! had to stay quiet   x had to fire   ≠ live and replay differ"
# Wider tables are printed in parts.
_COLUMNS = 20


def document(judgement: Judgement) -> dict[str, Any]:
    """What ``--format json`` prints."""
    matrix = judgement.matrix
    live, replayed = matrix.live, matrix.replayed
    return {
        "schema": SCHEMA,
        "verdict": judgement.verdict.word,
        "live": None if live is None else str(live.path),
        "virtual": None if replayed is None else str(replayed.path),
        "alerts": {name: list(faults) for name, faults in judgement.fired_by.items()},
        "faults": {name: list(alerts) for name, alerts in judgement.noticed_by.items()},
        "findings": [finding.document() for finding in judgement.findings],
        "cells": [
            {
                "incident": incident.id,
                "fault": incident.fault,
                "alert": alert,
                "live": _cell(incident.live.get(alert)),
                "virtual": _cell(incident.virtual.get(alert)),
                "differs": bool(matrix.differs(incident, alert)),
            }
            for incident in matrix.incidents
            for alert in matrix.alerts
        ],
    }


def _cell(seen: Seen | None) -> dict[str, str] | None:
    if seen is None:
        return None
    return {"expected": seen.expected, "state": seen.state.value, "why": seen.why}


def show(judgement: Judgement, console: Console) -> None:
    """The matrix, its columns by name, what is wrong or unknown, and the sum."""
    matrix = judgement.matrix
    live, replayed = matrix.live, matrix.replayed
    if live is not None:
        drills = _plural(len(live.incidents), "drill")
        _print(console, f"live    {live.path}: {live.verdict}, {drills}")
    if replayed is not None:
        faults = _plural(len(replayed.segments), "segment")
        _print(console, f"replay  {replayed.path}: {replayed.verdict}, {faults}")
    numbered = list(enumerate(matrix.incidents, 1))
    for begin in range(0, len(numbered), _COLUMNS):
        _show_matrix(matrix, numbered[begin : begin + _COLUMNS], console)
    _print(console, f"\n{_LEGEND}\n{_SIGNS}\n")
    for finding in judgement.findings:
        subject = finding.alert or finding.fault
        words = finding.message if subject is None else f"{subject}: {finding.message}"
        if finding.alert is not None and finding.fault is not None:
            words = f"{finding.alert} under {finding.fault}: {finding.message}"
        accepted = finding.verdict is Verdict.PASS
        word = "said" if accepted else _word(finding.verdict)
        console.print(f"{word}  {escape(words)}", highlight=False, soft_wrap=True)
    fired = sum(bool(faults) for faults in judgement.fired_by.values())
    noticed = sum(bool(alerts) for alerts in judgement.noticed_by.values())
    parts = [
        f"{fired} of {_plural(len(judgement.fired_by), 'alert')} fired",
        f"{noticed} of {_plural(len(judgement.noticed_by), 'fault')} noticed",
    ]
    if matrix.compared:
        agreeing = sum(one.verdict is Verdict.PASS for one in matrix.compared)
        parts.append(f"live and replay agree on {agreeing} of {len(matrix.compared)}")
    console.print(f"verdict: {_word(judgement.verdict)} ({', '.join(parts)})", highlight=False)


def _show_matrix(matrix: Matrix, incidents: list[tuple[int, Incident]], console: Console) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for number, _ in incidents:
        table.add_column(str(number), no_wrap=True)
    for alert in matrix.alerts:
        table.add_row(escape(alert), *(_marks(matrix, one, alert) for _, one in incidents))
    console.print()
    console.print(table)
    console.print()
    for number, incident in incidents:
        control = " (nothing is broken)" if incident.is_control else ""
        drill = "" if incident.id == incident.fault else f"  {incident.id}"
        _print(console, f"{number:>2}  {incident.fault}{control}{drill}")


def _marks(matrix: Matrix, incident: Incident, alert: str) -> str:
    sights = incident.sights(alert)
    marks = "".join(
        _FIRED[where] if seen.fired else _OTHER[seen.state] for where, seen in sights.items()
    )
    wrong = any(seen.is_wrong for seen in sights.values())
    missed = any(seen.is_missed for seen in sights.values())
    differs = bool(matrix.differs(incident, alert))
    signs = "!" * wrong + "x" * missed + "≠" * differs
    style = "red" if wrong or missed else "yellow" if differs or "?" in marks else ""
    return f"[{style}]{marks}{signs}[/]" if style else marks


def _print(console: Console, text: str) -> None:
    console.print(escape(text), highlight=False, soft_wrap=True)


def _word(verdict: Verdict) -> str:
    return f"[{_STYLES[verdict]}]{verdict.word}[/]"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
