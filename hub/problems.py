"""Every error as a JSON problem document (RFC 9457)."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from hub.errors import BadInput, DatabaseUnavailable, UpstreamError
from hub.logs import LOGGER
from hub.tracing import current_trace_id

log = logging.getLogger(LOGGER)


def problem(status: int, detail: str, **members: Any) -> Response:
    """A problem document; ``members`` are extension members, left out when empty."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if trace_id := current_trace_id():
        document["trace_id"] = trace_id
    document.update({name: value for name, value in members.items() if value})
    response = Response(
        json.dumps(document), status=status, content_type="application/problem+json"
    )
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = "1"
    return response


def register(app: Flask) -> None:
    """Turn whatever a view raises into a problem document."""

    @app.errorhandler(BadInput)
    def bad_input(error: BadInput) -> Response:
        return problem(error.status, error.detail, errors=error.errors)

    @app.errorhandler(UpstreamError)
    def upstream_error(error: UpstreamError) -> Response:
        return problem(502, str(error), upstream=error.upstream, outcome=error.outcome)

    @app.errorhandler(DatabaseUnavailable)
    def database_unavailable(error: DatabaseUnavailable) -> Response:
        # What PostgreSQL said stands in the log; it is none of the caller's business.
        log.error("database_unavailable", extra={"error.message": str(error)})
        return problem(503, "the database is unavailable, try again later")

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        response = problem(error.code or 500, error.description or "")
        if error.code == HTTPStatus.METHOD_NOT_ALLOWED:
            response.headers["Allow"] = ", ".join(
                sorted(getattr(error, "valid_methods", None) or ())
            )
        return response

    @app.errorhandler(Exception)
    def bug(error: Exception) -> Response:
        log.critical("unhandled_exception", exc_info=error)
        return problem(500, "an unexpected error; it has been logged")
