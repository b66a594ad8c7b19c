"""The gate: runs a project's drills on several stacks side by side and says what came out.

pytest does the work in a process of its own; this one shows how far it is.
"""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alertdrill.config import Clock, Config
from alertdrill.errors import AlertdrillError, UsageError
from alertdrill.report.folder import RunFolder
from alertdrill.report.terminal import drill_lines, summary_lines
from alertdrill.shield import signals_forwarded
from alertdrill.stack.progress import Progress, Task
from alertdrill.tables import drills_of
from alertdrill.timeline import read_progress
from alertdrill.wait import eventually

RUN_FOLDER_ENV = "ALERTDRILL_RUN_FOLDER"
GATE_PID_ENV = "ALERTDRILL_GATE_PID"
EXIT_USAGE = 2
LOG_LINES_SHOWN = 30
# In a log without a terminal, how often a stack says what its drill is at.
DRILL_LINES_EVERY_S = 10.0
SELECTION_TIMEOUT_S = 120.0
# Plugins that drills have no use for, each as slow to import as all of alertdrill; and where
# pytest remembers what failed last.
PYTEST_OPTIONS = (
    *("-p", "no:locust", "-p", "no:hypothesispytest"),
    *("-o", "cache_dir=.cache/pytest", "-q"),
)
PYTEST_USAGE_ERROR = 4
PYTEST_NOTHING_SELECTED = 5


def clock_of(text: str) -> Clock:
    """``real`` or a factor from 1 to 600. Raises UsageError."""
    try:
        return Clock(factor=1 if text == "real" else float(text))
    except ValueError as error:
        raise UsageError(f"--clock takes 'real' or a factor from 1 to 600, not {text!r}") from error


def refuse_empty_selection(config: Config, arguments: Sequence[str]) -> None:
    """Raise UsageError, with the names that there are, when ``arguments`` select no drill.

    Only collects: leaves nothing in the project.
    """
    with tempfile.TemporaryDirectory(prefix="alertdrill-selection-") as scratch:
        code, output, _ = _collect(config, arguments, RunFolder(Path(scratch, "selected")))
        words = shlex.join(arguments)
        if code == PYTEST_USAGE_ERROR:
            last = output.strip().splitlines()[-1].removeprefix("ERROR: ")
            raise UsageError(f"`{words}` is nothing that pytest understands: {last}")
        if code == PYTEST_NOTHING_SELECTED:
            _, _, titles = _collect(config, ("--nightly",), RunFolder(Path(scratch, "all")))
            raise UsageError(
                f"`{words}` selects no drill that this gate can run; there are, some of them for "
                f"--nightly only: {', '.join(titles) or 'none'}"
            )


def _collect(
    config: Config, arguments: Sequence[str], folder: RunFolder
) -> tuple[int, str, list[str]]:
    """What pytest would run: its exit code, its output and the drills' titles."""
    command = [
        *(sys.executable, "-m", "pytest", *(str(path) for path in config.gate.drills)),
        *(*PYTEST_OPTIONS, "--collect-only", *arguments),
    ]
    try:
        done = subprocess.run(
            command,
            cwd=config.root,
            env=os.environ | {RUN_FOLDER_ENV: str(folder.path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=SELECTION_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise AlertdrillError(
            f"`{shlex.join(command)}` was ended after {SELECTION_TIMEOUT_S:.0f} s: the drills "
            "can't be listed"
        ) from error
    titles = [plan["title"] for plan in folder.planned().values()]
    return done.returncode, done.stdout, titles


def run_gate(
    config: Config, folder: RunFolder, arguments: Sequence[str], progress: Progress
) -> int:
    """Run the drills with ``arguments`` for pytest: the exit code (0, 1, 2 or 3).

    Prints a line per drill as it ends. Interrupted, it lets pytest heal and clean up first.
    Raises UsageError when no drill ran because a table can't be imported.
    """
    folder.ensure()
    command = [
        *(sys.executable, "-m", "pytest", *(str(path) for path in config.gate.drills)),
        *(*PYTEST_OPTIONS, "--tb=short"),
        f"--junitxml={folder.path / 'junit.xml'}",
        f"--alluredir={folder.path / 'allure-results'}",
        *arguments,
    ]
    with folder.log.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            cwd=config.root,
            env=os.environ | {RUN_FOLDER_ENV: str(folder.path), GATE_PID_ENV: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C reaches it once, through this process
        )
        with signals_forwarded(process.pid):
            shown = _follow(process, folder, progress)
    if not folder.verdict.exists():
        drills_of(config)  # a table that can't be imported is said in a sentence
    return _conclude(process.returncode, folder, shown, progress)


def _follow(process: subprocess.Popen[bytes], folder: RunFolder, progress: Progress) -> set[str]:
    """Show drills as they end and what the stacks do, until pytest ends: the drills shown."""
    shown: set[str] = set()
    offset = 0
    with contextlib.ExitStack() as tasks:
        running: dict[str, Task] = {}

        def step() -> bool:
            nonlocal offset
            ended = process.poll() is not None
            rows, offset = read_progress(folder.timeline, offset)
            for subject, what in rows:
                if subject not in running:
                    task = progress.task(f"stack {subject}", every_s=DRILL_LINES_EVERY_S)
                    running[subject] = tasks.enter_context(task)
                running[subject].update(what)
            for drill in folder.drills():
                if drill["id"] not in shown:
                    shown.add(drill["id"])
                    for line in drill_lines(drill):
                        progress.say(line)
            return ended

        eventually(step, timeout_s=math.inf, what="the drills to end", interval_s=0.2)
    return shown


def _conclude(code: int, folder: RunFolder, shown: set[str], progress: Progress) -> int:
    if not folder.verdict.exists():
        lines = folder.log.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines[-LOG_LINES_SHOWN:]:
            progress.say(f"  | {line}")
        progress.say(
            f"error: no drill ran (pytest's exit code {code}); all of its output: {folder.log}"
        )
        return EXIT_USAGE
    document: dict[str, Any] = folder.read_verdict()
    if document["errors"] and not folder.drills():  # nothing was started: one sentence is enough
        for message in document["errors"]:
            progress.say(f"error: {message}")
        return EXIT_USAGE
    for drill in document["drills"]:
        if drill["id"] not in shown:  # it was planned, and left no result
            for line in drill_lines(drill):
                progress.say(line)
    for line in summary_lines(document, folder.path):
        progress.say(line)
    return code if code in (0, 1, 2, 3) else EXIT_USAGE
