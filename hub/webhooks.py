"""Webhooks out, delivered behind the response; and the signature, both ways.

The signature is HMAC-SHA256 over ``timestamp.delivery.body``: none of the three can be
exchanged, and an old delivery can't be sent again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import queue
import random
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.trace import TracerProvider
from werkzeug.datastructures import Headers

from hub.errors import BadInput
from hub.logs import LOGGER
from hub.metrics import Metrics

SIGNATURE = "X-Hub-Signature-256"
TIMESTAMP = "X-Hub-Timestamp"
DELIVERY = "X-Hub-Delivery"
EVENT = "X-Hub-Event"
REPLAY_WINDOW_S = 300

ATTEMPTS = 3
TIMEOUT_S = 2.0
BACKOFF_S = (0.1, 0.4)
QUEUE_SIZE = 256
WORKERS = 2

log = logging.getLogger(LOGGER)


def sign(secret: str, timestamp: str, delivery: str, body: bytes) -> str:
    """The value of the signature header."""
    signed = f"{timestamp}.{delivery}.".encode() + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def verify(secret: str, headers: Headers, body: bytes, now: float) -> None:
    """Raises BadInput (401) unless signed with ``secret`` within the last five minutes.

    ``now`` is in Unix seconds. Without a secret nothing is ever valid.
    """
    timestamp = headers.get(TIMESTAMP, "")
    delivery = headers.get(DELIVERY, "")
    given = headers.get(SIGNATURE, "")
    expected = sign(secret, timestamp, delivery, body)
    if not secret or not hmac.compare_digest(expected.encode(), given.encode()):
        raise BadInput(f"{SIGNATURE} does not match the body", status=401)
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise BadInput(f"{TIMESTAMP} must be Unix seconds", status=401)
    if abs(now - int(timestamp)) > REPLAY_WINDOW_S:
        raise BadInput(f"{TIMESTAMP} is not within {REPLAY_WINDOW_S} s of now", status=401)


@dataclass(frozen=True)
class _Delivery:
    url: str
    event: str
    id: str
    body: bytes
    context: Context


class Webhooks:
    """A bounded queue and two workers. What doesn't fit is dropped, and counted."""

    def __init__(
        self,
        urls: tuple[str, ...],
        secret: str,
        metrics: Metrics,
        tracer_provider: TracerProvider,
        transport: httpx.BaseTransport | None = None,
    ):
        self._urls = urls
        self._secret = secret
        self._metrics = metrics
        self._queue: queue.Queue[_Delivery | None] = queue.Queue(QUEUE_SIZE)
        self._stopped = threading.Event()
        self._client = httpx.Client(timeout=TIMEOUT_S, transport=transport)
        HTTPXClientInstrumentor.instrument_client(self._client, tracer_provider=tracer_provider)
        self._workers = [
            threading.Thread(target=self._work, name=f"webhooks-{number}", daemon=True)
            for number in range(WORKERS if urls else 0)
        ]
        for worker in self._workers:
            worker.start()

    def publish(self, event: str, payload: Mapping[str, Any]) -> None:
        """Hand ``event`` to the workers, for every address; returns at once."""
        if not self._urls:
            return
        body = json.dumps({"event": event, "payload": payload}).encode()
        for url in self._urls:
            delivery = _Delivery(url, event, str(uuid.uuid4()), body, otel_context.get_current())
            try:
                self._queue.put_nowait(delivery)
            except queue.Full:
                self._metrics.webhook_deliveries.labels("dropped").inc()
                log.warning("webhook_dropped", extra={"webhook.event": event})

    def close(self, timeout_s: float = 2.0) -> None:
        """Stop retrying, and give what is under way ``timeout_s`` to end."""
        self._stopped.set()
        for _ in self._workers:
            try:
                self._queue.put_nowait(None)
            except queue.Full:
                break  # the workers look at the flag before each delivery
        for worker in self._workers:
            worker.join(timeout_s)
        self._client.close()

    def _work(self) -> None:
        while (delivery := self._queue.get()) is not None and not self._stopped.is_set():
            token = otel_context.attach(delivery.context)
            try:
                self._deliver(delivery)
            finally:
                otel_context.detach(token)

    def _deliver(self, delivery: _Delivery) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            if attempt > 1:
                self._metrics.webhook_retries.inc()
            failure = self._post(delivery)
            if failure is None:
                self._metrics.webhook_deliveries.labels("delivered").inc()
                return
            if attempt == ATTEMPTS or self._stopped.wait(random.uniform(*BACKOFF_S) * attempt):
                break
        self._metrics.webhook_deliveries.labels("failed").inc()
        log.error(
            "webhook_failed",
            extra={
                "webhook.event": delivery.event,
                "webhook.delivery": delivery.id,
                "attempts": attempt,
                "error.message": failure,
            },
        )

    def _post(self, delivery: _Delivery) -> str | None:
        """None when it was taken; otherwise why not."""
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            EVENT: delivery.event,
            DELIVERY: delivery.id,
            TIMESTAMP: timestamp,
            SIGNATURE: sign(self._secret, timestamp, delivery.id, delivery.body),
        }
        try:
            response = self._client.post(delivery.url, content=delivery.body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"
        return None if response.is_success else f"answered {response.status_code}"
