"""What the terminal says of a drill: in a line when it passed, and what was seen when not."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from alertdrill.report.terminal import TITLE_WIDTH, drill_lines, print_unfolded, summary_lines

TIMES = ("pending_s", "firing_s", "inhibited_s", "notified_s", "resolved_s")


def alert(name: str, expected: str, **times: float) -> dict[str, Any]:
    empty = dict.fromkeys((*TIMES, "deadline_s"))
    return {"name": name, "expected": expected, **empty, **times}


def drill(verdict: str, *messages: str, heal_s: float | None = 9.0) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "title": "the disk is slow",
        "findings": [{"message": message} for message in messages],
        "heal_s": heal_s,
        "alerts": [
            alert("Slow", "fires", pending_s=1.0),
            alert("Late", "fires", deadline_s=8.0),
            alert("Down", "quiet", firing_s=3.0, notified_s=3.5, deadline_s=7.0, resolved_s=11.5),
        ],
    }


def test_a_failing_drill_shows_what_was_seen_beside_its_findings() -> None:
    lines = drill_lines(drill("fail", "Slow stayed pending", "Down fired"))
    assert lines[0].split("  ")[1:3] == ["fail", "the disk is slow"]
    assert [line[TITLE_WIDTH + 10 :] for line in lines[:2]] == ["Slow stayed pending", "Down fired"]
    seen = [" ".join(line.split()) for line in lines[2:]]
    assert seen == [
        "seen: Slow pending 1.0",
        "seen: Down firing 3.0 notified 3.5 (≤ 7.0) resolved +2.5",
    ], "and nothing of the alert that did nothing"


def test_a_passing_drill_shows_only_what_had_to_fire() -> None:
    assert not any("Down" in line for line in drill_lines(drill("pass")))


def test_a_drill_that_never_healed_can_be_told() -> None:
    lines = drill_lines(drill("unknown", "the stack broke", heal_s=None))
    assert lines[-1].endswith("resolved 11.5")


def test_the_report_is_named_when_there_is_one(tmp_path: Path) -> None:
    document = {
        **{"drills": [], "errors": [], "checks": [], "not_verified": []},
        **{"wall_s": 1.0, "verdict": "unknown", "interrupted": False},
    }
    assert not any(line.startswith("report") for line in summary_lines(document, tmp_path))
    (tmp_path / "report.html").touch()
    assert summary_lines(document, tmp_path)[-1] == f"report: {tmp_path}/report.html"


def test_a_table_is_not_folded_in_a_narrow_window() -> None:
    address = "http://127.0.0.1:12345/" + "path/" * 20
    table = Table("component", "where", box=None)
    table.add_row("hub", address)
    stream = io.StringIO()
    print_unfolded(Console(file=stream, width=30), table)
    assert stream.getvalue().splitlines()[1].split() == ["hub", address]
