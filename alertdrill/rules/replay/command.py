"""``alertdrill rules replay``: what the untouched rules would have done on recorded faults."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alertdrill.config import load_config
from alertdrill.errors import UsageError
from alertdrill.rules.durations import format_ms, parse_ms
from alertdrill.rules.model import DEFAULT_INTERVAL_S, RuleFile, load_prometheus, load_rules
from alertdrill.rules.project import project_root
from alertdrill.rules.project import prometheus as find_prometheus
from alertdrill.rules.project import promtool as find_promtool
from alertdrill.rules.replay.answers import MAY_FIRE, QUIET, Answer, Options
from alertdrill.rules.replay.expect import (
    Expectation,
    load_expectations,
    load_unjudged,
    refuse_unknown_alerts,
)
from alertdrill.rules.replay.ruleset import RuleSet
from alertdrill.rules.replay.segments import Segments, load_segments
from alertdrill.rules.replay.virtual import Compared, compare_with_live, virtual_verdicts
from alertdrill.verdict import Verdict

SCHEMA = 1


def replay(
    rules: Annotated[list[Path], typer.Argument(metavar="RULES", help="Rule files.")],
    segments: Annotated[
        Path, typer.Option(metavar="DIR", help="What live drills recorded: out/latest/segments.")
    ],
    expect: Annotated[
        Path, typer.Option(metavar="TABLE", help="What each alert must do under each fault.")
    ],
    prometheus: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="prometheus.yml, for intervals and external labels."),
    ] = None,
    history: Annotated[
        str, typer.Option(metavar="TIME", help="How long the healthy history is, e.g. 30d.")
    ] = "1d",
    alert: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this alert; may be repeated.")
    ] = None,
    select: Annotated[
        str | None, typer.Option("-k", metavar="TEXT", help="Only faults with this in their name.")
    ] = None,
    trips: Annotated[
        bool, typer.Option(help="Look for the shortest fault, and the least of it, that fires.")
    ] = True,
    live: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The verdict.json of the drills, to compare with."),
    ] = None,
    output: Annotated[
        str, typer.Option("--format", metavar="text|json", help="For people or for machines.")
    ] = "text",
) -> None:
    """Judge the untouched rules on recorded faults, in virtual time.

    Each fault that the table names is played after healthy times and followed by them; both a
    Prometheus and promtool judge every evaluation, and must agree. Exit codes: 0 all as the
    table says, 1 an alert does otherwise, 3 something could not be judged, 2 wrong usage.
    """
    if output not in ("text", "json"):
        raise UsageError(f"--format is text or json, not {output!r}")
    rule_set = rules_of(rules, prometheus)
    unjudged = load_unjudged(expect, rule_set.alerts)
    alerts = _chosen(rule_set, alert, unjudged)
    expectations = _selected(_table(expect, rule_set), select, expect)
    refuse_unknown_alerts(expectations, rule_set.alerts)
    healthy_s = _duration_s(history)
    recorded = load_segments(segments, _metrics(rule_set, alerts))
    for expectation in expectations:
        recorded.drill_of(expectation.segment)
    errors = Console(stderr=True)
    for complaint in recorded.complaints:
        errors.print(str(complaint), style="yellow", highlight=False, soft_wrap=True)
    with errors.status("replay") as status:
        answers = virtual_verdicts(
            rule_set,
            recorded,
            expectations,
            prometheus=find_prometheus(),
            promtool=find_promtool(),
            alerts=alerts,
            options=Options(healthy_s=healthy_s, trips=trips),
            tell=lambda words: status.update(f"replay {words}"),
        )
    compared = () if live is None else compare_with_live(_run_verdict(live), answers)
    if output == "json":
        found = document(answers, compared, recorded, unjudged)
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        console = Console()
        console = console if console.is_terminal else Console(width=160)
        show(answers, compared, console)
        for name, why in unjudged.items():
            console.print(f"not judged: {escape(name)}: {escape(why)}", highlight=False)
    raise typer.Exit(_worst(answers, compared).value)


def rules_of(paths: Sequence[Path], prometheus: Path | None = None) -> RuleSet:
    """The rule files in ``paths`` with what ``prometheus`` says of intervals and labels.

    Raises UsageError with file and line.
    """
    files: list[RuleFile] = [load_rules(path) for path in paths]
    if prometheus is None:
        rules = RuleSet(tuple(files), DEFAULT_INTERVAL_S)
    else:
        config = load_prometheus(prometheus)
        rules = RuleSet(tuple(files), config.evaluation_interval_s, config.external_labels)
    if not rules.alerts:
        raise UsageError("it defines no alert: there is nothing to judge", file=paths[0])
    return rules


def _metrics(rules: RuleSet, alerts: Sequence[str]) -> frozenset[str] | None:
    """What to read of the segments; targets are told apart by ``up``."""
    metrics = rules.metrics_of(alerts)
    return None if metrics is None else metrics | {"up"}


def _chosen(
    rules: RuleSet, names: Sequence[str] | None, unjudged: Collection[str]
) -> tuple[str, ...]:
    unknown = sorted(set(names or ()) - set(rules.alerts))
    if unknown:
        raise UsageError(
            f"--alert {', '.join(unknown)}: no rule defines it; the rules define "
            f"{', '.join(rules.alerts)}"
        )
    wanted = names or [name for name in rules.alerts if name not in unjudged]
    return tuple(name for name in rules.replayable if name in wanted)


def _table(path: Path, rules: RuleSet) -> tuple[Expectation, ...]:
    """The table, with what the project around promised of alerts that ``rules`` define."""
    root = project_root()
    promised = load_config(root).alerts if root is not None else {}
    own = {name: promise for name, promise in promised.items() if name in rules.alerts}
    return load_expectations(path, own)


def _selected(
    table: Sequence[Expectation], text: str | None, path: Path
) -> tuple[Expectation, ...]:
    if text is None:
        return tuple(table)
    found = tuple(row for row in table if text.lower() in row.segment.lower())
    if not found:
        known = ", ".join(row.segment for row in table)
        raise UsageError(f"-k {text!r} is in the name of no fault; there are {known}", file=path)
    return found


def _duration_s(text: str) -> float:
    try:
        ms = parse_ms(text)
    except ValueError as error:
        raise UsageError(f"--history: {error}") from None
    if not ms:
        raise UsageError("--history must be longer than nothing")
    return ms / 1000


def _run_verdict(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"is no verdict.json of a run: {error}", file=path) from None
    if not isinstance(found, dict) or not {"clock", "drills"} <= found.keys():
        raise UsageError("is no verdict.json of a run: it has no clock or no drills", file=path)
    return found


def _worst(answers: Sequence[Answer], compared: Sequence[Compared]) -> Verdict:
    verdicts = [answer.verdict for answer in answers]
    return Verdict.worst([*verdicts, *(one.verdict for one in compared)])


def document(
    answers: Sequence[Answer],
    compared: Sequence[Compared],
    segments: Segments,
    unjudged: Mapping[str, str],
) -> dict[str, object]:
    """What ``--format json`` prints."""
    return {
        "schema": SCHEMA,
        "verdict": _worst(answers, compared).word,
        "answers": [answer.document() for answer in answers],
        "live": [one.document() for one in compared],
        "unjudged": dict(unjudged),
        "complaints": [str(complaint) for complaint in segments.complaints],
    }


_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.UNKNOWN: "yellow"}


def show(answers: Sequence[Answer], compared: Sequence[Compared], console: Console) -> None:
    """A row for each alert that fires or should; what is wrong or unknown in words below them;
    what stayed quiet is counted."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("", "fault", "alert", "fires after", "resolves after", "trips from"):
        table.add_column(column, no_wrap=True)
    quiet: dict[str, int] = {}
    said: dict[tuple[Verdict, str, str], list[str]] = {}
    for answer in answers:
        under = _under(answer)
        if answer.message:
            said.setdefault((answer.verdict, answer.alert, answer.message), []).append(under)
        if answer.expected != QUIET or answer.fires_after_s is not None:
            table.add_row(
                _word(answer.verdict),
                escape(under),
                answer.alert + (" (may)" if answer.expected == MAY_FIRE else ""),
                _limited(answer.fires_after_s, answer.within_s),
                _limited(answer.resolves_after_s, answer.resolved_within_s),
                _trip(answer),
            )
        elif answer.verdict is Verdict.PASS:
            quiet[under] = quiet.get(under, 0) + 1
    if table.row_count:
        console.print(table)
    for under, count in quiet.items():
        quietly = f"{_word(Verdict.PASS)}  {escape(under)}: {_plural(count, 'alert')} quiet"
        console.print(quietly, highlight=False)
    for (verdict, alert, message), where in said.items():
        words = f"{alert} {message} ({', '.join(where)})"
        console.print(_word(verdict), escape(words), highlight=False, soft_wrap=True, sep="  ")
    for one in compared:
        if one.verdict is not Verdict.PASS:
            words = f"live drill {one.drill}: {one.alert} {one.message}"
            console.print(
                _word(one.verdict), escape(words), highlight=False, soft_wrap=True, sep="  "
            )
    agreeing = sum(one.verdict is Verdict.PASS for one in compared)
    if compared:
        console.print(f"live drills agree on {agreeing} of {len(compared)}", highlight=False)
    counts = [
        f"{sum(answer.verdict is verdict for answer in answers)} {verdict.word}"
        for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN)
    ]
    worst = _worst(answers, compared)
    console.print(f"verdict: {_word(worst)} ({', '.join(counts)})", highlight=False)


def _word(verdict: Verdict) -> str:
    return f"[{_STYLES[verdict]}]{verdict.word}[/]"


def _under(answer: Answer) -> str:
    return f"{answer.segment} for {_time(answer.duration_s)}"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else format_ms(round(seconds * 1000))


def _limited(seconds: float | None, limit_s: float | None) -> str:
    rounded = None if seconds is None else float(round(seconds))
    return _time(rounded) if limit_s is None else f"{_time(rounded)} (≤ {_time(limit_s)})"


def _trip(answer: Answer) -> str:
    if answer.trip_s is None:
        return "–"
    dose = "" if answer.dose is None else f", {answer.dose:.0%} of it"
    return _time(answer.trip_s) + dose
