"""One HTTP client for an upstream API: a timeout per phase, bounded and jittered retries."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.trace import TracerProvider

from hub.errors import UpstreamError
from hub.logs import LOGGER
from hub.metrics import Metrics

ATTEMPTS = 3
BACKOFF_S = (0.05, 0.2)
RETRY_AFTER_CAP_S = 1.0
HEALTH_TIMEOUT_S = 1.0

_RETRIED = frozenset({"rate_limited", "server_error", "timeout", "transport_error"})

log = logging.getLogger(LOGGER)


@dataclass(frozen=True)
class Deadline:
    """A point on the monotonic clock that several requests share."""

    at: float

    @staticmethod
    def within(seconds: float) -> Deadline:
        return Deadline(time.monotonic() + seconds)

    @property
    def left_s(self) -> float:
        return self.at - time.monotonic()


class Upstream:
    """Requests to one upstream API.

    Retried: 5xx, 429 and GitHub's 403 for an empty quota (after ``Retry-After``, at most 1 s),
    and transport errors. Not retried: any other 4xx, and an answer that can't be understood.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        read_timeout_s: float,
        connections: int,
        headers: Mapping[str, str],
        metrics: Metrics,
        tracer_provider: TracerProvider,
        transport: httpx.BaseTransport | None = None,
    ):
        self.name = name
        self._read_timeout_s = read_timeout_s
        self._metrics = metrics
        self._stopped = threading.Event()
        self._client = httpx.Client(
            base_url=base_url,
            headers={"User-Agent": "bakhmach-hub", **headers},
            timeout=httpx.Timeout(3.0, read=read_timeout_s),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            transport=transport,
        )
        HTTPXClientInstrumentor.instrument_client(self._client, tracer_provider=tracer_provider)

    def get(
        self,
        path: str,
        *,
        params: Mapping[str, str | int],
        deadline: Deadline,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """A 200 or a 304. Raises UpstreamError when no attempt before ``deadline`` gave one."""
        for attempt in range(1, ATTEMPTS + 1):
            response, outcome, detail = self._attempt(path, params, headers, deadline.left_s)
            if response is not None:
                self._available(True)
                return response
            pause = _pause_s(detail.retry_after_s)
            if attempt == ATTEMPTS or outcome not in _RETRIED or deadline.left_s <= pause:
                break
            self._metrics.upstream_retries.labels(self.name).inc()
            self._stopped.wait(pause)
        # A 4xx is an answer: the upstream is there, only the request was wrong.
        self._available(outcome == "client_error")
        raise UpstreamError(self.name, outcome, f"{detail.text} after {attempt} attempt(s)")

    def malformed(self, detail: str) -> UpstreamError:
        """Count an answer that came whole and means nothing; the error to raise."""
        self._metrics.upstream_requests.labels(self.name, "malformed").inc()
        self._available(False)
        return UpstreamError(self.name, "malformed", detail)

    def is_healthy(self, path: str) -> bool:
        """One cheap request, no retries, at most a second."""
        response, _, _ = self._attempt(path, {}, None, HEALTH_TIMEOUT_S)
        self._available(response is not None)
        return response is not None

    def close(self) -> None:
        self._stopped.set()
        self._client.close()

    def _attempt(
        self,
        path: str,
        params: Mapping[str, str | int],
        headers: Mapping[str, str] | None,
        limit_s: float,
    ) -> tuple[httpx.Response | None, str, _Detail]:
        limit_s = max(limit_s, 0.001)
        timeout = httpx.Timeout(min(3.0, limit_s), read=min(self._read_timeout_s, limit_s))
        started = time.perf_counter()
        response: httpx.Response | None = None
        try:
            response = self._client.get(path, params=params, headers=headers, timeout=timeout)
            outcome, detail = _judge(response)
        except httpx.TimeoutException as error:
            outcome, detail = "timeout", _Detail(f"timed out ({type(error).__name__})")
        except httpx.RequestError as error:
            outcome, detail = "transport_error", _Detail(f"{type(error).__name__}: {error}")
        seconds = time.perf_counter() - started
        self._metrics.upstream_request_duration.labels(self.name).observe(seconds)
        self._metrics.upstream_requests.labels(self.name, outcome).inc()
        usable = outcome in ("success", "not_modified")
        if not usable:
            log.warning(
                "upstream_request_failed",
                extra={"upstream": self.name, "outcome": outcome, "error.message": detail.text},
            )
        return (response if usable else None), outcome, detail

    def _available(self, available: bool) -> None:
        self._metrics.upstream_available.labels(self.name).set(available)


@dataclass(frozen=True)
class _Detail:
    text: str
    retry_after_s: float = 0.0


def _judge(response: httpx.Response) -> tuple[str, _Detail]:
    status = response.status_code
    detail = _Detail(f"answered {status}", _retry_after_s(response.headers.get("Retry-After", "")))
    if status == 200:
        return "success", detail
    if status == 304:
        return "not_modified", detail
    if status == 429 or (status == 403 and response.headers.get("X-RateLimit-Remaining") == "0"):
        return "rate_limited", detail
    if status >= 500:
        return "server_error", detail
    return "client_error", detail


def _retry_after_s(header: str) -> float:
    # Seconds only; an HTTP date is at least a second away and so beyond the cap anyway.
    return float(header) if header.isascii() and header.isdigit() else 0.0


def _pause_s(retry_after_s: float) -> float:
    return max(random.uniform(*BACKOFF_S), min(retry_after_s, RETRY_AFTER_CAP_S))
