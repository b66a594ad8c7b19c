"""Whatever is sent, the answer is a 4xx with a problem document, and never a 500."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from tests.hub.conftest import Made

SYNC = "/api/v1/sync/bidirectional"
RESOLVE = "/api/v1/sync/resolve-conflicts"
ITEMS = "/api/v1/items"
JSON = {"content_type": "application/json"}


def problem_of(response: TestResponse) -> dict[str, Any]:
    assert response.content_type == "application/problem+json"
    document: dict[str, Any] = response.get_json(force=True)
    assert document["status"] == response.status_code
    assert document["title"]
    return document


CASES: list[tuple[str, str, str, dict[str, Any], int]] = [
    ("no JSON", "POST", SYNC, {"data": b"{", **JSON}, 400),
    ("not an object", "POST", SYNC, {"json": [1]}, 400),
    ("an unknown field", "POST", SYNC, {"json": {"polcy": "manual"}}, 400),
    ("an unknown policy", "POST", SYNC, {"json": {"policy": "coin"}}, 400),
    ("a number for a text", "POST", SYNC, {"json": {"idempotency_key": 1}}, 400),
    ("a key of spaces", "POST", SYNC, {"headers": {"Idempotency-Key": " a b"}}, 400),
    (
        "two keys",
        "POST",
        SYNC,
        {"json": {"idempotency_key": "a"}, "headers": {"Idempotency-Key": "b"}},
        400,
    ),
    ("a form", "POST", SYNC, {"data": {"policy": "manual"}}, 415),
    ("too large", "POST", ITEMS, {"data": b"x" * (1 << 20 | 1), **JSON}, 413),
    ("no body", "POST", ITEMS, JSON, 400),
    ("no title", "POST", ITEMS, {"json": {}}, 400),
    ("an empty title", "POST", ITEMS, {"json": {"title": ""}}, 400),
    ("a NUL", "POST", ITEMS, {"json": {"title": "a\0b"}}, 400),
    ("half a surrogate", "POST", ITEMS, {"data": b'{"title": "\\ud800"}', **JSON}, 400),
    ("no UTF-8", "POST", ITEMS, {"data": b'{"title": "\xff"}', **JSON}, 400),
    ("deep", "POST", ITEMS, {"data": b"[" * 100_000, **JSON}, 400),
    ("page 0", "GET", ITEMS + "?page=0", {}, 400),
    ("page -1", "GET", ITEMS + "?page=-1", {}, 400),
    ("page x", "GET", "/api/v1/sync/history?page=x", {}, 400),
    ("a huge page", "GET", ITEMS + "?page=" + "9" * 5000, {}, 400),
    ("page ²", "GET", ITEMS + "?page=²", {}, 400),
    ("101 per page", "GET", ITEMS + "?per_page=101", {}, 400),
    ("an unknown parameter", "GET", ITEMS + "?limit=5", {}, 400),
    ("an id of letters", "GET", ITEMS + "/abc", {}, 404),
    ("an id beyond bigint", "GET", ITEMS + "/9223372036854775808", {}, 404),
    ("an endless id", "DELETE", ITEMS + "/" + "9" * 5000, {}, 404),
    ("a NUL in a path", "GET", ITEMS + "/%00", {}, 404),
    ("an unsigned webhook", "POST", "/api/v1/webhooks", {"json": {}}, 401),
    ("no such route", "GET", "/nope", {}, 404),
    ("no such method", "PATCH", ITEMS, {}, 405),
    ("an invented method", "FROB", "/health", {}, 405),
]


@pytest.mark.parametrize(
    ("method", "path", "request_", "status"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_bad_input(
    hub: Made, method: str, path: str, request_: dict[str, Any], status: int
) -> None:
    response = hub.client.open(path, method=method, **request_)
    assert response.status_code == status, response.text
    assert problem_of(response)["detail"]


def test_a_405_says_what_is_allowed(hub: Made) -> None:
    assert "POST" in hub.client.patch(ITEMS).headers["Allow"]


def test_methods_and_paths_of_callers_make_no_new_series(hub: Made) -> None:
    def series() -> int:
        return sum(len(metric.samples) for metric in hub.metrics.registry.collect())

    before = series()
    for number in range(5):
        hub.client.open(f"/invented/{number}", method=f"FROB{number}")
        hub.client.get(f"/api/v1/items/x{number}")
    assert series() == before
    assert hub.value("http_requests_total", method="OTHER", endpoint="unmatched", status="404") == 5


JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELD = st.sampled_from(["title", "body", "state", "key", "policy", "source", "keys", "x"])
BODY = JSON_VALUE | st.dictionaries(FIELD, JSON_VALUE | st.sampled_from(["open", "manual"]))
WRITES = [("POST", SYNC), ("POST", RESOLVE), ("POST", ITEMS), ("PUT", ITEMS + "/1")]


def judge(response: TestResponse, *, database: bool) -> None:
    """Accepted only where there is a database; 503 only where there is none; otherwise a 4xx."""
    status = response.status_code
    assert status < 500 if database else status == 503 or 400 <= status < 500, response.text
    if status >= 400:
        problem_of(response)


# The same hub serves every example: what one leaves behind may well trip up the next.
property_of_a_hub = hypothesis_settings(max_examples=60)


@property_of_a_hub
@given(st.sampled_from(WRITES), BODY)
def test_any_json_is_answered_without_a_database(
    hub: Made, write: tuple[str, str], body: Any
) -> None:
    judge(hub.client.open(write[1], method=write[0], json=body), database=False)


@pytest.mark.docker
@property_of_a_hub
@given(st.sampled_from(WRITES), BODY)
def test_any_json_is_answered_with_a_database(
    whole_hub: Made, write: tuple[str, str], body: Any
) -> None:
    judge(whole_hub.client.open(write[1], method=write[0], json=body), database=True)


@property_of_a_hub
@given(st.sampled_from(WRITES), st.binary(max_size=200))
def test_any_bytes_are_answered(hub: Made, write: tuple[str, str], body: bytes) -> None:
    response = hub.client.open(
        write[1], method=write[0], data=body, content_type="application/json"
    )
    judge(response, database=False)
