"""A run that is stopped: every worker heals and removes its stack before anybody ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

import pytest

from alertdrill.errors import DeadlineExceeded
from alertdrill.report.folder import MAIN, RunFolder
from alertdrill.shield import STOPPING, signals_ignored
from alertdrill.wait import eventually

CLEAN_UP_S = 120.0


class Stopping:
    """In a worker that was interrupted: it is stopping already, and need not be told again."""

    def pytest_keyboard_interrupt(self) -> None:
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)


class CleanUp:
    """In the controller: lets the workers of a run that was stopped heal and remove their stacks.

    pytest-xdist would give them ten seconds, and then kill them.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        opened = self._opened()
        if not opened:
            return
        names = ", ".join(opened)
        print(f"\nalertdrill: {names}: heals and removes its stack", flush=True)
        with signals_ignored():
            if exitstatus == pytest.ExitCode.INTERRUPTED:
                for process in opened.values():  # the signal may have reached this process alone
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGINT)
            try:
                eventually(
                    lambda: not self._opened(), timeout_s=CLEAN_UP_S, what="the stacks to be gone"
                )
            except DeadlineExceeded as error:
                print(f"alertdrill: {error}: {', '.join(self._opened())}", file=sys.stderr)

    def _opened(self) -> dict[str, int]:
        opened = self._folder.opened()
        return {worker: process for worker, process in opened.items() if worker != MAIN}
