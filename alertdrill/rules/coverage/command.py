"""``alertdrill rules coverage``: which fault fires which alert, and what nothing proves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from alertdrill.config import Config, load_config
from alertdrill.errors import UsageError
from alertdrill.rules.coverage.judge import NO_REASONS, Reasons, judge
from alertdrill.rules.coverage.live import load_live
from alertdrill.rules.coverage.matrix import join
from alertdrill.rules.coverage.replayed import load_replayed
from alertdrill.rules.coverage.show import document, show
from alertdrill.rules.model import AlertRule, load_prometheus, load_rules
from alertdrill.rules.project import project_root
from alertdrill.verdict import Verdict

LATEST = Path("out", "latest", "verdict.json")
# Of a file or a pipe: nothing is folded.
_UNFOLDED_WIDTH = 200


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


def coverage(
    rules: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RULES...", help="Only the alerts of these rule files [the project's]."
        ),
    ] = None,
    live: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The verdict.json of a gate [out/latest/verdict.json, without --virtual].",
        ),
    ] = None,
    virtual: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What `alertdrill rules replay --format json` printed."),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TEXT,
) -> None:
    """Say which alerts no fault fires, which faults no alert notices, which alerts fire for the
    wrong fault, and where live drills and their replays differ.

    Exit codes: 0 every alert fires for the right faults and every fault is noticed, or
    alertdrill.toml says why not; 1 not so; 3 something was not judged; 2 wrong usage.
    """
    project = _project()
    if live is None and virtual is None:
        live = _latest(project)
        if live is None:
            typer.echo(
                f"verdict: unknown (no run was judged: `alertdrill gate` leaves {LATEST}, or name "
                "one with --live, or a replay with --virtual)",
                err=True,
            )
            raise typer.Exit(Verdict.UNKNOWN.value)
    run = None if live is None else load_live(live)
    replayed = None if virtual is None else load_replayed(virtual)
    if project is not None and run is not None:
        project.refuse_stale_reasons(run.expected)
    matrix = join(run, replayed, _alerts(rules, project))
    judgement = judge(matrix, NO_REASONS if project is None else _reasons(project))
    if output is Format.JSON:
        typer.echo(json.dumps(document(judgement), indent=2, ensure_ascii=False))
    else:
        console = Console()
        show(judgement, console if console.is_terminal else Console(width=_UNFOLDED_WIDTH))
    raise typer.Exit(judgement.verdict.value)


def _project() -> Config | None:
    """The project around the current folder; coverage needs none."""
    root = project_root()
    return None if root is None else load_config(root)


def _latest(project: Config | None) -> Path | None:
    latest = LATEST if project is None else project.path(LATEST)
    if not latest.is_file():
        return None
    here = Path.cwd()
    return latest.relative_to(here) if latest.is_relative_to(here) else latest


def _alerts(rules: Sequence[Path] | None, project: Config | None) -> tuple[str, ...] | None:
    """In the order of the files; None where there are no rules to ask."""
    if rules:
        return _named(rules, rules[0])
    if project is None:
        return None
    prometheus = load_prometheus(project.path(project.monitoring.prometheus))
    return tuple(project.drillable(_named(prometheus.rule_files, prometheus.path)))


def _named(files: Iterable[Path], asked: Path) -> tuple[str, ...]:
    names = [
        rule.name
        for path in files
        for group in load_rules(path).groups
        for rule in group.rules
        if isinstance(rule, AlertRule)
    ]
    if not names:
        raise UsageError("defines no alert: there is nothing to cover", file=asked)
    return tuple(dict.fromkeys(names))


def _reasons(project: Config) -> Reasons:
    unnoticed = {name: note.unnoticed for name, note in project.faults.items()}
    return Reasons(project.undrilled, unnoticed)
