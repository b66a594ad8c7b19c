"""The gate fails for an alert that no drill fires, and only if it saw every drill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alertdrill.assemble import load_original
from alertdrill.config import load_config
from chaos.test_drills import DRILLS
from tests.cli.project import ROOT, copy_project, run

ALERT = "ReplicationLagHigh"
DRILL = "the-replica-replays-nothing"
# Every drill passes at once: what is tested is what the run makes of them.
CONFTEST = """
import pytest
from alertdrill.drill import AlertOutcome, DrillResult, Traffic

@pytest.fixture
def run_drill(run_folder):
    def run(drill):
        times = {"firing_s": 1.0, "notified_s": 1.1, "resolved_s": 9.0, "deadline_s": 9.0}
        result = DrillResult(
            id=drill.id, title=drill.title, fault=drill.fault.name, findings=(),
            traffic=Traffic(9, 9), heal_s=5.0, healed_s=5.5, wall_s=9.0, stack="none",
            alerts=tuple(AlertOutcome(name, "fires", **times) for name in sorted(drill.fires)),
        )
        run_folder.add_drill(result.id, result.document())
        return result
    return run
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = copy_project(tmp_path)
    (folder / "chaos" / "conftest.py").write_text(CONFTEST)
    return folder


def without_its_drill(project: Path) -> None:
    """No drill expects ALERT to fire any more."""
    table = project / "chaos" / "postgresql.py"
    text = table.read_text()
    expectation = f'fires={{"{ALERT}"}},\n'
    assert text.count(expectation) == 1
    table.write_text(text.replace(expectation, f'may_fire={{"{ALERT}"}},\n'))


def with_a_reason(project: Path) -> int:
    """alertdrill.toml says why ALERT has no drill: the line (from 1) on which it does."""
    file = project / "alertdrill.toml"
    header = f"[alerts.{ALERT}]\n"
    text = file.read_text()
    assert text.count(header) == 1
    file.write_text(text.replace(header, f'{header}undrilled = "its drill takes an hour"\n'))
    return text[: text.index(header)].count("\n") + 2


def drilled(project: Path, *argv: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run the drills; and the verdict that they leave."""
    options = ("-q", "-p", "no:locust", "-p", "no:cacheprovider")
    done = run(project, "pytest", *options, *(argv or ("chaos",)))
    verdict = json.loads((project / "out" / "latest" / "verdict.json").read_text())
    return done, verdict


def coverage_checks(verdict: dict[str, Any]) -> list[tuple[str, str, str]]:
    checks = [check for check in verdict["checks"] if check["area"] == "coverage"]
    return [(check["id"], check["verdict"], check["reason"]) for check in checks]


def test_every_shipped_alert_is_drilled() -> None:
    config = load_config(ROOT)
    fired = frozenset().union(*(drill.fires for drill in DRILLS))
    drillable = set(config.drillable(load_original(config).alerts))
    assert fired == drillable - config.undrilled.keys()


def test_an_alert_that_no_drill_expects_fails_a_whole_run(project: Path) -> None:
    without_its_drill(project)
    done, verdict = drilled(project, "chaos", "-n", "1")
    assert (done.returncode, verdict["verdict"]) == (1, "fail"), done.stdout
    assert coverage_checks(verdict) == [(ALERT, "fail", "never_drilled")]
    assert verdict["coverage"]["whole"] is True, "the controller knows what a worker collected"


def test_a_reason_keeps_it_from_failing_and_is_listed(project: Path) -> None:
    without_its_drill(project)
    with_a_reason(project)
    done, verdict = drilled(project)
    assert (done.returncode, verdict["verdict"]) == (0, "pass"), done.stdout
    listed = {"what": ALERT, "why": "its drill takes an hour"}
    assert listed in verdict["not_verified"]


def test_a_reason_that_a_drill_contradicts_is_wrong_usage(project: Path) -> None:
    line = with_a_reason(project)
    done, verdict = drilled(project, "chaos", "-k", "refuses")
    assert done.returncode == 2, done.stdout
    (error,) = verdict["errors"]
    assert f"alertdrill.toml:{line}: " in error
    assert "replaypaused(postgres-replica) does: remove `undrilled`" in error, (
        "a drill that was deselected"
    )


def test_an_alert_whose_drill_was_deselected_is_unknown(project: Path) -> None:
    done, verdict = drilled(project, "chaos", "-k", "not replica", "-n", "1")
    assert (done.returncode, verdict["verdict"]) == (3, "unknown"), done.stdout
    (check,) = [c for c in verdict["checks"] if c["reason"] == "not_covered"]
    assert check["id"] == ALERT
    assert DRILL in check["message"], "the controller knows what a worker deselected"


def test_a_run_that_was_asked_to_leave_out_a_drill_is_unknown(project: Path) -> None:
    """Also where the others fire every alert: the silence that this one proves is not proven."""
    without_its_drill(project)
    with_a_reason(project)
    done, verdict = drilled(project, "chaos", "--nightly", "-k", "not twice")
    assert (done.returncode, verdict["verdict"]) == (3, "unknown"), done.stdout
    (check,) = verdict["checks"]
    assert check["reason"] == "deselected"
    assert "twice" in check["id"]
    assert "asked to leave it out: GitHub API fails twice" in done.stdout


SELECTIONS = {
    "whole": ["chaos"],
    "expression": ["chaos", "-k", "not replica"],
    "file": ["chaos/test_drills.py"],
    "test": ["chaos/test_drills.py::test_the_monitoring_tells_the_truth"],
    "ignored": ["chaos", "--ignore=chaos/test_more.py"],
    "skipped": ["chaos", "other"],
}
# One process for all of them: starting one takes longer than its drills.
RUNNER = """
import json, os, sys, pytest
for name, arguments in json.loads(sys.argv[1]).items():
    os.environ["ALERTDRILL_RUN_FOLDER"] = os.path.abspath(os.path.join("runs", name))
    pytest.main(["-q", "-p", "no:locust", "-p", "no:cacheprovider", *arguments])
"""


def test_only_a_run_that_left_nothing_out_says_that_there_is_no_drill(project: Path) -> None:
    without_its_drill(project)
    skipped = "import pytest\npytest.skip('not here', allow_module_level=True)\n"
    (project / "other").mkdir()
    (project / "other" / "test_skipped.py").write_text(skipped)
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, json.dumps(SELECTIONS)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = {}
    for name in SELECTIONS:
        file = project / "runs" / name / "verdict.json"
        assert file.exists(), done.stdout + done.stderr
        verdict = json.loads(file.read_text())
        assert ALERT in [check["id"] for check in verdict["checks"]]
        assert verdict["coverage"]["whole"] is not any(
            check["reason"] == "deselected" for check in verdict["checks"]
        )
        said[name] = (verdict["coverage"]["whole"], verdict["verdict"])
    partly = dict.fromkeys(SELECTIONS, (False, "unknown"))
    assert said == {**partly, "whole": (True, "fail")}
