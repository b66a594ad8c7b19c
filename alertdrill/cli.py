"""The ``alertdrill`` command."""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup
from typer.main import get_group

from alertdrill import assemble, doctor
from alertdrill.config import Config, find_root, load_config
from alertdrill.errors import AlertdrillError, ImageUnavailable
from alertdrill.faults_cli import fault_app, faults
from alertdrill.gate import EXIT_USAGE, clock_of, refuse_empty_selection, run_gate
from alertdrill.profiles import Profiles, components_of
from alertdrill.report.folder import RunFolder
from alertdrill.report.terminal import print_unfolded
from alertdrill.shield import sigterm_interrupts
from alertdrill.stack.engine import connect, ensure_engine
from alertdrill.stack.explore import remove_kept, running
from alertdrill.stack.images import remove_built
from alertdrill.stack.progress import Progress
from alertdrill.stack.run import Stack
from alertdrill.trip.command import trip
from alertdrill.verdict import Verdict

EXIT_INTERRUPTED = 130
RULES_HELP = """Verify alert rules before release, with no stack running.

check finds what is wrong with the files; test runs their promtool tests; mutate breaks the rules
on purpose and counts what the tests notice; replay shows what they would have done on recorded
faults, and trim makes recordings small enough to keep; routing shows who would be told, by a real
Alertmanager; coverage sets the alerts of all that ran against its faults."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="""A release gate for observability: starts a real system with its monitoring, breaks
one thing at a time, and proves that the alerts say so, in time and to the right receiver.

Exit codes: 0 pass, 1 fail, 3 unknown (it could not be proven), 2 wrong usage or configuration.""",
)


class _RulesLater(TyperGroup):
    """The commands below ``rules``, loaded when one of them is asked for: they bring numerics and
    parsers along, for which nobody else should wait."""

    def list_commands(self, ctx: Any) -> list[str]:
        return self._loaded().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return self._loaded().get_command(ctx, cmd_name)

    @staticmethod
    @functools.cache
    def _loaded() -> TyperGroup:
        from alertdrill.rules_cli import rules_app

        return get_group(rules_app)


app.command()(trip)
app.add_typer(typer.Typer(cls=_RulesLater, no_args_is_help=True, help=RULES_HELP), name="rules")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ProfileOption = Annotated[
    str, typer.Option(help="Components to start, as the stack declares: core, logging, full.")
]


def _project() -> Config:
    return load_config(find_root(Path.cwd()))


@app.command()
def setup(
    profile: Annotated[
        str | None, typer.Option(help="Whose images: core, logging, full [all that the gate runs].")
    ] = None,
) -> None:
    """Have a Docker engine and every image of a profile: found, pulled or built."""
    config = _project()
    spec = config.load_stack()
    progress = Progress()
    ensure_engine(progress, config.root / assemble.CACHE)
    components = components_of(spec, profile) if profile else Profiles(config, spec).components
    images = assemble.resolve_images(config, spec, components, progress)
    built = [image.name for image in images.values() if image.source == "built"]
    progress.say(
        f"{len(images)} images are here" + (f"; built {', '.join(built)}" if built else "")
    )


@app.command("doctor")
def doctor_command(as_json: JsonOption = False) -> None:
    """Say what is present, what can be had, and what will not be verified here, and why.

    Exit code 1 when the gate could not run.
    """
    config = _project()
    spec = config.load_stack()
    components = Profiles(config, spec).components
    diagnosis = doctor.diagnose(spec, components, config.root, config.root / assemble.CACHE)
    if as_json:
        print(diagnosis.json())
    else:
        diagnosis.print(Console())
    raise typer.Exit(0 if diagnosis.can_gate else 1)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def gate(
    context: typer.Context,
    stacks: Annotated[
        int | None, typer.Option(min=1, max=16, help="Stacks side by side [alertdrill.toml].")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of faults and load [alertdrill.toml].")
    ] = None,
    clock: Annotated[
        str | None,
        typer.Option(help="'real', or what every duration is divided by [alertdrill.toml]."),
    ] = None,
    select: Annotated[
        str | None, typer.Option("-k", help="Only drills whose names match, as in pytest.")
    ] = None,
    last_failed: Annotated[
        bool, typer.Option("--last-failed", "--lf", help="Only drills that did not pass last time.")
    ] = False,
    nightly: Annotated[
        bool, typer.Option("--nightly", help="Also the drills that are for the night.")
    ] = False,
    profile: Annotated[
        str | None, typer.Option(help="The components of every stack [alertdrill.toml].")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the drills and exit with the verdict. Further options go to pytest as they are.

    Drills for the night run with --nightly, or when -k or --last-failed selects them.
    """
    # What is wrong is found before anything starts.
    given = clock_of(clock) if clock is not None else None
    config = _project()
    assemble.load_original(config)
    spec = config.load_stack()
    selection = [
        *(("-k", select) if select is not None else ()),
        *(("--last-failed",) if last_failed else ()),
        *context.args,
    ]
    hours = config.gate.by_night() if nightly else config.gate
    if profile is not None:
        hours = hours.model_copy(update={"profiles": (profile,)})
    profiles = Profiles(config.model_copy(update={"gate": hours}), spec)
    times = [
        *(("--nightly",) if nightly else ()),
        *(("--profile", profile) if profile is not None else ()),
    ]
    progress = Progress()
    if selection:
        refuse_empty_selection(config, [*times, *selection])
    ensure_engine(progress, config.root / assemble.CACHE)
    try:
        assemble.resolve_images(config, spec, profiles.components, progress)
    except ImageUnavailable as error:
        smallest = profiles.names[0]
        if set(profiles.names) == {smallest}:
            raise
        hint = f"`alertdrill gate --profile {smallest}` does without what only the others run"
        raise ImageUnavailable(f"{error}; {hint}") from error
    count = stacks or hours.stacks
    folder = RunFolder.below(config.root / "out")
    # One drill at a time: the longest come first, and whoever is free takes the next.
    arguments = ["-n", str(count), "--dist", "load", "--maxschedchunk", "1"] if count > 1 else []
    for name, value in (("--seed", seed), ("--clock", clock)):
        arguments += [name, str(value)] if value is not None else []
    used = given or config.clock
    progress.say(
        f"alertdrill gate · {config.name}"
        f" · clock {'real' if used.mode == 'real' else f'÷{used.factor:g}'}"
        f" · seed {config.gate.seed if seed is None else seed}"
        f" · {count} stack{'s' if count > 1 else ''}"
    )
    code = run_gate(config, folder, [*arguments, *times, *selection], progress)
    if as_json and folder.verdict.exists():
        print(json.dumps(folder.read_verdict(), indent=2))
    raise typer.Exit(code)


@app.command()
def up(profile: ProfileOption = "full") -> None:
    """Start a stack to explore, on the real clock, and leave it running."""
    config = _project()
    config = config.model_copy(update={"clock": config.clock.model_copy(update={"factor": 1})})
    spec = config.load_stack()
    components = components_of(spec, profile)
    progress = Progress()
    ensure_engine(progress, config.root / assemble.CACHE)
    images = assemble.resolve_images(config, spec, components, progress)
    folder = RunFolder.below(config.root / "out").ensure()
    overlay = folder.path / "config" / "main"
    compressed = assemble.compress_into(config, overlay)
    assemble.load_compressed(config, overlay)
    with progress.task(f"stack {profile}") as task:
        stack = Stack(
            spec,
            components,
            images={name: image.reference for name, image in images.items()},
            project_root=config.root,
            run_id=folder.run_id,
            overlay=overlay,
            values=assemble.clock_values(spec, compressed),
            keep=True,
            tell=task.update,
        )
        stack.start()
        task.finish(f"{len(stack.started)} components ready")
    _print_status(as_json=False)


@app.command("clean-images")
def clean_images() -> None:
    """Remove every image that alertdrill built and that no container uses."""
    print(f"removed {remove_built(connect())} images")


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Print every component that runs here, with its URLs."""
    _print_status(as_json)


@app.command()
def down(
    run: Annotated[str | None, typer.Argument(help="Only this run, as `status` calls it.")] = None,
) -> None:
    """Remove every stack that ``alertdrill up`` left running, or only one."""
    try:
        client = connect()
    except AlertdrillError as error:
        print(f"nothing to remove: {error}")
        return
    removed = remove_kept(client, run)
    print(f"removed {', '.join(removed)}" if removed else "`alertdrill up` left nothing running")


app.command()(faults)
app.add_typer(fault_app, name="fault")


def _print_status(as_json: bool) -> None:
    components = running(connect())
    if as_json:
        rows = [{**vars(c), "urls": dict(c.urls)} for c in components]
        print(json.dumps(rows, indent=2))
        return
    if not components:
        print("nothing runs here; `alertdrill up` starts a stack")
        return
    table = Table("run", "component", "state", "where", box=None)
    for c in components:
        where = ", ".join(f"{name} {_url(name, address)}" for name, address in c.urls.items())
        table.add_row(c.run_id, c.component, c.state, where)
    print_unfolded(Console(), table)


def _url(port: str, address: str) -> str:
    return address if port in ("sql", "redis", "otlp-grpc") else f"http://{address}"


def main() -> None:
    """The entry point: errors on purpose are a sentence and exit code 2, never a traceback."""
    sys.exit(_guarded(app))


def _guarded(command: Callable[..., object]) -> int:
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sigterm_interrupts()
    try:
        result = command(standalone_mode=False)
    except AlertdrillError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except typer.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort of the command line
        if not hasattr(error, "show") or not hasattr(error, "exit_code"):
            # Python's own exit code for this is 1, which says "the monitoring is wrong".
            traceback.print_exc()
            print("alertdrill itself failed: nothing was proven", file=sys.stderr)
            return Verdict.UNKNOWN.value
        error.show()  # click's own: an unknown option, a missing argument
        return int(error.exit_code)
    return result if isinstance(result, int) else 0
