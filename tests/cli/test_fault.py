"""``alertdrill fault inject`` refuses what it may not do, before anything is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.project import copy_project, run

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
REFUSE = 'Refuse("postgres", client="hub")'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_project(tmp_path)


def refused(project: Path, *argv: str) -> str:
    result = run(project, "fault", "inject", *argv, environment=NO_ENGINE)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    [sentence] = result.stderr.strip().splitlines()
    return sentence


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["the hub is gone"], "no drill and no fault is called 'the hub is gone'"),
        ([REFUSE, "--for", "soon"], "--for: not a duration: 'soon'"),
        ([REFUSE, "--for", "0"], "--for: a fault lasts longer than 0"),
        ([REFUSE, "--for", "6m"], "allows a fault for at most 5m, not for 360 s"),
    ],
)
def test_what_makes_no_sense_or_lasts_too_long(project: Path, argv: list[str], words: str) -> None:
    assert words in refused(project, *argv)


@pytest.mark.parametrize("table", ["", "[foreign]\nallow_faults = false\n"])
def test_what_the_project_does_not_allow(project: Path, table: str) -> None:
    file = project / "alertdrill.toml"
    text = file.read_text(encoding="utf-8")
    begin = text.index("[foreign]")
    end = text.index("\n\n", begin)
    file.write_text(text[:begin] + table + text[end:], encoding="utf-8")
    assert "nothing of it may be broken unless [foreign]" in refused(project, REFUSE)


def test_what_is_allowed_gets_as_far_as_the_engine(project: Path) -> None:
    for fault in (REFUSE, "the hub is killed", "refuse(postgres)"):
        assert "no Docker engine answers" in refused(project, fault)


def test_the_catalogue_for_machines(project: Path) -> None:
    result = run(project, "faults", "--format", "json", environment=NO_ENGINE)
    assert result.returncode == 0
    entries = {entry["name"]: entry for entry in json.loads(result.stdout)}
    assert entries["Latency"]["layer"] == "TCP"
    assert {"name": "jitter_ms", "default": "0", "keyword_only": False} in (
        entries["Latency"]["parameters"]
    )
