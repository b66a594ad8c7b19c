"""``alertdrill trip``: wrong input is one sentence and exit code 2, before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.project import ROOT, copy_project, run

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
HALF_5XX = "http_status(github)"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["NoSuchAlert", HALF_5XX], "no rule defines NoSuchAlert; the rules define APIUnavail"),
        (["HighErrorRate", "no such drill"], "no drill is called 'no such drill'"),
        (["APIUnavailable", HALF_5XX], "doesn't expect APIUnavailable to fire"),
        (["APIUnavailable", "kill(hub)"], "kill(hub) has no dose"),
        (
            ["HighErrorRate", HALF_5XX, "--resolution", "0"],
            "--resolution must be more than nothing",
        ),
        (["APIUnavailable", "kill(hub)", "--by", "duration", "--resolution", "-5"], "not -5"),
        (["HighErrorRate"], "name an ALERT and a FAULT"),
        (["HighErrorRate", HALF_5XX, "--no-live"], "--no-live without --segments"),
        (["--all"], "say with --segments where recorded faults are"),
        (["HighErrorRate", HALF_5XX, "--all"], "name none beside it"),
        (["HighErrorRate", HALF_5XX, "--clock", "fast"], "--clock takes 'real' or a factor"),
        (["HighErrorRate", HALF_5XX], "DOCKER_HOST names it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(tmp_path: Path, argv: list[str], words: str) -> None:
    project = copy_project(tmp_path)
    result = run(project, "trip", *argv, environment=NO_ENGINE)
    assert result.returncode == 2, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (project / "out").exists()


def test_a_table_that_cannot_be_imported(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    (project / "chaos/test_more.py").write_text("import no_such_module_of_mine\n")
    result = run(project, "trip", "HighErrorRate", HALF_5XX, environment=NO_ENGINE)
    assert result.returncode == 2
    assert "chaos/test_more.py:1: ModuleNotFoundError: " in result.stderr
    assert "no_such_module_of_mine" in result.stderr


def test_help_teaches_by_example() -> None:
    result = run(ROOT, "trip", "--help")
    assert result.returncode == 0
    assert "alertdrill trip HighErrorRate" in " ".join(result.stdout.split())
