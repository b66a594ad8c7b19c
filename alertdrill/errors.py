"""Every error raised on purpose; each says what was asked, what came, what to do."""

from __future__ import annotations

from pathlib import Path


class AlertdrillError(Exception):
    """Root of the tree. The message is for a person: one sentence, no traceback needed."""


class UsageError(AlertdrillError):
    """Wrong usage or configuration, found before anything was started.

    ``file`` and ``line`` (from 1) say where, when there is a file.
    """

    def __init__(self, message: str, *, file: Path | str | None = None, line: int | None = None):
        where = "" if file is None else f"{file}: " if line is None else f"{file}:{line}: "
        super().__init__(where + message)
        self.file = None if file is None else Path(file)
        self.line = line


class EngineUnavailable(AlertdrillError):
    """No Docker engine answers, and none could be started."""


class ImageUnavailable(AlertdrillError):
    """An image is not present, could not be pulled and could not be built."""


class ComponentNotReady(AlertdrillError):
    """A component of the stack did not become ready in time."""


class StackError(AlertdrillError):
    """The stack was asked for something that it does not have, or lost a component."""


class FaultError(AlertdrillError):
    """A fault could not be injected, read back or healed."""


class LoadError(AlertdrillError):
    """The load generator could not be started or broke its protocol."""


class SignalError(AlertdrillError):
    """A signal (metrics, alerts, notifications, traces, logs) could not be read."""


class DeadlineExceeded(AlertdrillError):
    """Something awaited did not happen before its deadline."""
