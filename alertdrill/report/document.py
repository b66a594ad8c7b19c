"""``verdict.json``: the whole run in one document, for machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alertdrill.report.folder import RunFolder
from alertdrill.verdict import Reason, Verdict

SCHEMA = "alertdrill/verdict/1"


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run beside what its drills and stacks wrote."""

    command: Sequence[str]
    wall_s: float
    seed: int
    factor: float
    alerts: Sequence[str]
    not_verified: Sequence[Mapping[str, str]]
    failed_tests: Sequence[str] = ()
    interrupted: bool = False


def write_verdict(folder: RunFolder, facts: RunFacts) -> dict[str, Any]:
    """Assemble ``verdict.json`` from the run folder and return it.

    The run's verdict is the worst of its drills and checks. A planned drill that left no result
    (its worker died, the run was interrupted) is unknown, and so is a run without any drill.
    """
    stacks, planned = folder.stacks(), folder.planned()
    drills = _with_missing(folder.drills(), planned)
    checks = [
        *_failed_checks(facts.failed_tests, drills, planned),
        *_not_covered(facts.alerts, drills),
    ]
    verdicts = [Verdict[row["verdict"].upper()] for row in [*drills, *checks]]
    if facts.interrupted or not drills:
        verdicts.append(Verdict.UNKNOWN)
    coverage = _coverage(drills, facts.alerts)
    document = {
        "schema": SCHEMA,
        "run": folder.run_id,
        "verdict": Verdict.worst(verdicts).word,
        "clock": {"mode": "real" if facts.factor == 1 else "compressed", "factor": facts.factor},
        "wall_s": round(facts.wall_s, 1),
        "seed": facts.seed,
        "command": list(facts.command),
        "interrupted": facts.interrupted,
        "errors": folder.errors(),
        "stack": _merged_components(stacks),
        "stacks": [{k: v for k, v in s.items() if k != "components"} for s in stacks],
        "drills": drills,
        "checks": checks,
        "coverage": coverage,
        "not_verified": _unique([*facts.not_verified, *(n for s in stacks for n in s["unseen"])]),
    }
    folder.write_verdict(document)
    return document


def _with_missing(
    drills: Sequence[Mapping[str, Any]], planned: Mapping[str, Mapping[str, str]]
) -> list[Mapping[str, Any]]:
    ended = {drill["id"] for drill in drills}
    finding = {
        "reason": Reason.INTERRUPTED.value,
        "verdict": Reason.INTERRUPTED.verdict.word,
        "message": "it was planned, and left no result",
    }
    return [
        *drills,
        *(
            {
                "id": identifier,
                "title": plan["title"],
                "fault": None,
                "verdict": finding["verdict"],
                "reason": finding["reason"],
                "findings": [finding],
                "set_aside": [],
                "traffic": None,
                "alerts": [],
                "heal_s": None,
                "healed_s": None,
                "wall_s": None,
                "stack": None,
            }
            for identifier, plan in planned.items()
            if identifier not in ended
        ),
    ]


def _merged_components(stacks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each component once, with its slowest start among the stacks."""
    merged: dict[str, dict[str, Any]] = {}
    for stack in stacks:
        for row in stack["components"]:
            known = merged.get(row["component"])
            if known is None or row["ready_s"] > known["ready_s"]:
                merged[row["component"]] = row
    return [merged[name] for name in sorted(merged)]


def _failed_checks(
    failed: Sequence[str],
    drills: Sequence[Mapping[str, Any]],
    planned: Mapping[str, Mapping[str, str]],
) -> list[dict[str, str]]:
    """Failed tests that no drill's own verdict explains: other tests, and drills that passed
    inside a test that didn't."""
    explained = {
        planned[drill["id"]]["test"]
        for drill in drills
        if drill["verdict"] != "pass" and drill["id"] in planned
    }
    return [
        {"id": test, "area": "test", "verdict": "fail", "reason": "test_failed"}
        for test in failed
        if test not in explained
    ]


def _not_covered(
    alerts: Sequence[str], drills: Sequence[Mapping[str, Any]]
) -> list[dict[str, str]]:
    """Alerts that no passing drill of this run expected to fire: nothing is known of them."""
    proven = {
        alert["name"]
        for drill in drills
        if drill["verdict"] == "pass"
        for alert in drill["alerts"]
        if alert["expected"] == "fires"
    }
    reason = Reason.NOT_COVERED
    return [
        {
            "id": alert,
            "area": "coverage",
            "verdict": reason.verdict.word,
            "reason": reason.value,
        }
        for alert in alerts
        if alert not in proven
    ]


def _coverage(drills: Iterable[Mapping[str, Any]], alerts: Sequence[str]) -> dict[str, Any]:
    """Which fault fired which alert, as seen in Prometheus."""
    by_alert: dict[str, list[str]] = {alert: [] for alert in alerts}
    by_fault: dict[str, list[str]] = {}
    for drill in drills:
        if drill["fault"] is None:
            continue
        fired = [row["name"] for row in drill["alerts"] if row["firing_s"] is not None]
        by_fault[drill["fault"]] = sorted({*by_fault.get(drill["fault"], []), *fired})
        for name in fired:
            by_alert.setdefault(name, []).append(drill["fault"])
    return {
        "alerts": {name: sorted(set(faults)) for name, faults in by_alert.items()},
        "faults": by_fault,
        "never_fired": sorted(name for name, faults in by_alert.items() if not faults),
    }


def _unique(rows: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    return [dict(items) for items in dict.fromkeys(tuple(sorted(row.items())) for row in rows)]
