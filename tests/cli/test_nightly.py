"""Drills for the night: left out of a gate, unless they are named; and no alert is left to them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alertdrill.config import load_config
from alertdrill.profiles import Profiles
from chaos.test_drills import DRILLS
from fixtures.stack import STACK
from tests.cli.project import copy_project, run

NIGHTLY = {drill.title for drill in DRILLS if drill.nightly}
BY_DAY = {drill.title for drill in DRILLS} - NIGHTLY
PROJECT = Path(__file__).parents[2]
ONE = "GitHub API hangs"


def collected(project: Path, *options: str) -> set[str]:
    result = run(project, "pytest", "chaos", "--collect-only", "-q", "-p", "no:locust", *options)
    return set(re.findall(r"^chaos/.*\[(.+)\]$", result.stdout, re.MULTILINE))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("project"))


def test_they_are_left_out_and_asked_for(project: Path) -> None:
    assert ONE in NIGHTLY
    assert collected(project) == BY_DAY
    assert collected(project, "--nightly") == BY_DAY | NIGHTLY


def test_whoever_names_one_gets_it(project: Path) -> None:
    assert collected(project, "-k", "hangs and GitHub") == {ONE}


def test_a_drill_of_what_the_profile_does_not_run_is_left_out_even_by_name(project: Path) -> None:
    assert "Jaeger hangs" not in collected(project, "-k", "Jaeger or hangs")
    assert collected(project, "-k", "Jaeger", "--profile", "full") == {"Jaeger hangs"}


def test_pytest_says_how_many_were_left_out(project: Path) -> None:
    gate = run(project, "pytest", "chaos", "--collect-only", "-q", "-p", "no:locust")
    assert gate.returncode == 0, gate.stdout + gate.stderr
    assert f"{len(BY_DAY)}/{len(DRILLS)} tests collected ({len(NIGHTLY)} deselected)" in gate.stdout


def test_no_alert_that_the_gate_could_drill_is_drilled_by_night_only() -> None:
    by_day = {alert for drill in DRILLS if not drill.nightly for alert in drill.fires}
    gate = Profiles(load_config(PROJECT), STACK)
    possible = [drill for drill in DRILLS if gate.profile_of(drill) is not None]
    assert {alert for drill in possible for alert in drill.fires} == by_day
