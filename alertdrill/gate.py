"""The gate: runs a project's drills on several stacks side by side and says what came out.

pytest does the work in a process of its own; this one shows how far it is.
"""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from alertdrill.config import Config
from alertdrill.report.folder import RunFolder
from alertdrill.report.terminal import drill_lines, summary_lines
from alertdrill.shield import signals_forwarded
from alertdrill.stack.progress import Progress, Task
from alertdrill.timeline import read_progress
from alertdrill.wait import eventually

RUN_FOLDER_ENV = "ALERTDRILL_RUN_FOLDER"
GATE_PID_ENV = "ALERTDRILL_GATE_PID"
EXIT_USAGE = 2
LOG_LINES_SHOWN = 30


def run_gate(
    config: Config, folder: RunFolder, arguments: Sequence[str], progress: Progress
) -> int:
    """Run the drills with ``arguments`` for pytest: the exit code (0, 1, 2 or 3).

    Prints a line per drill as it ends. Interrupted, it lets pytest heal and clean up first.
    """
    folder.ensure()
    command = [
        *(sys.executable, "-m", "pytest", *(str(path) for path in config.gate.drills)),
        *("-p", "no:locust", "-p", "no:cacheprovider", "--tb=short", "-q"),
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
                    running[subject] = tasks.enter_context(progress.task(f"stack {subject}"))
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
    for drill in document["drills"]:
        if drill["id"] not in shown:  # it was planned, and left no result
            for line in drill_lines(drill):
                progress.say(line)
    for line in summary_lines(document, folder.path):
        progress.say(line)
    return code if code in (0, 1, 2, 3) else EXIT_USAGE
