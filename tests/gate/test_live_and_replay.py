"""A drill and its replay must say the same: one saw the rules compressed, the other untouched."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from alertdrill.bench import SEGMENTS
from alertdrill.drill import Drill, DrillResult
from alertdrill.experiment import run_drill as run_one
from alertdrill.rules.project import prometheus, promtool
from alertdrill.rules.replay.answers import Answer, Options
from alertdrill.rules.replay.command import rules_of
from alertdrill.rules.replay.expect import load_unjudged, table_of
from alertdrill.rules.replay.segments import load_segments
from alertdrill.rules.replay.virtual import compare_with_live, virtual_verdicts
from alertdrill.verdict import Verdict
from chaos.test_drills import DRILLS
from tests.gate.conftest import Laboratory

pytestmark = pytest.mark.docker

REFUSED = next(drill for drill in DRILLS if drill.title == "PostgreSQL refuses connections")


def recorded(result: DrillResult, laboratory: Laboratory, folder: Path) -> Path:
    """A folder with what ``result`` recorded and nothing else."""
    folder.mkdir()
    for file in (laboratory.bench.run_dir / SEGMENTS).glob(f"{result.id}--*"):
        shutil.copy(file, folder)
    return folder


def replayed(drills: Sequence[Drill], segments: Path, laboratory: Laboratory) -> tuple[Answer, ...]:
    config = laboratory.bench.config
    configuration = config.path(config.monitoring.prometheus)
    rules = rules_of([configuration.with_name("alerts.yml")], configuration)
    runs = laboratory.bench.stack.component_names
    unseen = {alert for alert, e in config.alerts.items() if e.needs and e.needs not in runs}
    unjudged = load_unjudged(config.root / "rules" / "expect.yml", rules.alerts)
    return virtual_verdicts(
        rules,
        load_segments(segments),
        table_of(drills, config.alerts),
        prometheus=prometheus(),
        promtool=promtool(),
        alerts=rules.alerts.keys() - unjudged.keys() - unseen,
        options=Options(healthy_s=3600.0, trips=False),
    )


def test_a_drill_and_its_replay_agree(laboratory: Laboratory, tmp_path: Path) -> None:
    drill = replace(REFUSED, title="recorded for replay")
    result = run_one(drill, laboratory.bench)
    assert result.verdict is Verdict.PASS, result.findings
    laboratory.bench.save_segments()
    answers = replayed([drill], recorded(result, laboratory, tmp_path / "segments"), laboratory)
    assert [a for a in answers if a.verdict is not Verdict.PASS] == []
    document = {"clock": {"factor": 60}, "drills": [result.document()]}
    compared = compare_with_live(document, answers)
    assert {one.alert for one in compared} == {a.alert for a in answers} >= drill.fires
    assert [c for c in compared if c.verdict is not Verdict.PASS] == []
    # The twin: a live run that saw the contrary is noticed.
    for alert in document["drills"][0]["alerts"]:
        alert["firing_s"] = None
    assert Verdict.UNKNOWN in {c.verdict for c in compare_with_live(document, answers)}
