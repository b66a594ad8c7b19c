"""How fast the core stack starts from cached images and goes, beside docker-compose.

Three ways take turns within one run: a stack as the gate starts it, ``alertdrill up``, and
docker-compose 1.29 with the same images, commands and files until the same readiness. The last
two are commands, so the start of an interpreter is in their time.

Prometheus is declared to come after the hub. A stack waits until the hub is ready; docker-compose
only until its container runs.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from alertdrill.errors import AlertdrillError
from alertdrill.stack import debian
from alertdrill.stack.engine import connect
from alertdrill.stack.explore import remove_kept, running
from alertdrill.stack.progress import Progress
from alertdrill.stack.reaper import Reaper
from alertdrill.stack.run import new_run_id
from benchmarks import compose
from benchmarks.report import Detail, Figure, Report, Target, parser, present
from benchmarks.setting import Setting, alertdrill, prepare, project, run

ROUNDS = 3
COMMAND_TIMEOUT_S = 180.0
IN_PROCESS, COMMAND, COMPOSE = "Stack.start", "alertdrill up", "docker-compose up -d"


@dataclass(frozen=True)
class Timing:
    """Seconds until everything was ready, and until nothing of it was left."""

    ready_s: float
    removed_s: float


def in_process(setting: Setting) -> Timing:
    """A stack as a worker of the gate starts it."""
    stack = setting.stack()
    begun = time.monotonic()
    with stack:
        ready = time.monotonic()
    return Timing(ready - begun, time.monotonic() - ready)


def by_command(setting: Setting) -> Timing:
    """``alertdrill up``, and ``alertdrill down`` of just that run."""
    root, log = setting.config.root, setting.scratch / "up.log"
    with _new_runs_of(root / "out") as new_runs:
        up = run(
            alertdrill("up", "--profile", "core"), cwd=root, timeout_s=COMMAND_TIMEOUT_S, log=log
        )
        if up.code:
            end = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            raise AlertdrillError("`alertdrill up` failed:\n" + "\n".join(end))
        (run_id, *_) = sorted(new_runs())
        down = run(alertdrill("down", run_id), cwd=root, timeout_s=COMMAND_TIMEOUT_S, log=log)
        if down.code or run_id in new_runs():
            raise AlertdrillError(f"`alertdrill down` left something behind: {down.output}")
    return Timing(up.wall_s, down.wall_s)


@contextmanager
def _new_runs_of(out: Path) -> Iterator[Callable[[], set[str]]]:
    """Which kept runs of this checkout began in this block; they are removed at its end.

    A run has a folder below ``out``: a stack that somebody explores elsewhere has none here.
    """
    client = connect()

    def folders() -> set[str]:
        return {folder.name for folder in out.glob("*")}

    before = folders()

    def new() -> set[str]:
        kept = {component.run_id for component in running(client, kept_only=True)}
        return kept & (folders() - before)

    try:
        yield new
    finally:
        for run_id in new():
            remove_kept(client, run_id)
        client.close()


def by_compose(setting: Setting, run_id: str) -> Timing:
    """docker-compose with the same images, until the same readiness."""
    generated = {name: secrets.token_urlsafe(24) for name in setting.spec.secrets}
    with compose.ComposeProject(setting, run_id, generated) as stack:
        return Timing(stack.up(), stack.down())


@contextmanager
def _reaped() -> Iterator[str]:
    """The id of a run of which nothing survives this process. One for all rounds: a reaper's own
    start would fall into the time that it guards."""
    run_id = new_run_id()
    reaper = Reaper(run_id)
    try:
        yield run_id
    finally:
        reaper.dismiss()


def have_compose(progress: Progress) -> str:
    """Install docker-compose where it is missing and can be had: why it isn't here, or ""."""
    if compose.find() is not None:
        return ""
    if not debian.is_root_here():
        return "docker-compose is missing: install Debian's package docker-compose"
    try:
        with progress.task("docker-compose") as task:
            debian.install(["docker-compose"], task)
    except AlertdrillError as error:
        return f"docker-compose can't be installed: {str(error).splitlines()[0]}"
    return "" if compose.find() else "Debian's package docker-compose brought no such command"


def measure() -> Report:
    with prepare(project()) as setting, _reaped() as run_id:
        ways: dict[str, Callable[[Setting], Timing]] = {
            IN_PROCESS: in_process,
            COMMAND: by_command,
        }
        missing = have_compose(setting.progress)
        if not missing:
            ways[COMPOSE] = lambda setting: by_compose(setting, run_id)
        taken: dict[str, list[Timing]] = {name: [] for name in ways}
        for number in range(1, ROUNDS + 1):
            for name, way in ways.items():
                with setting.progress.task(f"round {number}/{ROUNDS}, {name}") as task:
                    timing = way(setting)
                    taken[name].append(timing)
                    task.finish(f"ready {timing.ready_s:.2f} s, gone {timing.removed_s:.2f} s")
        words = (
            ""
            if missing
            else "version {}; it takes {:.2f} s to say so".format(*compose.version(setting.scratch))
        )
    return Report(
        "Start and stop of the core stack, images cached",
        setting.machine,
        _figures(taken, missing or words),
        (_detail(taken),),
    )


def _ready_s(timings: list[Timing]) -> float:
    return median(timing.ready_s for timing in timings)


def _figures(taken: dict[str, list[Timing]], compose_note: str) -> tuple[Figure, ...]:
    command, other = taken[COMMAND], taken.get(COMPOSE)
    return (
        Figure(
            f"ready by {IN_PROCESS}", _ready_s(taken[IN_PROCESS]), "s", Target("≤", 15), "median"
        ),
        Figure(f"ready by {COMMAND}", _ready_s(command), "s", Target("≤", 15), "median"),
        Figure(
            f"ready by {COMPOSE}",
            None if other is None else _ready_s(other),
            "s",
            note=compose_note,
        ),
        Figure(
            f"{IN_PROCESS} / {COMPOSE}",
            None if other is None else _ready_s(taken[IN_PROCESS]) / _ready_s(other),
            "",
            Target("≤", 1),
            "ratio of the medians",
        ),
        Figure(
            f"{COMMAND} / {COMPOSE}",
            None if other is None else _ready_s(command) / _ready_s(other),
            "",
            note="ratio of the medians",
        ),
    )


def _detail(taken: dict[str, list[Timing]]) -> Detail:
    return Detail(
        "Seconds, by round",
        ("way", *(f"ready {n}" for n in range(1, ROUNDS + 1)), "gone, median"),
        [
            (
                name,
                *(f"{timing.ready_s:.2f}" for timing in timings),
                f"{median(timing.removed_s for timing in timings):.2f}",
            )
            for name, timings in taken.items()
        ],
    )


if __name__ == "__main__":
    sys.exit(present(measure, parser(__doc__).parse_args().json))
