"""A run that is stopped: every worker heals and removes its stack before anybody ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

import pytest

from alertdrill.errors import DeadlineExceeded
from alertdrill.report.folder import MAIN, RunFolder
from alertdrill.shield import STOPPING
from alertdrill.wait import eventually

CLEAN_UP_S = 120.0


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
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)  # to the end: a verdict is still to be written
        print(f"\nalertdrill: {', '.join(opened)}: heals and removes its stack", flush=True)
        if exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR):
            # The signal may have reached this process alone.
            for process in opened.values():
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
