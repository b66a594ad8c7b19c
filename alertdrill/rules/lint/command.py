"""``alertdrill rules check``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from alertdrill.rules.lint.finding import Severity
from alertdrill.rules.lint.formats import FORMATS
from alertdrill.rules.lint.run import Given, Report, lint
from alertdrill.verdict import Verdict


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"


def check(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Rule files, or folders that hold some."),
    ],
    prometheus: Annotated[
        Path | None,
        typer.Option(help="prometheus.yml: judges intervals, jobs, and which files are loaded."),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|URL",
            help="What targets expose (text or OpenMetrics): judges names, labels, types and "
            "buckets. Repeat it for each target that the rules ask for.",
        ),
    ] = None,
    alertmanager: Annotated[
        Path | None,
        typer.Option(help="alertmanager.yml: judges who is told, and when."),
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print the findings.")] = Format.TEXT,
    fail_on: Annotated[
        Severity, typer.Option(help="The least severity that makes the exit code 1.")
    ] = Severity.ERROR,
) -> None:
    """Say what is wrong with alert rules before they are loaded: no stack, no Docker.

    Rule files alone are enough: `alertdrill rules check alerts.yml`. In a folder, prometheus.yml
    and alertmanager.yml are recognised by what they hold, and rules are judged by them, too:
    `alertdrill rules check monitoring/`. With a target's metrics it also finds what can never
    match: `alertdrill rules check monitoring/ --metrics http://localhost:8001/metrics`.

    Each finding is `file:line:col severity code message`, below it what to do. Codes: AD1xx
    configuration, AD2xx never fires, AD3xx fires wrongly, AD4xx unusable when it fires; each is
    explained in docs/rules-check.md.

    A comment above a rule or in it switches a check off, with a reason:
    `# alertdrill: ignore AD402 because the summary says it all`.

    Exit codes: 0 clean, 1 findings (of --fail-on or worse), 3 a rule that could not be judged
    (AD108), 2 wrong usage, such as no rule file.
    """
    report = lint(paths, Given(prometheus, alertmanager, tuple(metrics or ())))
    typer.echo(FORMATS[format](report))
    raise typer.Exit(exit_code(report, fail_on))


def exit_code(report: Report, fail_on: Severity) -> int:
    """1 when a finding is as severe as ``fail_on``, 3 when not all was judged, otherwise 0."""
    failing = report.count(Severity.ERROR)
    if fail_on is Severity.WARNING:
        failing += report.count(Severity.WARNING)
    if failing:
        return Verdict.FAIL.value
    verdict = Verdict.PASS if report.is_complete else Verdict.UNKNOWN
    return verdict.value
