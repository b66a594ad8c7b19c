"""``alertdrill trip``: the least of a fault at which an alert fires."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from alertdrill import assemble
from alertdrill.bench import Bench
from alertdrill.config import Config, find_root, load_config
from alertdrill.errors import UsageError
from alertdrill.files import replace_json
from alertdrill.gate import clock_of
from alertdrill.profiles import Profiles, components_of
from alertdrill.report.folder import RunFolder
from alertdrill.report.terminal import UNFOLDED_WIDTH
from alertdrill.report.trip_page import write_trip_page
from alertdrill.stack.engine import ensure_engine
from alertdrill.stack.progress import Progress
from alertdrill.tables import drills_of
from alertdrill.trip.axis import Axis, dose_axis, sensible
from alertdrill.trip.live import live_probe, longest_duration
from alertdrill.trip.pairs import find_pair, pairs_of
from alertdrill.trip.result import SCHEMA, Pair, Replayed, TripPoint
from alertdrill.trip.search import Search, Unmeasured, search
from alertdrill.trip.show import show_live, show_replayed
from alertdrill.trip.threshold import threshold_of
from alertdrill.verdict import Finding, Verdict

# Own dose, largest dose, and one between.
FEWEST_PROBES = 3
PROGRESS_EVERY_S = 10.0


class By(StrEnum):
    DOSE = "dose"
    DURATION = "duration"


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


def trip(
    alert: Annotated[
        str | None, typer.Argument(metavar="ALERT", help="An alert, as its rule calls it.")
    ] = None,
    fault: Annotated[
        str | None,
        typer.Argument(
            metavar="FAULT", help="A drill's title or id, or its fault as in verdict.json."
        ),
    ] = None,
    by: Annotated[
        By, typer.Option(help="Seek the smallest dose of the fault, or the shortest fault.")
    ] = By.DOSE,
    resolution: Annotated[
        float | None,
        typer.Option(
            help="How near is near enough, in units of the dose (a share: 0.02 is two per cent; "
            "a duration: seconds on the real clock); of a latency or a delay, the share by which "
            "it may be exceeded [0.02; a scrape and an evaluation; 0.1]."
        ),
    ] = None,
    probes: Annotated[
        int, typer.Option(min=FEWEST_PROBES, max=50, help="Doses to try at most.")
    ] = 12,
    segments: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Recorded faults to replay, e.g. rules/segments."),
    ] = None,
    live: Annotated[bool, typer.Option(help="Start a stack and give doses.")] = True,
    every: Annotated[
        bool, typer.Option("--all", help="A table of all alerts and faults, from --segments.")
    ] = False,
    clock: Annotated[
        str | None,
        typer.Option(help="'real', or what every duration is divided by [alertdrill.toml]."),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="For people or machines.")] = (
        Format.TEXT
    ),
) -> None:
    """Find the least of a fault at which an alert fires.

    One stack is started, and the drill's load with it. The fault is given in the drill's own dose,
    in a large one, and then in doses between what was quiet and what fired, until they are near
    enough. Each is healed as soon as the alert fires or surely won't. `--by duration` seeks the
    shortest fault instead; `--segments` has recorded faults replayed beside it.

    E.g. `alertdrill trip HighErrorRate "http_status(github)"`, `alertdrill trip APIUnavailable
    "the hub is killed" --by duration`, `alertdrill trip --all --segments rules/segments`.

    Exit codes: 0 it trips as the drills' table says, 1 only above the drill's dose or not at all,
    3 it can't be told, 2 wrong usage.
    """
    # What is wrong is found before anything starts.
    config = load_config(find_root(Path.cwd()))
    if clock is not None:
        config = config.model_copy(update={"clock": clock_of(clock)})
    if resolution is not None:
        sensible(resolution)
    known = assemble.load_original(config).alerts
    if every:
        _refuse_pair(alert, fault, segments)
        rows = _replayed(config, tuple(pairs_of(drills_of(config), known)), segments)
        _print(output, None, rows)
        raise typer.Exit(_verdict(None, rows).value)
    if alert is None or fault is None:
        raise UsageError("name an ALERT and a FAULT, or ask for --all with --segments")
    if not live and segments is None:
        raise UsageError("--no-live without --segments leaves nothing to look at")
    pair = find_pair(alert, fault, drills_of(config), known)
    axis = dose_axis(pair.drill.fault, resolution) if live and by is By.DOSE else None
    profile = _profile_of(config, pair) if live else None
    rows = _replayed(config, (pair,), segments) if segments is not None else ()
    point = None
    if profile is not None:
        point = _live(config, pair, profile, axis, resolution, probes, rows)
    _print(output, point, rows)
    raise typer.Exit(_verdict(point, rows).value)


def _refuse_pair(alert: str | None, fault: str | None, segments: Path | None) -> None:
    if alert is not None or fault is not None:
        raise UsageError("--all is of every alert and fault: name none beside it")
    if segments is None:
        raise UsageError("--all is replayed: say with --segments where recorded faults are")


def _replayed(config: Config, pairs: Sequence[Pair], segments: Path | None) -> tuple[Replayed, ...]:
    assert segments is not None
    # Brings numerics along.
    from alertdrill.trip.replayed import replayed

    with Progress().task("replay", every_s=PROGRESS_EVERY_S) as task:
        return replayed(config, pairs, segments, task.update)


def _profile_of(config: Config, pair: Pair) -> str:
    """The gate's, or the night's, on which the fault is possible and the alert can fire."""
    gate = config.gate
    every = tuple(dict.fromkeys((*gate.profiles, *gate.by_night().profiles)))
    config = config.model_copy(update={"gate": gate.model_copy(update={"profiles": every})})
    profiles = Profiles(config, config.load_stack())
    drill = replace(pair.drill, fires=pair.drill.fires | {pair.alert})
    profile = profiles.profile_of(drill)
    if profile is None:
        raise UsageError(f"{pair.drill.title!r} can't be tried: {profiles.why_none(drill)}")
    return profile


def _live(
    config: Config,
    pair: Pair,
    profile: str,
    axis: Axis | None,
    resolution: float | None,
    probes: int,
    rows: Sequence[Replayed],
) -> TripPoint:
    """Search on a stack of its own; ``axis`` None: of durations. Leaves a run folder."""
    spec = config.load_stack()
    progress = Progress()
    ensure_engine(progress, config.root / assemble.CACHE)
    images = assemble.resolve_images(config, spec, components_of(spec, profile), progress)
    folder = RunFolder.below(config.root / "out").ensure()
    with contextlib.ExitStack() as opened:
        with progress.task("stack", every_s=PROGRESS_EVERY_S) as starting:
            bench = opened.enter_context(
                assemble.open_bench(
                    config, folder, images=images, profile=profile, tell=starting.update
                )
            )
            starting.finish("ready")
        with progress.task(
            f"{pair.alert} under {pair.drill.fault.name}", every_s=PROGRESS_EVERY_S
        ) as task:
            bench.tell = task.update
            point = _search(bench, pair, axis or longest_duration(pair, bench, resolution), probes)
            task.finish(f"{len(point.search.readings)} doses tried")
    document = _document(point, rows)
    replace_json(folder.path / "trip.json", document)
    page = write_trip_page(folder.path, document)
    progress.say(f"plot: {page.relative_to(config.root)}")
    return point


def _search(bench: Bench, pair: Pair, axis: Axis, probes: int) -> TripPoint:
    threshold = threshold_of(bench.monitoring.alerts[pair.alert].expr)
    try:
        with live_probe(pair, axis, bench) as probe:
            found = search(axis, probe, most_probes=probes)
    except Unmeasured as error:
        found = Search(axis, (), Finding(error.reason, str(error)))
    return TripPoint(pair, found, threshold)


def _document(point: TripPoint | None, rows: Sequence[Replayed]) -> dict[str, Any]:
    """``trip.json``, and what ``--format json`` prints."""
    live = {} if point is None else point.document()
    return {
        "schema": SCHEMA,
        **live,
        "verdict": _verdict(point, rows).word,
        "replay": [row.document() for row in rows],
    }


def _print(output: Format, point: TripPoint | None, rows: Sequence[Replayed]) -> None:
    if output is Format.JSON:
        print(json.dumps(_document(point, rows), indent=2, ensure_ascii=False))
        return
    console = Console()
    # Into a file or a pipe nothing is folded or cut.
    console = console if console.is_terminal else Console(width=UNFOLDED_WIDTH)
    if point is None:
        show_replayed(rows, console)
    else:
        show_live(point, rows, console)
    console.print(f"verdict: {_verdict(point, rows).word}", highlight=False)


def _verdict(point: TripPoint | None, rows: Sequence[Replayed]) -> Verdict:
    verdicts = [row.verdict for row in rows]
    return Verdict.worst(verdicts if point is None else [*verdicts, point.verdict])
