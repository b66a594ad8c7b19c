"""JSON logs in ECS fields, joined to traces by the ids of the active span."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opentelemetry import trace
from pythonjsonlogger.json import JsonFormatter

LOGGER = "hub"
MOST_BYTES = 8 * 1024 * 1024


class EcsFormatter(JsonFormatter):
    """One JSON object per line.

    Besides the ECS names the fields of the hub's own convention stand in it: ``trace_id``
    (the active span's, never a header's), and ``source`` and ``target`` where a sync says them.
    """

    def __init__(self, service: str = "hub"):
        super().__init__()
        self._service = service

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        log_data["@timestamp"] = datetime.fromtimestamp(record.created, UTC).isoformat(
            timespec="milliseconds"
        )
        log_data["log.level"] = record.levelname
        log_data["message"] = record.getMessage()
        log_data["service.name"] = self._service
        log_data["log.logger"] = record.name
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            log_data["trace.id"] = log_data["trace_id"] = trace.format_trace_id(span.trace_id)
            log_data["span.id"] = trace.format_span_id(span.span_id)
        super().add_fields(log_data, record, message_dict)


class LogFile(logging.Handler):
    """Appends one line per record to ``path``; ``written`` is called for each, and ``lost`` for
    each that wasn't.

    Serving goes on when the disk is full or the folder is gone: a log line is never worth a
    request. Neither is such a record kept, or it would be memory that fills up instead. A file of
    ``MOST_BYTES`` becomes ``path``.1, in place of the one before.
    """

    def __init__(self, path: Path, written: Callable[[], None], lost: Callable[[], None]):
        super().__init__()
        self._path = path
        self._written = written
        self._lost = lost
        self._file: io.FileIO | None = None
        self._failing = False
        # A full disk may take half a line; the next one must not be glued to it.
        self._torn = False

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{self.format(record)}\n".encode()
        try:
            self._append(line)
            self._written()
            self._failing = False
        except OSError as error:
            self._lost()
            if not self._failing:
                self._failing = True
                logging.getLogger(LOGGER).error(
                    "log_file_not_written", extra={"error.message": str(error)}
                )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()

    def _append(self, line: bytes) -> None:
        if self._file is None:
            self._file = io.FileIO(self._path, "a")
        if self._file.tell() >= MOST_BYTES:
            self._file.close()
            self._file = None
            os.replace(self._path, f"{self._path}.1")
            self._file = io.FileIO(self._path, "a")
        line = b"\n" + line if self._torn else line
        taken = self._file.write(line)
        self._torn = taken < len(line)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def configure(
    service: str,
    level: str,
    file: str = "",
    *,
    written: Callable[[], None] = lambda: None,
    lost: Callable[[], None] = lambda: None,
) -> logging.Logger:
    """The hub's logger, writing to stdout and, when named, appending to ``file``.

    ``written`` is called for each record that ``file`` took, ``lost`` for each that it didn't.
    Calling it again replaces the handlers of the first call.
    """
    logger = logging.getLogger(LOGGER)
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if file:
        handlers.append(LogFile(Path(file), written, lost))
    for handler in handlers:
        handler.setFormatter(EcsFormatter(service))
        logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    return logger
