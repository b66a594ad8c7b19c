"""Rule files for tests, written down in a line or two."""

from __future__ import annotations

from pathlib import Path

from alertdrill.rules.lint.examples import example
from alertdrill.rules.lint.run import Given, Report, lint

REPOSITORY = Path(__file__).resolve().parents[2]
GUIDE = REPOSITORY / "tests/data/guide"
MONITORING = REPOSITORY / "monitoring"
MIXINS = REPOSITORY / "tests/data/lint/clean-mixins.yml"

GOOD = example('up{job="app"} == 0')


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def judge(folder: Path, metrics: str = "", **files: str) -> Report:
    """Lint of ``files`` (``rules=…`` becomes rules.yml) in ``folder``."""
    for name, text in files.items():
        (folder / f"{name}.yml").write_text(text, encoding="utf-8")
    given = Given()
    if metrics:
        (folder / "metrics.txt").write_text(metrics, encoding="utf-8")
        given = Given(metrics=(str(folder / "metrics.txt"),))
    return lint([folder], given)


def judge_expr(folder: Path, expr: str, metrics: str = "", **files: str) -> set[str]:
    """The codes that one alert with ``expr`` gets."""
    indented = "\n".join(f"          {line}" for line in expr.strip().splitlines())
    return codes(judge(folder, metrics, rules=example(f"|\n{indented}"), **files))
