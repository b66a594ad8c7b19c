"""Wrong input: one clear sentence, with file and line where there is one, and exit code 2."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from alertdrill.errors import UsageError
from alertdrill.gate import clock_of
from chaos.test_drills import DRILLS
from tests.cli.project import copy_project, run

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_project(tmp_path)


def edit(file: Path, old: str, new: str) -> int:
    """Replace the one ``old``; the line (from 1) on which it stood."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


def one_sentence(output: str) -> str:
    assert "Traceback" not in output
    return output.strip()


def test_outside_a_project(tmp_path: Path) -> None:
    result = run(tmp_path, "gate")
    assert result.returncode == 2
    assert "there is no alertdrill.toml" in one_sentence(result.stderr)


def test_an_unknown_option_or_command(project: Path) -> None:
    for argv in (["status", "--nope"], ["frobnicate"]):
        result = run(project, *argv)
        assert result.returncode == 2
        assert "No such" in one_sentence(result.stderr)


def test_an_unknown_key_in_the_configuration(project: Path) -> None:
    line = edit(project / "alertdrill.toml", "factor = 60", "facter = 60")
    result = run(project, "gate")
    assert result.returncode == 2
    expected = f"alertdrill.toml:{line}: unknown key 'clock.facter'"
    assert expected in one_sentence(result.stderr)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("alerts.yml", "for: 2m", "for: 2x", "2x"),
        (
            "alerts.yml",
            "      - alert: NoSuccessfulSyncs",
            "      - alarm: NoSuccessfulSyncs",
            "alarm",
        ),
        ("prometheus.yml", "rule_files:", "alert_rules:", "alert_rules"),
        (
            "alertmanager.yml",
            "  receiver: team\n  group_by",
            "  receiver: tean\n  group_by",
            "tean",
        ),
    ],
    ids=["duration", "rule key", "prometheus key", "receiver"],
)
def test_an_invalid_monitoring_file(
    project: Path, file: str, old: str, new: str, words: str
) -> None:
    edit(project / "monitoring" / file, old, new)
    result = run(project, "gate", environment=NO_ENGINE)
    assert result.returncode == 2
    message = one_sentence(result.stderr)
    assert words in message
    assert f"monitoring/{file}:" in message, "the file, with a line"


def test_an_invalid_rule_file_under_pytest(project: Path) -> None:
    edit(project / "monitoring/alerts.yml", "for: 2m", "for: 2x")
    result = run(project, "pytest", "chaos", "-q", environment=NO_ENGINE)
    assert result.returncode == 2
    assert "monitoring/alerts.yml:" in one_sentence(result.stdout)


def test_a_table_that_cannot_be_imported(project: Path) -> None:
    (project / "chaos/test_more.py").write_text("import no_such_module_of_mine\n")
    result = run(project, "pytest", "chaos", "-q", environment=NO_ENGINE)
    assert result.returncode == 2
    assert "error: chaos/test_more.py can't be collected" in result.stdout
    assert "No module named 'no_such_module_of_mine'" in result.stdout


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('fault=Kill("hub"),', 'fault=Kil("hub"),', "NameError: name 'Kil' is not defined"),
        ('fault=Kill("hub"),', "fault=1x,", "SyntaxError: invalid decimal literal"),
        (
            'fault=Kill("hub"),',
            'fault=CpuQuota("hub", share=2),',
            "a CPU quota must be from 0.01 to below 1 core, not 2",
        ),
    ],
    ids=["name", "syntax", "dose"],
)
def test_a_table_that_is_no_program(project: Path, old: str, new: str, words: str) -> None:
    table = project / "chaos/hub.py"
    line = edit(
        table, '"the hub is killed",\n        ' + old, '"the hub is killed",\n        ' + new
    )
    where = f"chaos/hub.py:{line + 1}: "
    result = run(project, "faults", "--format", "markdown", environment=NO_ENGINE)
    assert result.returncode == 2
    assert one_sentence(result.stderr).startswith(f"UsageError: {where}{words}")


@pytest.mark.docker
def test_a_gate_says_where_its_table_is_no_program(project: Path) -> None:
    line = edit(project / "chaos/hub.py", "\nDRILLS = [", "\nDRILS = [DRILLS,")
    result = run(project, "gate")
    assert result.returncode == 2
    said = one_sentence(result.stderr).splitlines()[-1]
    assert said == f"UsageError: chaos/hub.py:{line + 1}: NameError: name 'DRILLS' is not defined"


def test_an_expression_that_is_not_promql(project: Path) -> None:
    alerts = project / "monitoring/alerts.yml"
    edit(alerts, "> 0.25\n        for", "> > 0.25\n        for")
    result = run(project, "gate", environment=NO_ENGINE)
    assert result.returncode == 2
    text = alerts.read_text(encoding="utf-8").partition("> > 0.25")[0]
    name = text.rpartition("- alert: ")[2].splitlines()[0]
    line = text.rpartition("expr:")[0].count("\n") + 1
    words = f"monitoring/alerts.yml:{line}: alert {name}: not PromQL: "
    assert words in one_sentence(result.stderr)


def test_no_docker_engine(project: Path) -> None:
    for argv in (["gate"], ["up"], ["status"]):
        result = run(project, *argv, environment=NO_ENGINE)
        assert result.returncode == 2
        assert "DOCKER_HOST names it" in one_sentence(result.stderr)


def test_doctor_says_that_the_gate_cannot_run_without_an_engine(project: Path) -> None:
    result = run(project, "doctor", environment=NO_ENGINE)
    assert result.returncode == 1
    assert "the gate can NOT run here" in result.stdout


def test_a_gate_on_a_clock_that_is_none(project: Path) -> None:
    result = run(project, "gate", "--clock", "foo", environment=NO_ENGINE)
    assert result.returncode == 2
    said = one_sentence(result.stderr)
    assert said == "UsageError: --clock takes 'real' or a factor from 1 to 600, not 'foo'"
    assert result.stdout == ""


@pytest.mark.parametrize("text", ["0", "0.9", "601", "nan", "inf", "-60", ""])
def test_a_clock_out_of_range_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="takes 'real' or a factor from 1 to 600"):
        clock_of(text)


@pytest.mark.parametrize(("text", "factor"), [("real", 1), ("1", 1), ("2.5", 2.5), ("600", 600)])
def test_a_clock_in_range(text: str, factor: float) -> None:
    assert clock_of(text).factor == factor


def test_a_selection_without_a_drill(project: Path) -> None:
    latest = project / "out/latest"
    latest.parent.mkdir()
    latest.symlink_to("an-earlier-run")
    result = run(project, "gate", "-k", "nomatch", environment=NO_ENGINE)
    assert result.returncode == 2
    said = one_sentence(result.stderr)
    assert said.startswith("UsageError: `-k nomatch` selects no drill that this gate can run; ")
    for drill in DRILLS:
        assert drill.title in said
    assert "\n" not in said
    assert os.listdir(latest.parent) == ["latest"]
    assert os.readlink(latest) == "an-earlier-run"


def test_a_selection_that_is_no_expression(project: Path) -> None:
    result = run(project, "gate", "-k", "killed and", environment=NO_ENGINE)
    assert result.returncode == 2
    assert "`-k 'killed and'` is nothing that pytest understands" in one_sentence(result.stderr)
    assert not (project / "out").exists()


def test_a_selection_with_a_drill_goes_on_to_the_engine(project: Path) -> None:
    result = run(project, "gate", "-k", "killed", environment=NO_ENGINE)
    assert result.returncode == 2
    assert "DOCKER_HOST names it" in one_sentence(result.stderr)
    assert not (project / "out").exists(), "nothing ran, so there is nothing to look at"


def test_a_clock_that_is_none(project: Path) -> None:
    result = run(project, "pytest", "chaos", "--clock", "sixty")
    assert result.returncode == 4, "pytest's own code for wrong usage"
    assert "--clock takes 'real' or a factor" in result.stderr


def test_an_alert_that_no_rule_defines(project: Path) -> None:
    line = edit(
        project / "chaos/upstreams.py",
        'stays_quiet={"SyncLatencyHigh"}',
        'stays_quiet={"SyncLag"}',
    )
    result = run(project, "pytest", "chaos", "-q", environment=NO_ENGINE)
    assert result.returncode == 2
    output = one_sentence(result.stdout)
    assert "names SyncLag, which no rule defines" in output
    row = int(output.split("chaos/upstreams.py:")[1].split(":")[0])
    assert line - 8 < row <= line, "the line of the drill in the table"


def test_an_alert_that_has_no_receiver_in_the_configuration(project: Path) -> None:
    line = edit(project / "alertdrill.toml", "[alerts.UpstreamUnavailable]", "[alerts.Other]")
    result = run(project, "pytest", "chaos", "-q", environment=NO_ENGINE)
    assert result.returncode == 2
    words = f"alertdrill.toml:{line}: [alerts.Other]: no rule defines Other"
    assert words in one_sentence(result.stdout)
    toml = project / "alertdrill.toml"
    before, _, after = toml.read_text().partition("[alerts.Other]")
    toml.write_text(before + "[" + after.partition("\n[")[2])
    result = run(project, "pytest", "chaos", "-q", environment=NO_ENGINE)
    assert result.returncode == 2
    assert "[alerts.UpstreamUnavailable] is missing" in one_sentence(result.stdout)


def test_two_drills_of_one_name(project: Path) -> None:
    edit(project / "chaos/hub.py", '"the hub is killed"', '"no fault"')
    result = run(project, "pytest", "chaos", "-q", environment=NO_ENGINE)
    assert result.returncode == 2
    assert "would overwrite" in one_sentence(result.stdout)


def test_the_clean_twin_of_all_these_is_accepted(project: Path) -> None:
    """Nothing is wrong but the missing engine: that is where it ends."""
    result = run(project, "pytest", "chaos", "-q", "-k", "killed", environment=NO_ENGINE)
    assert result.returncode == 2
    assert "DOCKER_HOST names it" in one_sentence(result.stdout)
