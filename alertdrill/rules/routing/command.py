"""``alertdrill rules routing``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from alertdrill.config import Config, find_root, load_config
from alertdrill.errors import AlertdrillError, UsageError
from alertdrill.rules.document import read_document
from alertdrill.rules.lint.exposition import load_exposition
from alertdrill.rules.model import RuleFile, load_monitoring, load_prometheus, load_rules
from alertdrill.rules.project import alertmanager as find_alertmanager
from alertdrill.rules.project import promtool as find_promtool
from alertdrill.rules.routing import show
from alertdrill.rules.routing.run import Question, answer
from alertdrill.verdict import Verdict


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


def routing(
    rules: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RULES]...", help="Rule files [the project's]."),
    ] = None,
    alertmanager: Annotated[
        Path | None, typer.Option(metavar="FILE", help="alertmanager.yml [the project's].")
    ] = None,
    prometheus: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="prometheus.yml, for rule files and external labels."),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|URL", help="What targets expose: the labels that alerts have."),
    ] = None,
    factor: Annotated[
        float | None,
        typer.Option(
            min=1, max=86_400, help="What every wait is divided by [so that it takes seconds]."
        ),
    ] = None,
    format: Annotated[Format, typer.Option(help="For people or for machines.")] = Format.TEXT,
) -> None:
    """Say where every alert goes, by a real Alertmanager with the project's configuration.

    Every alert that the rules can fire is posted with the labels that it really has: which
    receivers are told, in which groups, how soon, again, and when it has ended; which alerts
    inhibit it; whether a silence holds; whether all templates render. Nothing leaves this
    machine: each receiver is replaced by a recorder on loopback, and waits are divided.

    In a project (alertdrill.toml) without arguments: its monitoring, against [alerts.X].
    Elsewhere: `alertdrill rules routing alerts.yml --alertmanager alertmanager.yml`.

    Exit codes: 0 pass, 1 fail, 3 unknown (no Alertmanager could be had, …), 2 wrong usage or a
    configuration that Alertmanager refuses.
    """
    question = _question(rules or (), alertmanager, prometheus, metrics or (), factor)
    try:
        report = answer(question, find_alertmanager, find_promtool)
    except UsageError:
        raise
    except AlertdrillError as error:
        _say_unknown(str(error), format)
        raise typer.Exit(Verdict.UNKNOWN.value) from error
    if format is Format.JSON:
        print(json.dumps(show.document(report), indent=2, ensure_ascii=False))
    else:
        print(show.text(report))
    raise typer.Exit(report.verdict.value)


def _say_unknown(reason: str, format: Format) -> None:
    if format is Format.JSON:
        found = {"schema": show.SCHEMA, "verdict": Verdict.UNKNOWN.word, "reason": reason}
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print(f"verdict: {Verdict.UNKNOWN.word}: {reason}", file=sys.stderr)


def _question(
    rules: Sequence[Path],
    alertmanager: Path | None,
    prometheus: Path | None,
    metrics: Sequence[str],
    factor: float | None,
) -> Question:
    exposed = load_exposition(metrics) if metrics else None
    if not rules and alertmanager is None and prometheus is None:
        config = _project()
        monitoring = load_monitoring(
            config.path(config.monitoring.prometheus),
            config.path(config.monitoring.alertmanager),
            may_have_unread=True,
        )
        unread = [rule.name for file in monitoring.files for rule in file.unread]
        config.refuse_unknown_alerts({*monitoring.alerts, *unread})
        return Question(
            rule_files=monitoring.files,
            alertmanager=monitoring.alertmanager.path,
            external_labels=monitoring.prometheus.external_labels,
            metrics=exposed,
            table=config.alerts,
            complete=True,
            factor=factor,
            notes=_relabelling(monitoring.prometheus.path),
        )
    if alertmanager is None:
        raise UsageError("routing needs --alertmanager FILE beside the rules")
    if not rules and prometheus is None:
        raise UsageError("routing needs rule files, or --prometheus FILE that names them")
    scraping = load_prometheus(prometheus) if prometheus is not None else None
    paths = rules or (scraping.rule_files if scraping is not None else ())
    files: list[RuleFile] = [load_rules(path) for path in dict.fromkeys(paths)]
    return Question(
        rule_files=tuple(files),
        alertmanager=alertmanager,
        external_labels=scraping.external_labels if scraping is not None else {},
        metrics=exposed,
        factor=factor,
        notes=_relabelling(prometheus) if prometheus is not None else (),
    )


def _project() -> Config:
    try:
        root = find_root(Path.cwd())
    except UsageError as error:
        raise UsageError(f"{error}, or give rule files and --alertmanager FILE") from error
    return load_config(root)


def _relabelling(prometheus: Path) -> tuple[str, ...]:
    top = read_document(prometheus).entries()
    if "alerting" in top and "alert_relabel_configs" in top["alerting"].entries():
        return (f"{prometheus}: alert_relabel_configs are not applied to the labels",)
    return ()
