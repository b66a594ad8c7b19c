"""The command as it is called: exit codes, words, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from alertdrill.errors import UsageError
from alertdrill.rules.programs import Program
from alertdrill.rules.routing.command import routing
from alertdrill.wait import eventually
from tests.rules_routing.conftest import ROOT
from tests.rules_routing.project import CLEAN, FACTOR, Project

_RUN = """
import typer
from alertdrill.rules.routing.command import routing
app = typer.Typer()
app.command()(routing)
app()
"""
ARGUMENTS = ("alerts.yml", "--alertmanager", "alertmanager.yml", "--factor", str(FACTOR))


def environment(folder: Path, *programs: Path) -> dict[str, str]:
    """One in which these programs are on PATH, no others, and no Docker answers."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for path in programs:
        (bin_folder / path.name).symlink_to(path)
    return {
        "PATH": str(bin_folder),
        "DOCKER_HOST": "tcp://127.0.0.1:9",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }


def with_programs(folder: Path, program: Program, *others: Path) -> dict[str, str]:
    """Debian's copied Alertmanager needs its folder: a script on PATH goes there."""
    env = environment(folder, *others)
    script = folder / "bin" / "alertmanager"
    script.write_text(f'#!/bin/sh\ncd "{program.folder}" && exec "{program.path}" "$@"\n')
    script.chmod(0o755)
    return env


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(routing)

    def _run(*arguments: str, env: dict[str, str]) -> Result:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        result = CliRunner().invoke(app, arguments)
        if isinstance(result.exception, UsageError):
            result.exit_code = 2  # as the entry point makes of it
        elif not isinstance(result.exception, SystemExit | None):
            raise result.exception
        return result

    return _run


Run = Callable[..., Result]


def test_without_alertmanager_and_docker_nothing_is_proven(tmp_path: Path, run: Run) -> None:
    CLEAN.write(tmp_path)
    env = environment(tmp_path)
    result = run(*ARGUMENTS, env=env)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "Alertmanager is not on PATH" in result.stderr
    result = run(*ARGUMENTS, "--format", "json", env=env)
    assert result.exit_code == 3
    assert json.loads(result.stdout)["verdict"] == "unknown"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "alertdrill.toml"),
        (("alerts.yml",), "--alertmanager"),
        (("--alertmanager", "alertmanager.yml"), "rule files"),
        (("missing.yml", "--alertmanager", "alertmanager.yml"), "missing.yml"),
        (("alerts.yml", "--alertmanager", "missing.yml"), "missing.yml"),
        (("alerts.yml", "--alertmanager", "alerts.yml"), "alerts.yml:1"),
        ((*ARGUMENTS[:3], "--factor", "0.5"), "--factor"),
        ((*ARGUMENTS, "--format", "xml"), "--format"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], words: str, tmp_path: Path, run: Run) -> None:
    CLEAN.write(tmp_path)
    result = run(*arguments, env=environment(tmp_path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in f"{result.exception} {result.stderr}"


def test_rules_without_an_alert_prove_nothing(tmp_path: Path, run: Run) -> None:
    recording = "groups: [{name: g, rules: [{record: a:b, expr: sum(x)}]}]\n"
    Project(alerts=recording).write(tmp_path)
    result = run(*ARGUMENTS, env=environment(tmp_path))
    assert result.exit_code == 3
    assert "no alert" in result.stderr


@pytest.mark.docker
def test_what_alertmanager_refuses_is_said_in_its_own_words(
    tmp_path: Path, program: Program, run: Run
) -> None:
    CLEAN.but("alertmanager", "channel: '#team'", "chanel: '#team'").write(tmp_path)
    result = run(*ARGUMENTS, env=with_programs(tmp_path, program))
    assert (result.exit_code, result.stdout) == (2, "")
    assert str(result.exception).startswith("alertmanager.yml: Alertmanager refuses it")
    assert "field chanel not found" in str(result.exception)


@pytest.mark.docker
def test_without_promtool_templates_are_not_proven(
    tmp_path: Path, program: Program, run: Run
) -> None:
    CLEAN.write(tmp_path)
    result = run(*ARGUMENTS, env=with_programs(tmp_path, program))
    assert result.exit_code == 3
    assert "unknown: promtool is not" in result.stdout
    assert "verdict: unknown (1 pass, 2 unknown)" in result.stdout


@pytest.mark.docker
def test_a_rule_in_newer_promql_concerns_no_other(
    tmp_path: Path, program: Program, promtool_path: Path, run: Run
) -> None:
    newer = CLEAN.but("alerts", 'up{job="app"} == 0', 'up{job="app"} > 1_000')
    newer.write(tmp_path)
    env = with_programs(tmp_path, program, promtool_path)
    result = run(*ARGUMENTS, "--format", "json", env=env)
    document = json.loads(result.stdout)
    assert (result.exit_code, document["verdict"]) == (3, "unknown")
    assert [(alert["name"], alert["verdict"]) for alert in document["alerts"]] == [
        ("Errors", "pass"),
        ("Watchdog", "pass"),
    ]
    finding = next(one for one in document["findings"] if one["level"] == "unknown")
    assert finding["code"] == "not_understood"
    assert "alerts.yml:4: where Down goes is not known" in finding["message"]
    assert "promtool accepts it" in finding["message"]


@pytest.mark.docker
def test_json(tmp_path: Path, program: Program, promtool_path: Path, run: Run) -> None:
    CLEAN.write(tmp_path)
    env = with_programs(tmp_path, program, promtool_path)
    result = run(*ARGUMENTS, "--format", "json", env=env)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["verdict"] == "pass"
    errors = next(alert for alert in found["alerts"] if alert["name"] == "Errors")
    assert errors["inhibited_by"] == ["Down"]
    (delivery,) = errors["deliveries"]
    assert delivery["receiver"] == "team"
    assert delivery["real"] == {
        "group_by": ["alertname"],
        "first_s": 10.0,
        "repeat_s": 80.0,
        "resolved_s": 20.0,
    }


@pytest.mark.docker
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_behind(number: signal.Signals, tmp_path: Path, program: Program) -> None:
    CLEAN.write(tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = os.environ | with_programs(tmp_path, program)
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _RUN, *ARGUMENTS[:3]),
            *("--factor", "5"),  # long enough to be interrupted
        ],
        cwd=tmp_path,
        env=env | {"TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: len(list(_alertmanagers(scratch))) == 3, timeout_s=30, what="three")
        process.send_signal(number)
        process.wait(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode != 0
    eventually(lambda: not list(_alertmanagers(scratch)), timeout_s=10, what="none")
    eventually(
        lambda: not list(scratch.glob("alertdrill-alertmanager-*")), timeout_s=10, what="no data"
    )


def _alertmanagers(scratch: Path) -> Iterator[int]:
    """Processes whose data lies in ``scratch`` and that listen by now."""
    mark = f"--storage.path={scratch}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since
        if words[0] != b"/bin/sh" and any(word.startswith(mark) for word in words):
            yield int(folder.name)
