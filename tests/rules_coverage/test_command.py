"""`alertdrill rules coverage` as a command: exit codes, output, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from alertdrill.errors import UsageError
from alertdrill.rules.coverage.command import coverage
from tests.rules_coverage.documents import (
    drill,
    replay_document,
    run_document,
    sound_answers,
    sound_drills,
    written,
)

RULES = """\
groups:
  - name: hub
    rules:
      - alert: Errors
        expr: errors > 1
      - alert: Down
        expr: up == 0
"""
PROJECT = """\
name = "x"
stack = "no_such_module_of_mine:STACK"
[monitoring]
prometheus = "p.yml"
alertmanager = "a.yml"
jobs = ["hub"]
[target]
component = "hub"
"""
PROMETHEUS = """\
alerting:
  alertmanagers:
    - static_configs:
        - targets: [alertmanager:9093]
rule_files: [rules.yml]
scrape_configs:
  - job_name: hub
    static_configs:
      - targets: [hub:8001]
"""

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command in a folder of its own, which has no project."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(coverage)
    runner = CliRunner()
    return lambda *argv: runner.invoke(app, [str(word) for word in argv])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a sound run in out/latest."""
    (tmp_path / "alertdrill.toml").write_text(PROJECT)
    (tmp_path / "p.yml").write_text(PROMETHEUS)
    (tmp_path / "rules.yml").write_text(RULES)
    (tmp_path / "out" / "latest").mkdir(parents=True)
    written(tmp_path / "out" / "latest" / "verdict.json", run_document(sound_drills()))
    return tmp_path


def test_the_latest_run_of_a_project_is_judged(command: Command, project: Path) -> None:
    result = command()
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "live    out/latest/verdict.json: pass, 3 drills"
    assert [line.split() for line in lines if line.startswith(("Errors", "Down"))] == [
        ["Errors", "·", "L", "L"],
        ["Down", "·", "·", "L"],
    ]
    assert lines[-1] == "verdict: pass (2 of 2 alerts fired, 2 of 2 faults noticed)"


def test_without_any_run_nothing_is_known(command: Command) -> None:
    result = command()
    assert result.exit_code == 3
    assert "no run was judged" in result.output


def test_live_and_replay_side_by_side(command: Command, project: Path) -> None:
    replay = written(project / "replay.json", replay_document(sound_answers()))
    result = command("--virtual", replay, "--live", "out/latest/verdict.json")
    assert result.exit_code == 0, result.output
    assert ["Errors", "··", "LR", "LR"] in [line.split() for line in result.output.splitlines()]
    assert "live and replay agree on 4 of 4" in result.output
    alone = command("--virtual", replay)
    assert alone.exit_code == 0, alone.output
    assert "live    " not in alone.output


def test_json_has_every_cell(command: Command, project: Path) -> None:
    result = command("--format", "json")
    document = json.loads(result.output)
    assert (document["schema"], document["verdict"], document["virtual"]) == (1, "pass", None)
    assert document["alerts"] == {"Errors": ["refuse(db)", "kill(hub)"], "Down": ["kill(hub)"]}
    assert document["faults"] == {"refuse(db)": ["Errors"], "kill(hub)": ["Down", "Errors"]}
    (cell,) = (c for c in document["cells"] if (c["fault"], c["alert"]) == ("refuse(db)", "Errors"))
    assert cell["live"] == {"expected": "fires", "state": "fired", "why": ""}
    assert len(document["cells"]) == 6


def test_a_gap_is_named_with_what_to_do_and_a_reason_settles_it(
    command: Command, project: Path
) -> None:
    drills = [*sound_drills()[:2], drill("cache", "latency(redis)")]
    written(project / "out" / "latest" / "verdict.json", run_document(drills))
    result = command()
    assert result.exit_code == 1
    assert "fail  Down: no fault fires it" in result.output
    assert '([alerts.Down], undrilled = "...")' in result.output
    assert '([faults."latency(redis)"], unnoticed = "...")' in result.output
    reasons = """
[alerts.Down]
receiver = "team"
within = "5m"
resolved_within = "5m"
undrilled = "the drill that kills it is too slow"

[faults."latency(redis)"]
unnoticed = "the cache is no promise to anyone"
"""
    (project / "alertdrill.toml").write_text(PROJECT + reasons)
    settled = command()
    assert settled.exit_code == 0, settled.output
    assert "said  Down: no fault fires it: the drill that kills it is too slow" in settled.output
    written(project / "out" / "latest" / "verdict.json", run_document(sound_drills()))
    stale = command()
    assert isinstance(stale.exception, UsageError)
    assert "alertdrill.toml:14: " in str(stale.exception)
    assert "kill(hub) does: remove `undrilled`" in str(stale.exception)


def test_only_the_alerts_of_the_named_rules(command: Command, tmp_path: Path) -> None:
    only = tmp_path / "only.yml"
    only.write_text(RULES[: RULES.index("      - alert: Down")])
    live = written(tmp_path / "verdict.json", run_document(sound_drills()))
    result = command(only, "--live", live)
    assert result.exit_code == 0, result.output
    assert "1 of 1 alert fired, 2 of 2 faults noticed" in result.output
    assert "Down" not in result.output


def test_a_fault_is_noticed_by_an_alert_of_another_rule_file_too(
    command: Command, tmp_path: Path
) -> None:
    only = tmp_path / "only.yml"
    only.write_text(RULES.replace("      - alert: Errors\n        expr: errors > 1\n", ""))
    live = written(tmp_path / "verdict.json", run_document(sound_drills()))
    result = command(only, "--live", live)
    assert result.exit_code == 0, result.output
    assert "2 of 2 faults noticed" in result.output


def test_many_faults_make_several_tables(command: Command, tmp_path: Path) -> None:
    many = [{**sound_drills()[2], "id": f"d{n}", "fault": f"kill({n})"} for n in range(25)]
    live = written(tmp_path / "verdict.json", run_document(many))
    lines = command("--live", live).output.splitlines()
    assert [len(line.split()) - 1 for line in lines if line.startswith("Down")] == [20, 5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "schema: Field required"),
        (json.dumps({**run_document([]), "drills": [{"id": 3}]}), "drills.0.id: "),
    ],
)
def test_a_file_that_is_no_verdict(command: Command, tmp_path: Path, text: str, words: str) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    error = command("--live", bad).exception
    assert isinstance(error, UsageError)
    assert str(error).startswith(f"{bad}: is no verdict.json of a run: ")
    assert words in str(error)


@pytest.mark.parametrize(
    "change",
    [{"answers": []}, {"schema": 2}, {"answers": [{"alert": "x", "verdict": "maybe"}]}],
    ids=["empty", "schema", "verdict"],
)
def test_a_file_that_is_no_replay(
    command: Command, tmp_path: Path, change: dict[str, object]
) -> None:
    document = {**replay_document(sound_answers()), **change}
    error = command("--virtual", written(tmp_path / "replay.json", document)).exception
    assert isinstance(error, UsageError)
    assert "is no output of `alertdrill rules replay --format json`" in str(error)
    swapped = written(tmp_path / "verdict.json", run_document(sound_drills()))
    assert isinstance(command("--virtual", swapped).exception, UsageError)


def test_a_file_that_is_missing(command: Command, tmp_path: Path) -> None:
    error = command("--live", tmp_path / "none.json").exception
    assert isinstance(error, UsageError)
    assert "can't be read" in str(error)


def test_rules_without_an_alert(command: Command, tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.yml"
    text = "groups:\n  - name: g\n    rules:\n      - record: a:b\n        expr: up\n"
    recorded.write_text(text)
    live = written(tmp_path / "verdict.json", run_document(sound_drills()))
    error = command(recorded, "--live", live).exception
    assert isinstance(error, UsageError)
    assert "defines no alert" in str(error)
