"""A live run's ``verdict.json``, as what each alert did in each drill."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from alertdrill.errors import UsageError
from alertdrill.rules.coverage.incident import QUIET, Incident, Seen, State

_Word = Literal["pass", "fail", "unknown"]


class _Finding(BaseModel):
    verdict: _Word
    message: str


class _Alert(BaseModel):
    name: str
    expected: Literal["fires", "inhibited", "may fire", "quiet"]
    firing_s: float | None
    notified_s: float | None


class _Drill(BaseModel):
    id: str
    fault: str | None
    verdict: _Word
    findings: list[_Finding]
    alerts: list[_Alert]
    heal_s: float | None

    @property
    def doubt(self) -> str:
        """Why this drill proves nothing of any alert; empty when it does."""
        unknown = [one.message for one in self.findings if one.verdict == "unknown"]
        if unknown:
            return unknown[0]
        return "" if self.heal_s is not None else "the drill ended before its fault was proven"


class _Clock(BaseModel):
    factor: float = Field(gt=0)


class _Coverage(BaseModel):
    alerts: dict[str, list[str]]
    whole: bool = False


class _Run(BaseModel):
    schema_: Literal["alertdrill/verdict/1"] = Field(alias="schema")
    verdict: _Word
    clock: _Clock
    drills: list[_Drill]
    coverage: _Coverage


@dataclass(frozen=True)
class LiveRun:
    """``alerts`` are those that the run's rules defined; ``whole``: no drill was left out;
    ``expected``: each drill's fault and the alerts that must fire under it; ``doubts``: why a
    drill proves nothing, by its id."""

    path: Path
    verdict: str
    alerts: frozenset[str]
    whole: bool
    incidents: tuple[Incident, ...]
    expected: tuple[tuple[str, frozenset[str]], ...]
    doubts: dict[str, str]
    document: dict[str, Any]


def load_live(path: Path) -> LiveRun:
    """Read a ``verdict.json``. Raises UsageError when it is none."""
    document = read_json(path, "verdict.json of a run")
    try:
        run = _Run.model_validate(document)
    except ValidationError as error:
        raise not_the_format(path, "verdict.json of a run", error) from error
    alerts = frozenset(run.coverage.alerts)
    return LiveRun(
        path=path,
        verdict=run.verdict,
        alerts=alerts,
        whole=run.coverage.whole,
        incidents=tuple(_incident(drill, alerts) for drill in run.drills),
        expected=tuple(
            (drill.fault, frozenset(row.name for row in drill.alerts if row.expected == "fires"))
            for drill in run.drills
            if drill.fault is not None
        ),
        doubts={drill.id: drill.doubt for drill in run.drills if drill.doubt},
        document=document,
    )


def _incident(drill: _Drill, alerts: frozenset[str]) -> Incident:
    """Alerts that have no row had to stay quiet, and did."""
    rows = {row.name: row for row in drill.alerts}
    live = {name: Seen(QUIET, State.QUIET) for name in alerts}
    live |= {name: _seen(row) for name, row in rows.items()}
    if drill.doubt:
        # What fired where nothing should have is certain, if the drill failed for it.
        sure = drill.verdict == "fail"
        live = {
            name: seen if sure and seen.is_wrong else Seen(seen.expected, State.UNKNOWN)
            for name, seen in live.items()
        }
    return Incident(drill.id, drill.fault or drill.id, live=live)


def _seen(row: _Alert) -> Seen:
    fired = row.firing_s is not None or (row.expected == QUIET and row.notified_s is not None)
    return Seen(row.expected, State.FIRED if fired else State.QUIET)


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The object in ``path``. Raises UsageError; ``what`` is what it should have been."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"can't be read: {error.strerror}", file=path) from error
    except ValueError as error:
        raise UsageError(f"is no {what}: not JSON ({error})", file=path) from error
    if not isinstance(found, dict):
        raise UsageError(f"is no {what}: not a JSON object", file=path)
    return found


def not_the_format(path: Path, what: str, error: ValidationError) -> UsageError:
    """The first thing that is wrong with a document, in a sentence."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return UsageError(f"is no {what}: {where}: {first['msg']}", file=path)
