"""What can go wrong in the hub, as types: each becomes one kind of answer (see ``problems``)."""

from __future__ import annotations


class HubError(Exception):
    """Root of the tree."""


class BadInput(HubError):
    """The caller's fault: a 4xx ``status`` with a sentence, and details per field where known."""

    def __init__(
        self, detail: str, *, status: int = 400, errors: list[dict[str, str]] | None = None
    ):
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.errors = errors or []


class UpstreamError(HubError):
    """GitHub or AI Studio did not give a usable answer, after every attempt that was due.

    ``outcome``  the last attempt's, as in ``upstream_requests_total``
    """

    def __init__(self, upstream: str, outcome: str, detail: str):
        super().__init__(f"{upstream}: {detail}")
        self.upstream = upstream
        self.outcome = outcome


class DatabaseUnavailable(HubError):
    """PostgreSQL refused, hung up, took too long, or the pool had no connection in time."""


class Duplicate(HubError):
    """A unique constraint decided against this write."""
