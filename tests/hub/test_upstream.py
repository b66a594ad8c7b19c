"""Reading the upstreams: pages, ETags, retries, and answers that mean nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider

from hub.app import Transports
from hub.errors import UpstreamError
from hub.metrics import Metrics
from hub.readers import AiStudioReader, GithubReader
from hub.upstream import ATTEMPTS, Deadline, Upstream


class Memory:
    """A cache that never loses anything."""

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}

    def get_all(self, _key: str) -> dict[bytes, bytes]:
        return self.fields

    def put_all(self, _key: str, fields: dict[str, str], _ttl_s: int) -> None:
        self.fields.update({name.encode(): text.encode() for name, text in fields.items()})


class Seen(httpx.BaseTransport):
    """Passes requests on and remembers the answers."""

    def __init__(self, inner: httpx.BaseTransport):
        self.inner = inner
        self.statuses: list[int] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self.inner.handle_request(request)
        self.statuses.append(response.status_code)
        return response


@contextmanager
def upstream(
    name: str, transport: httpx.BaseTransport, metrics: Metrics | None = None
) -> Iterator[Upstream]:
    made = Upstream(
        name,
        f"http://{name}.test",
        read_timeout_s=1.0,
        connections=4,
        headers={},
        metrics=metrics or Metrics(),
        tracer_provider=TracerProvider(),
        transport=transport,
    )
    yield made
    made.close()


def soon() -> Deadline:
    return Deadline.within(5.0)


def test_all_pages_are_read_and_asked_for_again_even_when_unchanged(stubs: Transports) -> None:
    assert stubs.github is not None
    seen = Seen(stubs.github)
    with upstream("github", seen) as github:
        reader = GithubReader(github, Memory(), "bakhmach/hub")  # type: ignore[arg-type]
        first, second = reader.read(soon()), reader.read(soon())
    assert len(first) == 60
    assert first == second
    assert seen.statuses == [200, 200, 200, 304, 304, 304]


def test_all_pages_of_ai_studio_are_read(stubs: Transports) -> None:
    assert stubs.ai_studio is not None
    seen = Seen(stubs.ai_studio)
    with upstream("ai-studio", seen) as ai_studio:
        items = AiStudioReader(ai_studio).read(soon())
    assert (len(items), seen.statuses) == (40, [200, 200])


Answer = Callable[[int], httpx.Response]


def refuse(_call: int) -> httpx.Response:
    raise httpx.ConnectError("refused")


FAILURES: list[tuple[str, Answer, str, int]] = [
    ("5xx is retried", lambda _: httpx.Response(503), "server_error", ATTEMPTS),
    ("429 is retried", lambda _: httpx.Response(429), "rate_limited", ATTEMPTS),
    (
        "an empty quota is retried",
        lambda _: httpx.Response(403, headers={"X-RateLimit-Remaining": "0"}),
        "rate_limited",
        ATTEMPTS,
    ),
    ("a refused connection is retried", refuse, "transport_error", ATTEMPTS),
    ("404 is not retried", lambda _: httpx.Response(404), "client_error", 1),
    ("a redirect is not followed", lambda _: httpx.Response(302), "client_error", 1),
    ("half a document", lambda _: httpx.Response(200, text='[{"number": 1'), "malformed", 1),
    ("another shape", lambda _: httpx.Response(200, json=[{"number": "one"}]), "malformed", 1),
    ("a NUL", lambda _: httpx.Response(200, json=[issue("a\0b")]), "malformed", 1),
    ("304 to nothing", lambda _: httpx.Response(304), "malformed", 1),
]


def issue(title: str) -> dict[str, object]:
    return {"number": 1, "title": title, "body": None, "state": "open"}


@pytest.mark.parametrize(
    ("answer", "outcome", "attempts"),
    [row[1:] for row in FAILURES],
    ids=[row[0] for row in FAILURES],
)
def test_failures(answer: Answer, outcome: str, attempts: int) -> None:
    calls: list[int] = []

    def handle(_request: httpx.Request) -> httpx.Response:
        calls.append(1)
        return answer(len(calls))

    metrics = Metrics()
    with upstream("github", httpx.MockTransport(handle), metrics) as github:
        reader = GithubReader(github, Memory(), "a/b")  # type: ignore[arg-type]
        with pytest.raises(UpstreamError) as caught:
            reader.read(soon())
    assert (caught.value.outcome, len(calls)) == (outcome, attempts)
    counted = metrics.registry.get_sample_value(
        "upstream_requests_total", {"upstream": "github", "outcome": outcome}
    )
    assert counted == attempts
    retries = metrics.registry.get_sample_value("upstream_retries_total", {"upstream": "github"})
    assert retries == attempts - 1
    available = metrics.registry.get_sample_value("upstream_available", {"upstream": "github"})
    assert available == (1 if outcome == "client_error" else 0)


def test_one_failure_is_not_the_end() -> None:
    answers = iter([httpx.Response(500), httpx.Response(200, json=[issue("fine")])])
    with upstream("github", httpx.MockTransport(lambda _: next(answers))) as github:
        items = GithubReader(github, Memory(), "a/b").read(soon())  # type: ignore[arg-type]
    assert [item.title for item in items.values()] == ["fine"]


def test_retry_after_is_honoured_only_as_far_as_the_deadline_allows() -> None:
    limited = httpx.MockTransport(lambda _: httpx.Response(429, headers={"Retry-After": "60"}))
    with upstream("github", limited) as github:
        started = time.monotonic()
        with pytest.raises(UpstreamError, match="1 attempt"):
            github.get("/", params={}, deadline=Deadline.within(0.5))
    assert time.monotonic() - started < 0.5


def test_a_cursor_that_never_ends_does_end() -> None:
    page = {"items": [], "next_page_token": "again"}
    endless = httpx.MockTransport(lambda _: httpx.Response(200, json=page))
    with (
        upstream("ai-studio", endless) as ai_studio,
        pytest.raises(UpstreamError, match="don't end"),
    ):
        AiStudioReader(ai_studio).read(soon())
