"""``verdict.json``: the whole run in one document, for machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alertdrill.report.folder import DrillTable, RunFolder
from alertdrill.verdict import Reason, Verdict

SCHEMA = "alertdrill/verdict/1"
# Why an alert fails the run that no drill of the whole table expects to fire.
NEVER_DRILLED = "never_drilled"
DESELECTED = "deselected"


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run beside what its drills and stacks wrote.

    ``alerts`` are all that the rules define; ``undrilled`` says of some why no drill fires them,
    ``needs`` the component without which an alert can't, and ``beyond`` why none can on this
    run's profiles.
    """

    command: Sequence[str]
    wall_s: float
    seed: int
    factor: float
    alerts: Sequence[str]
    not_verified: Sequence[Mapping[str, str]]
    undrilled: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    beyond: Mapping[str, str] = field(default_factory=dict)
    failed_tests: Sequence[str] = ()
    interrupted: bool = False


def write_verdict(folder: RunFolder, facts: RunFacts) -> dict[str, Any]:
    """Assemble ``verdict.json`` from the run folder and return it.

    The run's verdict is the worst of its drills and checks. A planned drill that left no result
    (its worker died, the run was interrupted) is unknown, and so is a run without any drill.
    """
    stacks, planned, table = folder.stacks(), folder.planned(), folder.table()
    drills = _with_missing(folder.drills(), planned)
    checks = [
        *_failed_checks(facts.failed_tests, drills, planned),
        *_not_covered(facts, drills, table),
        *_deselected(table),
    ]
    undrilled = {**facts.undrilled, **facts.beyond}
    verdicts = [Verdict[row["verdict"].upper()] for row in [*drills, *checks]]
    if facts.interrupted or not drills:
        verdicts.append(Verdict.UNKNOWN)
    coverage = {"whole": table.whole, **_coverage(drills, facts.alerts)}
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
        "not_verified": _unique(
            [
                *facts.not_verified,
                *({"what": alert, "why": why} for alert, why in undrilled.items()),
                *_unasked(drills),
                *_unprovoked(drills, stacks, facts),
                *_not_run(table),
                *(n for s in stacks for n in s["unseen"]),
            ]
        ),
    }
    folder.write_verdict(document)
    return document


def _not_run(table: DrillTable) -> list[dict[str, str]]:
    """The drills that this run left out by itself, as one entry for each reason."""
    titles: dict[str, list[str]] = {}
    for title, why in table.left_out.items():
        titles.setdefault(why, []).append(title)
    return [
        {"what": drills[0] if len(drills) == 1 else f"{len(drills)} drills", "why": why}
        for why, drills in titles.items()
    ]


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
                "checks": [],
                "heal_s": None,
                "healed_s": None,
                "recovered_s": None,
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


def _unasked(drills: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What drills assert beside their alerts and this run had no means to look at."""
    return [
        {"what": f"the {check['id']} that drills expect", "why": check["not_verified"]}
        for drill in drills
        for check in drill["checks"]
        if "not_verified" in check
    ]


def _unprovoked(
    drills: Sequence[Mapping[str, Any]], stacks: Iterable[Mapping[str, Any]], facts: RunFacts
) -> Iterator[dict[str, str]]:
    """Alerts that stayed quiet in drills on whose stack nothing could have made them fire."""
    ran = {stack["run"]: {row["component"] for row in stack["components"]} for stack in stacks}
    for alert, needed in facts.needs.items():
        without = sum(needed not in ran.get(drill["stack"], {needed}) for drill in drills)
        if without and alert not in facts.beyond:
            drill = "drill" if without == 1 else "drills"
            yield {
                "what": f"the silence of {alert} in {without} {drill}",
                "why": f"no {needed} on the stack",
            }


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


def _deselected(table: DrillTable) -> list[dict[str, str]]:
    """Drills that somebody asked this run to leave out: a part of the table proves a part."""
    return [
        {
            "id": title,
            "area": "coverage",
            "verdict": Verdict.UNKNOWN.word,
            "reason": DESELECTED,
            "message": "this run was asked to leave it out",
        }
        for title in table.deselected
    ]


def _not_covered(
    facts: RunFacts, drills: Sequence[Mapping[str, Any]], table: DrillTable
) -> list[dict[str, str]]:
    """Alerts that no passing drill of this run expected to fire, though one could have.

    Where no drill of the whole table does, that is a failure: no run would ever prove them.
    Otherwise nothing is known of them: the drills that expect them didn't pass, or may be among
    those that this run left out.
    """
    proven = {
        alert for drill in drills if drill["verdict"] == "pass" for alert in _must_fire(drill)
    }
    expected = dict(table.fires)
    for drill in drills:  # a test may also run drills that no table shows
        expected[drill["id"]] = expected.get(drill["id"], frozenset()) | _must_fire(drill)
    checks = []
    for alert in facts.alerts:
        expecting = [drill for drill, alerts in expected.items() if alert in alerts]
        excused = alert in facts.beyond or (alert in facts.undrilled and not expecting)
        if alert in proven or excused:
            continue
        verdict, reason = Reason.NOT_COVERED.verdict, Reason.NOT_COVERED.value
        if expecting:
            message = f"no drill that expects it passed in this run: {', '.join(expecting)}"
        elif table.whole:
            verdict, reason = Verdict.FAIL, NEVER_DRILLED
            message = (
                "no drill expects it to fire: write one, or say in alertdrill.toml why there is "
                f'none ([alerts.{alert}], undrilled = "...")'
            )
        else:
            message = "no drill that passed expects it, and this run left out some"
        checks.append(
            {
                "id": alert,
                "area": "coverage",
                "verdict": verdict.word,
                "reason": reason,
                "message": message,
            }
        )
    return checks


def _must_fire(drill: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(row["name"] for row in drill["alerts"] if row["expected"] == "fires")


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
