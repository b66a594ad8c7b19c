"""Jaeger: a sync is one trace, through every library of the hub; a failed one blames its cause."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from typing import Any

import httpx
import pytest

from alertdrill.faults.network import Refuse
from alertdrill.signals.http import JsonApi
from alertdrill.signals.traces import Traces, blamed
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually
from fixtures.stack import STACK
from tests.stack.small import ROOT, references

pytestmark = pytest.mark.docker

COMPONENTS = (
    *("hub", "github", "ai-studio", "postgres", "redis"),
    *("toxiproxy", "http-faults", "receiver", "jaeger"),
)
# The hub exports its spans in batches.
EXPORTED_WITHIN_S = 20.0


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    images = {c.image for c in STACK.components if c.name in COMPONENTS}
    with Stack(STACK, COMPONENTS, images=references(sorted(images)), project_root=ROOT) as stack:
        yield stack


def sync(stack: Stack, key: str) -> httpx.Response:
    return httpx.post(
        stack.url("hub") + "/api/v1/sync/bidirectional",
        json={"source": "github"},
        headers={"Idempotency-Key": key},
        timeout=20,
    )


def test_a_sync_is_one_trace_from_the_request_to_the_database(stack: Stack) -> None:
    spans = spans_of_one_that_nothing_delayed(stack)
    names = {span["operationName"] for span in spans}
    assert "POST /api/v1/sync/bidirectional" in names
    assert "sync_operation" in names
    systems = {tag["value"] for span in spans for tag in span["tags"] if tag["key"] == "db.system"}
    assert {"postgresql", "redis"} <= systems
    # Three pages of GitHub and two of AI Studio, each read by a client span.
    urls = [
        tag["value"]
        for span in spans
        for tag in span["tags"]
        if tag["key"] in ("http.url", "url.full")
    ]
    assert sum(":8081/" in url for url in urls) == 3
    assert sum(":8082/" in url for url in urls) == 2
    # Every span but the first hangs below another one of the same trace.
    known = {span["spanID"] for span in spans}
    parents = [ref["spanID"] for span in spans for ref in span["references"]]
    assert len(parents) == len(spans) - 1
    assert set(parents) <= known


def spans_of_one_that_nothing_delayed(stack: Stack) -> list[dict[str, Any]]:
    """On a busy machine the hub leaves out a cache that is late, and asks again."""
    for n in range(5):
        answer = sync(stack, f"trace-me-{n}")
        assert answer.status_code == 200, answer.text
        spans = spans_of(JsonApi(stack.url("jaeger")), answer.headers["X-Trace-Id"])
        if not [tag for span in spans for tag in span["tags"] if tag["key"] == "error"]:
            break
    return spans


def test_a_request_that_failed_blames_the_database_and_one_that_did_not_nobody(
    stack: Stack,
) -> None:
    fault = Refuse("postgres", client="hub")
    with closing(Traces(stack.url("jaeger"))) as traces:
        wells = [time.time()]
        for n in range(3):
            assert sync(stack, f"well-{n}").status_code == 200
            wells.append(time.time())
        fault.inject(stack)
        try:
            broken = time.time()
            assert sync(stack, "broken").status_code == 503
        finally:
            fault.heal(stack)

        def culprits(since: float, until: float) -> set[str]:
            return {s.name for spans in traces.failed("hub", since, until) for s in blamed(spans)}

        seen = eventually(
            lambda: culprits(broken, time.time()) or None,
            timeout_s=EXPORTED_WITHIN_S,
            what="a failed trace to be stored",
        )
        assert any(name.startswith("db.") for name in seen), seen
        # A busy machine may have delayed one.
        assert set() in [culprits(since, until) for since, until in pairwise(wells)]


def spans_of(jaeger: JsonApi, trace_id: str) -> list[dict[str, Any]]:
    """All spans of a trace, once its root has arrived."""

    def arrived() -> list[dict[str, Any]] | None:
        found = jaeger.get("/api/traces", {"service": "hub", "limit": "50"})["data"] or []
        for trace in found:
            if trace["traceID"] == trace_id:
                spans: list[dict[str, Any]] = trace["spans"]
                has_root = any(not span["references"] for span in spans)
                return spans if has_root else None
        return None

    return eventually(
        arrived, timeout_s=EXPORTED_WITHIN_S, what=f"trace {trace_id}", interval_s=0.3
    )
