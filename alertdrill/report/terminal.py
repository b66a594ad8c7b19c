"""What a person wants to know of a drill, in a line; of a run, in four; and tables to copy from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

WORDS = {"pass": "pass", "fail": "fail", "unknown": "unkn"}
# In this order they happen; an alert that is inhibited is not notified.
STATES = ("pending", "firing", "inhibited", "notified")
TITLE_WIDTH = 49
UNFOLDED_WIDTH = 1_000
ALERT_WIDTH = 31
LONGEST_LIST = 15


def drill_lines(drill: Mapping[str, Any]) -> list[str]:
    """A line per alert that had to fire; or a line per finding, then one per alert that was seen
    to do anything, for whoever asks what happened instead."""
    head = f"  {WORDS[drill['verdict']]}  {drill['title']:<{TITLE_WIDTH}}  "
    if drill["findings"]:
        rows = [_alert_words(alert, drill["heal_s"]) for alert in drill["alerts"] if _moved(alert)]
        details = [finding["message"] for finding in drill["findings"]]
        details += [f"seen: {row}" for row in rows]
    else:
        details = [
            _alert_words(alert, drill["heal_s"])
            for alert in drill["alerts"]
            if alert["expected"] in ("fires", "inhibited")
        ] or [f"nothing fired in {drill['heal_s']:.1f} s under load"]
    indent = " " * len(head)
    return [(head if n == 0 else indent) + text for n, text in enumerate(details)]


def _moved(alert: Mapping[str, Any]) -> bool:
    return any(alert[f"{state}_s"] is not None for state in (*STATES, "resolved"))


def _alert_words(alert: Mapping[str, Any], heal_s: float | None) -> str:
    # A rule without `for`, or a very fast clock: then nobody saw it pending.
    words = [
        f"{state} {alert[f'{state}_s']:.1f}" for state in STATES if alert[f"{state}_s"] is not None
    ]
    if alert["notified_s"] is not None and alert["deadline_s"] is not None:
        words[-1] += f" (≤ {alert['deadline_s']:.1f})"
    if alert["resolved_s"] is not None:
        words.append(
            f"resolved {alert['resolved_s']:.1f}"
            if heal_s is None
            else f"resolved {alert['resolved_s'] - heal_s:+.1f}"
        )
    return "  ".join([f"{alert['name']:<{ALERT_WIDTH}}", *words])


def summary_lines(document: Mapping[str, Any], folder: Path) -> list[str]:
    """The verdict, what could not be verified, and where to look."""
    counts = Counter(drill["verdict"] for drill in document["drills"])
    parts = ", ".join(f"{counts[word]} {word}" for word in WORDS if counts[word])
    minutes, seconds = divmod(document["wall_s"], 60)
    took = f"{minutes:.0f} min {seconds:.0f} s" if minutes else f"{seconds:.1f} s"
    lines = [f"verdict: {document['verdict']} ({parts or 'no drill ran'}) in {took}"]
    lines += [f"error: {message}" for message in document["errors"]]
    if document["interrupted"]:
        lines.append("interrupted: not every drill ran to its end")
    for reason, words in (
        ("test_failed", "failed tests"),
        ("never_drilled", "failed, for no drill expects it and alertdrill.toml does not say why"),
        ("not_covered", "unknown, for no drill that passed expects it"),
        ("deselected", "unknown, for this run was asked to leave it out"),
    ):
        found = [check["id"] for check in document["checks"] if check["reason"] == reason]
        if found and document["drills"]:
            more = f" and {len(found) - LONGEST_LIST} more" if len(found) > LONGEST_LIST else ""
            lines.append(f"{words}: {', '.join(found[:LONGEST_LIST])}{more}")
    if document["not_verified"]:
        lines.append("not verified:")
        lines += [f"  {row['what']}: {row['why']}" for row in document["not_verified"]]
    here = Path.cwd()
    shown = folder.relative_to(here) if folder.is_relative_to(here) else folder
    lines.append(f"verdict document: {shown}/verdict.json")
    if (folder / "report.html").exists():
        lines.append(f"report: {shown}/report.html")
    return lines


def print_unfolded(console: Console, table: Table) -> None:
    """Print ``table`` as wide as it is: what a cell holds (an image's name, an address) is there
    to be copied, so it isn't folded at the window's edge."""
    unbounded = console.options.update(width=UNFOLDED_WIDTH)
    table.width = Measurement.get(console, unbounded, table).maximum
    console.print(table, crop=False, no_wrap=True, overflow="ignore")
