"""``alertdrill faults`` and ``alertdrill fault inject``: which there are, and one by hand."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from alertdrill import assemble
from alertdrill.config import find_root, load_config
from alertdrill.errors import UsageError
from alertdrill.faults.by_hand import hold
from alertdrill.faults.catalogue import asked_for, catalogue
from alertdrill.report.faults import document, markdown, terminal_table
from alertdrill.rules.durations import parse_ms
from alertdrill.stack.engine import connect
from alertdrill.stack.kept import KeptStack, kept_run
from alertdrill.tables import drills_of
from alertdrill.verdict import Verdict


class Format(StrEnum):
    """How ``alertdrill faults`` prints."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def faults(
    output: Annotated[
        Format,
        typer.Option("--format", help="markdown: docs/faults.md, with the project's drills."),
    ] = Format.TABLE,
) -> None:
    """List every fault: its layer, how it is written, what it breaks and how that is proven.

    How it is written is what a drill's table and `alertdrill fault inject` take. `client` is the
    component whose traffic is meant to meet it, and whose kernel counts that.
    """
    entries = catalogue()
    match output:
        case Format.JSON:
            print(json.dumps(document(entries), indent=2, ensure_ascii=False))
        case Format.MARKDOWN:
            config = load_config(find_root(Path.cwd()))
            print(markdown(entries, drills_of(config), assemble.runbooks(config), config.slis))
        case Format.TABLE:
            console = Console()
            wide = console if console.is_terminal else Console(width=160)
            wide.print(terminal_table(entries), highlight=False)


fault_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@fault_app.callback()
def fault() -> None:
    """Break a stack that `alertdrill up` started, by hand and for a while."""


@fault_app.command()
def inject(
    fault: Annotated[
        str,
        typer.Argument(
            metavar="FAULT",
            help="A drill's title, a fault's name as in verdict.json, or one written down.",
        ),
    ],
    duration: Annotated[str, typer.Option("--for", help="How long, as Prometheus writes it.")] = (
        "30s"
    ),
    run: Annotated[
        str | None, typer.Option(help="Whose stack, as `status` calls it [the only one].")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of its chance [alertdrill.toml].")] = None,
) -> None:
    """Inject one fault into the stack that `alertdrill up` left running, and heal it again.

    It is proven, held for a while, healed, and the stack is compared with what it was before.
    Ctrl-C heals at once. A guardian in the background heals if this command is killed, or when it
    hangs beyond its time.

    \b
    alertdrill fault inject "PostgreSQL refuses connections"
    alertdrill fault inject 'Latency("redis", 200, client="hub")' --for 1m

    The stack is another run's, so alertdrill.toml must allow it: `allow_faults = true` and a
    `time_limit` in [foreign]. A stack that can be reached from outside this machine is refused.

    Exit codes: 0 it bit, is healed, and all is as it was; 3 one of these could not be seen; 2
    refused, or wrong usage; 130 interrupted, and healed.
    """
    config = load_config(find_root(Path.cwd()))
    drills = drills_of(config)
    known = [(drill.title, drill.fault) for drill in drills]
    wanted = asked_for(fault, known).seeded(config.gate.seed if seed is None else seed)
    seconds = _seconds(duration)
    config.refuse_fault(seconds)
    client = connect()
    run_id = kept_run(client, run)
    stack = KeptStack(client, config.load_stack(), run_id)

    def tell(what: str) -> None:
        print(f"  {what}", flush=True)

    print(f"{wanted.name} on run {run_id}, for {duration}; Ctrl-C heals at once", flush=True)
    held = hold(wanted, stack, seconds, project=config.root, tell=tell)
    for change in held.changes:
        print(f"  not as it was: {change}", file=sys.stderr)
    good = held.effective.holds and held.healed.holds and not held.changes
    raise typer.Exit(Verdict.PASS.value if good else Verdict.UNKNOWN.value)


def _seconds(duration: str) -> float:
    try:
        milliseconds = parse_ms(duration)
    except ValueError as error:
        raise UsageError(f"--for: {error}") from error
    if milliseconds <= 0:
        raise UsageError(f"--for: a fault lasts longer than {duration}")
    return milliseconds / 1000
