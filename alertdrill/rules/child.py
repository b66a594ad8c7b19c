"""A server as a child process with data of its own, neither of which outlives this process."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from alertdrill.errors import ComponentNotReady

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
_LOG_LINES = 2_000
_LISTENING = re.compile(r'msg="Listening on".*? address="?(127\.0\.0\.1:\d+)')

# However this process ends, the server ends with it. A watcher reads a pipe that only this
# process holds, and kills the server when it breaks; a line on it asks for an orderly end first.
# The shell then removes the data, unless the server ended well, as one does that is to be started
# again. Standard error is the server's alone, so that it ends with it. The shell must not say
# there that the server was killed: nobody may be left to read that, and writing would end it.
_WATCHED = """
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ read -r line && kill -TERM $child && read -r line; kill -KILL $child; } <&3 2>/dev/null &
watcher=$!
exec 3<&- 2>/dev/null
wait $child
code=$?
kill $watcher
test $code -eq 0 || rm -rf "$ALERTDRILL_SCRATCH"
exit $code
"""


class WatchedChild:
    """A server that logs, on standard error, where on loopback it listens.

    ``name`` is for people. ``scratch`` is a folder for its data, made here and gone after
    ``close``; ``log`` has its last lines.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.scratch = Path(tempfile.mkdtemp(prefix=f"alertdrill-{name.lower()}-"))
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self._process: subprocess.Popen[str] | None = None

    def start(self, command: Sequence[str], folder: Path | None = None) -> str:
        """Run ``command`` in ``folder``; returns the address that it took, ``127.0.0.1:PORT``.

        Raises ComponentNotReady when it ends, or says no address in time.
        """
        try:
            process = self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHED, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                cwd=folder,
                env={"ALERTDRILL_SCRATCH": str(self.scratch), "PATH": "/usr/bin:/bin"},
                start_new_session=True,  # a Ctrl-C is for this process, which ends it in order
            )
        except OSError as error:
            raise ComponentNotReady(f"{self.name} can't be started: {error}") from error
        found: list[str] = []
        said = threading.Event()

        def drain() -> None:
            assert process.stderr is not None
            with process.stderr as lines:
                for line in lines:
                    self.log.append(line.rstrip())
                    match = _LISTENING.search(line)
                    if match:
                        found.append(match[1])
                        said.set()
            said.set()

        threading.Thread(target=drain, name=f"{self.name}-log", daemon=True).start()
        if not said.wait(START_TIMEOUT_S) or not found:
            last = self.log[-1] if self.log else "it said nothing"
            raise ComponentNotReady(f"{self.name} ({command[0]}) did not start: {last}")
        return found[0]

    def stop(self) -> None:
        """End it in order; its data stays, for another ``start``. Raises ComponentNotReady."""
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended already
                os.write(process.stdin.fileno(), b"stop\n")
            self._wait(process)
            process.stdin.close()
            self._process = None

    def close(self) -> None:
        """End it at once and remove its data. Raises ComponentNotReady when it does not end."""
        try:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()
                self._wait(self._process)
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _wait(self, process: subprocess.Popen[str]) -> None:
        try:
            process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise ComponentNotReady(
                f"{self.name} did not end within {STOP_TIMEOUT_S:.0f} s"
            ) from error
