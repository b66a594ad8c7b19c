"""A run's verdict.json and a replay's output, sound in every way, for tests to break."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alertdrill.rules.replay.answers import Answer
from alertdrill.verdict import Verdict

ALERTS = ("Errors", "Down")


def row(name: str, expected: str = "fires", firing_s: float | None = 3.0) -> dict[str, Any]:
    notified_s = None if firing_s is None or expected == "inhibited" else firing_s + 0.5
    return {"name": name, "expected": expected, "firing_s": firing_s, "notified_s": notified_s}


def drill(identifier: str, fault: str | None, *rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": identifier,
        "fault": fault,
        "verdict": "pass",
        "findings": [],
        "alerts": list(rows),
        "heal_s": 20.0,
        **more,
    }


def sound_drills() -> list[dict[str, Any]]:
    """A control, and a fault for each alert."""
    return [
        drill("no-fault", "nothing"),
        drill("refuses", "refuse(db)", row("Errors"), row("Down", "quiet", None)),
        drill("killed", "kill(hub)", row("Down"), row("Errors", "inhibited")),
    ]


def run_document(
    drills: Iterable[dict[str, Any]], *, whole: bool = True, alerts: Iterable[str] = ALERTS
) -> dict[str, Any]:
    return {
        "schema": "alertdrill/verdict/1",
        "verdict": "pass",
        "clock": {"mode": "compressed", "factor": 60.0},
        "drills": list(drills),
        "coverage": {"whole": whole, "alerts": {name: [] for name in alerts}},
    }


def answer(alert: str, segment: str, expected: str = "quiet", **more: Any) -> Answer:
    fires = expected == "fires"
    facts: dict[str, Any] = {
        "duration_s": 1800.0,
        "verdict": Verdict.PASS,
        "fires_after_s": 180.0 if fires else None,
        "resolves_after_s": 60.0 if fires else None,
        **more,
    }
    return Answer(alert=alert, segment=segment, expected=expected, **facts)


def sound_answers() -> list[Answer]:
    """The replay of ``sound_drills``; by the fault's name and by the drill's."""
    return [
        *(answer(name, "healthy") for name in ALERTS),
        answer("Errors", "refuse(db)", "fires"),
        answer("Down", "refuse(db)"),
        answer("Errors", "refuse(db)", blip=True),
        answer("Errors", "killed", "fires"),
        answer("Down", "killed", "fires"),
    ]


def replay_document(answers: Iterable[Answer]) -> dict[str, Any]:
    return {
        "schema": 1,
        "verdict": "pass",
        "answers": [one.document() for one in answers],
        "live": [],
        "complaints": [],
    }


def written(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path
