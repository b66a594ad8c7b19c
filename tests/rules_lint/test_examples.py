"""Every check catches its failing example and lets its passing example go."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertdrill.rules.lint.checks import ALL, BY_CODE
from alertdrill.rules.lint.finding import Check, Severity
from alertdrill.rules.lint.run import Given, Report, lint


def _judged(check: Check, text: str, folder: Path, beside: dict[str, str]) -> Report:
    metrics: tuple[str, ...] = ()
    for name, content in {**beside, check.about: text}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        if name == "metrics.txt":
            metrics = (str(file),)
    return lint([folder], Given(metrics=metrics))


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.code)
def test_the_failing_example_is_caught(check: Check, tmp_path: Path) -> None:
    report = _judged(check, check.bad, tmp_path, {**check.beside, **check.bad_beside})
    found = [finding for finding in report.findings if finding.code == check.code]
    assert found, [f"{finding.code} {finding.message}" for finding in report.findings]
    assert all(finding.file.name == check.about for finding in found)
    assert all(finding.fix and finding.message for finding in found)


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.code)
def test_the_passing_example_is_clean(check: Check, tmp_path: Path) -> None:
    report = _judged(check, check.good, tmp_path, dict(check.beside))
    assert [
        f"{finding.where} {finding.code} {finding.message}" for finding in report.findings
    ] == []
    assert report.rules > 0


def test_codes_are_unique_and_grouped() -> None:
    codes = [check.code for check in ALL]
    assert len(set(codes)) == len(codes)
    assert {code[:3] for code in codes} == {"AD1", "AD2", "AD3", "AD4"}
    assert set(BY_CODE) == set(codes)


def test_every_check_says_why_and_what_to_do() -> None:
    for check in ALL:
        assert check.title, check.code
        assert check.why.endswith("."), check.code
        assert check.fix, check.code
        assert check.severity in Severity
