"""Text for people, and three formats for machines that CI systems read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import typer
from typer.testing import CliRunner

from alertdrill.rules.lint.checks import BY_CODE
from alertdrill.rules.lint.command import check
from alertdrill.rules.lint.finding import Finding, Severity, Spot
from alertdrill.rules.lint.formats import FORMATS
from alertdrill.rules.lint.run import Report, lint
from tests.rules_lint.files import GOOD, GUIDE, REPOSITORY

# The parts of SARIF 2.1.0 that are required, and those that code hosts ask for.
SARIF = {
    "type": "object",
    "required": ["$schema", "version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name", "rules"],
                                "properties": {
                                    "rules": {
                                        "type": "array",
                                        "items": {
                                            "type": "object",
                                            "required": ["id", "shortDescription", "help"],
                                        },
                                    }
                                },
                            }
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["ruleId", "ruleIndex", "level", "message", "locations"],
                            "properties": {
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": {"type": "object", "required": ["text"]},
                                "locations": {
                                    "type": "array",
                                    "minItems": 1,
                                    "items": {
                                        "type": "object",
                                        "required": ["physicalLocation"],
                                        "properties": {
                                            "physicalLocation": {
                                                "type": "object",
                                                "required": ["artifactLocation", "region"],
                                                "properties": {
                                                    "region": {
                                                        "type": "object",
                                                        "required": ["startLine", "startColumn"],
                                                        "properties": {
                                                            "startLine": {
                                                                "type": "integer",
                                                                "minimum": 1,
                                                            },
                                                            "startColumn": {
                                                                "type": "integer",
                                                                "minimum": 1,
                                                            },
                                                        },
                                                    }
                                                },
                                            }
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


@pytest.fixture(scope="module")
def guide() -> Report:
    return lint([GUIDE])


def test_text_is_one_line_and_what_to_do(guide: Report) -> None:
    lines = FORMATS["text"](guide).splitlines()
    first = guide.findings[0]
    assert lines[0].startswith(f"{first.file}:{first.spot.line}:{first.spot.column} ")
    assert f" {first.severity} {first.code} " in lines[0]
    assert lines[1] == f"    {first.fix}"
    assert len(lines) == 2 * len(guide.findings) + 1
    assert lines[-1] == "5 errors, 12 warnings in 4 rules, 2 files"


def test_json_has_every_finding(guide: Report) -> None:
    document = json.loads(FORMATS["json"](guide))
    assert document["schema"] == "alertdrill.rules.check/1"
    assert (document["errors"], document["warnings"]) == (5, 12)
    assert len(document["findings"]) == 17
    found = {(f["code"], f["rule"], f["line"], f["column"]) for f in document["findings"]}
    assert ("AD201", "SyncLatencyHigh", 16, 36) in found
    assert ("AD105", None, 6, 1) in found


def test_sarif_is_valid_and_points_at_its_rules(
    guide: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    document = json.loads(FORMATS["sarif"](guide))
    jsonschema.validate(document, SARIF)
    run = document["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert len(run["results"]) == len(guide.findings)
    for result, finding in zip(run["results"], guide.findings, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == finding.code
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert (REPOSITORY / uri).is_file()


def test_junit_fails_by_each_finding(guide: Report) -> None:
    root = ElementTree.fromstring(FORMATS["junit"](guide))
    suite = root.find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    assert suite.get("tests") == suite.get("failures") == str(len(cases)) == "17"
    assert all(case.find("failure") is not None for case in cases)


def test_a_clean_run_is_a_test_that_passed(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(GOOD)
    report = lint([tmp_path])
    root = ElementTree.fromstring(FORMATS["junit"](report))
    assert [case.find("failure") for case in root.iter("testcase")] == [None]
    jsonschema.validate(json.loads(FORMATS["sarif"](report)), SARIF)
    assert json.loads(FORMATS["json"](report))["findings"] == []
    assert FORMATS["text"](report) == "0 errors, 0 warnings in 1 rule, 1 file"


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_any_words_survive(format: str) -> None:
    strange = 'a "b" <c> & \x00\x1b ünï\ud800'
    finding = Finding(Path(f"{strange[:9]}.yml"), Spot(1, 1), Severity.ERROR, "AD101", strange, "x")
    text = FORMATS[format](Report((finding,), 1, 0))
    printed = text.encode("utf-8", "replace").decode()
    if format == "junit":
        ElementTree.fromstring(printed)
    elif format != "text":
        json.loads(printed)


# --- the command ---------------------------------------------------------------------------


def _run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(check)
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_exit_codes(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(GOOD)
    assert _run(str(rules))[0] == 0
    rules.write_text(GOOD.replace("{severity: critical}", "{team: app}"))
    assert _run(str(rules))[0] == 0
    assert _run(str(rules), "--fail-on", "warning")[0] == 1
    rules.write_text(GOOD.replace("== 0", "< 0"))
    assert _run(str(rules), "--fail-on", "error")[0] == 1
    newer = GOOD.replace("== 0", "> 1_000")
    rules.write_text(newer)
    assert _run(str(rules))[0] == 3
    assert _run(str(rules), "--fail-on", "warning")[0] == 1
    rules.write_text(newer + GOOD.split("rules:\n")[1].replace("== 0", "< 0"))
    assert _run(str(rules))[0] == 1
    rules.write_text("# alertdrill: ignore AD108 because promtool accepts it\n" + newer)
    assert _run(str(rules))[0] == 0
    assert _run(str(rules), "--format", "xml")[0] == 2
    assert _run()[0] == 2


def test_several_metrics_and_companions_by_option(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    rules = tmp_path / "rules/app.yml"
    rules.write_text(GOOD.replace('up{job="app"} == 0', "rate(a_total[1m]) > 1 and b > 1"))
    for name in ("a_total", "b"):
        (tmp_path / f"{name}.txt").write_text(f"{name} 1\n")
    prometheus = tmp_path / "prometheus.yml"
    prometheus.write_text(
        "global: {scrape_interval: 30s}\nrule_files: [/etc/prometheus/rules/*.yml]\n"
    )
    one = [str(rules), "--metrics", str(tmp_path / "a_total.txt")]
    assert "no exposed series is called b" in _run(*one)[1]
    both = [*one, "--metrics", str(tmp_path / "b.txt")]
    assert _run(*both)[0] == 0
    code, output = _run(*both, "--prometheus", str(prometheus))
    assert code == 1
    assert "AD114" in output
    assert "AD209" not in output
    assert "AD113" not in output
    assert "AD112" not in output


def test_help_teaches() -> None:
    code, output = _run("--help")
    words = " ".join(output.split())
    assert code == 0
    for expected in ("alertdrill rules check alerts.yml", "alertdrill: ignore AD402", "Exit codes"):
        assert expected in words


def test_the_documentation_is_what_the_checks_say() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    printed = subprocess.run(
        [sys.executable, "-m", "alertdrill.rules.lint.catalogue"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=REPOSITORY,
        env=environment,
    ).stdout
    assert (REPOSITORY / "docs/rules-check.md").read_text(encoding="utf-8") == printed
    assert all(f"## {code}\n" in printed for code in BY_CODE)


def test_pipes_are_read_like_files(tmp_path: Path) -> None:
    bad = GOOD.replace("== 0", "< 0")
    queue = GOOD.replace('up{job="app"} == 0', "queue_length > 5")
    command = f"{sys.executable} -m alertdrill rules check"

    def run(arguments: str, text: str = "") -> tuple[int, str]:
        done = subprocess.run(
            ["/bin/bash", "-c", f"{command} {arguments}"],
            env={**os.environ, "PATH": os.defpath},
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    code, output = run("/dev/stdin", bad)
    assert (code, "/dev/stdin:5:15 error AD205" in output) == (1, True), output
    assert run("/dev/stdin", GOOD)[0] == 0
    (tmp_path / "bad.yml").write_text(bad)
    assert run("<(cat bad.yml)")[0] == 1
    assert run("/dev/stdin --metrics <(echo queue_length 1)", queue)[0] == 0
    code, output = run("/dev/stdin --metrics <(echo b 1)", queue)
    assert (code, "AD206" in output) == (1, True), output
    assert run("/dev/null")[0] == 2
