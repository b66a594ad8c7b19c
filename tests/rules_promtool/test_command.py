"""`alertdrill rules test`, and the same files as items of anybody's pytest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer

from alertdrill.errors import UsageError
from alertdrill.rules.testing.command import run_tests
from alertdrill.rules.testing.pytest_plugin import INI

from .test_promtool import RULES, TESTS

PLUGIN = "alertdrill.rules.testing.pytest_plugin"


@pytest.fixture
def suite(write) -> Path:
    write("rules.yml", RULES)
    return write("some.test.yml", TESTS)


def code_of(paths: list[Path], **options: object) -> int:
    defaults = {"select": "", "junit": None, "allure": None, "quiet": True}
    with pytest.raises(typer.Exit) as ended:
        run_tests(paths, **{**defaults, **options})  # type: ignore[arg-type]
    return ended.value.exit_code


@pytest.mark.docker
def test_a_failing_case_is_shown_with_its_line(suite, tmp_path, capfd):
    junit, allure = tmp_path / "junit.xml", tmp_path / "allure"
    assert code_of([suite.parent], junit=junit, allure=allure) == 1
    printed = capfd.readouterr().out
    assert f"{suite}:7: unnamed#1" in printed
    assert "alertname: A, time: 3m" in printed
    assert "Traceback" not in printed
    (sum_up,) = ElementTree.parse(junit).iter("testsuite")
    assert (sum_up.get("tests"), sum_up.get("failures")) == ("2", "1")
    assert len(list(allure.glob("*-result.json"))) == 2


@pytest.mark.docker
def test_cases_are_chosen_by_name(suite, capfd):
    assert code_of([suite], select="fires") == 0
    assert "1 passed, 1 deselected" in capfd.readouterr().out
    assert code_of([suite], select="no_such_case") == 3


@pytest.mark.docker
def test_the_others_run_beside_a_broken_file_which_is_said(suite, write, capfd):
    write("broken.test.yml", "rule_files: [a\ntests: []\n")
    assert code_of([suite.parent], select="fires") == 2
    printed = capfd.readouterr()
    assert "1 passed" in printed.out
    assert f"not run: {suite.parent}/broken.test.yml:2: " in printed.err
    assert code_of([suite.parent]) == 1


def test_nothing_but_broken_files_is_wrong_usage(write, tmp_path):
    write("broken.test.yml", "rule_files: [a\ntests: []\n")
    with pytest.raises(UsageError, match=r"broken\.test\.yml:2: "):
        run_tests([tmp_path], "", None, None, True)


def test_nothing_to_test_is_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match="no promtool test file"):
        run_tests([tmp_path], "", None, None, True)


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    without = ("-p", "no:alertdrill", "-p", "no:alertdrill-rules", "-p", "no:locust")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *without, "-p", PLUGIN, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_in_a_project_that_names_no_files_nothing_is_collected(suite):
    ran = run_pytest(suite.parent, "--collect-only", "-q")
    assert ran.returncode == 5, ran.stdout
    assert "no tests collected" in ran.stdout


def test_a_project_names_its_files(suite, write):
    write("pytest.ini", f"[pytest]\n{INI} = *.test.yml\n")
    ran = run_pytest(suite.parent, "--collect-only", "-q")
    assert "some.test.yml::fires" in ran.stdout
    assert "some.test.yml::unnamed#1" in ran.stdout
    assert "rules.yml" not in ran.stdout


@pytest.mark.docker
@pytest.mark.parametrize("workers", ["0", "2"])
def test_each_case_is_an_item_also_for_xdist(suite, write, promtool, workers):
    write("pytest.ini", f"[pytest]\n{INI} = *.test.yml\n")
    ran = run_pytest(suite.parent, "-n", workers, f"--promtool={promtool}")
    assert "1 failed, 1 passed" in ran.stdout
    assert ran.returncode == 1


def test_a_broken_test_file_is_an_error_of_collection(write, tmp_path):
    write("pytest.ini", f"[pytest]\n{INI} = *.test.yml\n")
    path = write("some.test.yml", "rule_files: []\ntests: []\n")
    ran = run_pytest(tmp_path)
    assert f"{path}:2: tests is empty" in ran.stdout
    assert "Traceback" not in ran.stdout
    assert ran.returncode == 2
