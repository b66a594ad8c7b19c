"""Webhooks out are signed, retried and dropped; webhooks in are verified."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from werkzeug.datastructures import Headers

from hub import webhooks
from hub.errors import BadInput
from hub.metrics import Metrics
from hub.webhooks import DELIVERY, EVENT, SIGNATURE, TIMESTAMP, Webhooks, sign, verify
from tests.hub.conftest import SECRET, Made, until
from tests.hub.test_bad_input import property_of_a_hub

NOW = 1_700_000_000
BODY = b'{"event": "x"}'


def signed(
    body: bytes = BODY, at: int = NOW, delivery: str = "d1", secret: str = SECRET
) -> Headers:
    return Headers(
        {
            EVENT: "x",
            DELIVERY: delivery,
            TIMESTAMP: str(at),
            SIGNATURE: sign(secret, str(at), delivery, body),
        }
    )


def test_a_good_signature_is_taken() -> None:
    verify(SECRET, signed(), BODY, NOW + 299)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (signed(), BODY + b" "),
        (signed(secret="another"), BODY),
        (signed(at=NOW - 301), BODY),
        (signed(at=NOW + 301), BODY),
        (Headers([*signed().items(), (DELIVERY, "d2")][1:][::-1]), BODY),
        (Headers({TIMESTAMP: str(NOW), DELIVERY: "d1", SIGNATURE: "sha256=é"}), BODY),
        (Headers(), BODY),
    ],
    ids=["body", "secret", "old", "early", "delivery", "not ascii", "nothing"],
)
def test_a_bad_one_is_not(headers: Headers, body: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        verify(SECRET, headers, body, NOW)
    assert caught.value.status == 401


def test_without_a_secret_nothing_is_valid() -> None:
    with pytest.raises(BadInput):
        verify("", signed(secret=""), BODY, NOW)


def delivered(answer: Callable[[int], httpx.Response]) -> tuple[Metrics, list[httpx.Request]]:
    """What became of one event when the receiver answers so; the request's number counts from 1."""
    requests: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return answer(len(requests))

    metrics = Metrics()
    sender = Webhooks(
        ("http://a.test/hook",), SECRET, metrics, TracerProvider(), httpx.MockTransport(handle)
    )
    sender.publish("sync.completed", {"id": 1})
    until(lambda: sum(outcomes(metrics)[:3]) == 1)
    sender.close()
    return metrics, requests


def outcomes(metrics: Metrics) -> tuple[float, ...]:
    """delivered, failed, dropped, retries"""
    values = [
        metrics.registry.get_sample_value("webhook_deliveries_total", {"outcome": outcome})
        for outcome in ("delivered", "failed", "dropped")
    ]
    retries = metrics.registry.get_sample_value("webhook_retries_total")
    return tuple(value or 0 for value in (*values, retries))


def test_a_delivery_is_signed_so_that_the_hub_itself_would_take_it() -> None:
    metrics, requests = delivered(lambda _: httpx.Response(200))
    assert outcomes(metrics) == (1, 0, 0, 0)
    verify(SECRET, Headers(list(requests[0].headers.items())), requests[0].content, time.time())
    assert json.loads(requests[0].content) == {"event": "sync.completed", "payload": {"id": 1}}


def test_a_delivery_is_tried_again_under_the_same_id() -> None:
    metrics, requests = delivered(lambda n: httpx.Response(200 if n == 2 else 500))
    assert outcomes(metrics) == (1, 0, 0, 1)
    assert len({request.headers[DELIVERY] for request in requests}) == 1


def test_a_delivery_is_given_up() -> None:
    metrics, requests = delivered(lambda _: httpx.Response(500))
    assert outcomes(metrics) == (0, 1, 0, 2)
    assert len(requests) == webhooks.ATTEMPTS


def test_what_does_not_fit_into_the_queue_is_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhooks, "WORKERS", 0)
    monkeypatch.setattr(webhooks, "QUEUE_SIZE", 3)
    metrics = Metrics()
    sender = Webhooks(("http://a.test/",), SECRET, metrics, TracerProvider())
    for _ in range(5):
        sender.publish("x", {})
    sender.close()
    assert outcomes(metrics) == (0, 0, 2, 0)


def post(hub: Made, body: bytes, delivery: str) -> int:
    headers = signed(body, int(time.time()), delivery)
    return hub.client.post("/api/v1/webhooks", data=body, headers=headers).status_code


def test_a_signed_body_must_still_be_an_object(hub: Made) -> None:
    for body in (
        b"[1]",
        b'{"a": "\\u0000"}',
        b'{"a": [{"\\u0000": 1}]}',
        b'{"a": NaN}',
        b'{"a": [1e400]}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": ' + b"[" * 5000 + b"}",
        b'{"a": "\\ud800"}',
    ):
        assert post(hub, body, "d") == 400, body
    assert post(hub, b'{"a": 1}', "d") == 503  # fine, but there is no database


@pytest.mark.docker
def test_a_webhook_counts_once(whole_hub: Made) -> None:
    body = b'{"a": {"b": [1.5, null]}}'
    assert [post(whole_hub, body, "d1"), post(whole_hub, body, "d1")] == [202, 202]
    answer = whole_hub.client.post(
        "/api/v1/webhooks", data=body, headers=signed(body, int(time.time()), "d1")
    )
    assert answer.get_json()["status"] == "duplicate"


JSON_OBJECT = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
)


@pytest.mark.docker
@property_of_a_hub
@given(JSON_OBJECT, st.uuids())
def test_any_signed_object_is_stored_or_refused(
    whole_hub: Made, document: dict[str, Any], delivery: UUID
) -> None:
    assert post(whole_hub, json.dumps(document).encode(), str(delivery)) in (202, 400)
