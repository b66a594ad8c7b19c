"""JSON logs in ECS fields, joined to traces by the ids of the active span."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace
from pythonjsonlogger.json import JsonFormatter

LOGGER = "hub"


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


def configure(service: str, level: str, file: str = "") -> logging.Logger:
    """The hub's logger, writing to stdout and, when named, appending to ``file``.

    Calling it again replaces the handlers of the first call.
    """
    logger = logging.getLogger(LOGGER)
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if file:
        handlers.append(logging.FileHandler(file, encoding="utf-8", delay=True))
    for handler in handlers:
        handler.setFormatter(EcsFormatter(service))
        logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    return logger
