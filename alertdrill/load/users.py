"""The Locust user that locustfiles build on: paced, counted, recorded, and bound to its host.

For locustfiles only: importing it imports Locust, which patches the process with gevent.
"""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import gevent
from geventhttpclient.client import HTTPClientPool
from locust import FastHttpUser, events
from locust.contrib.fasthttp import FastResponse
from locust.env import Environment

from alertdrill.load.pacing import SlotClock, users_for
from alertdrill.load.protocol import PLAN, SEED, Finished, Plan, decode_plan
from alertdrill.load.recorder import Lane, Recorder

_MOST_CONNECTIONS = 10_000


@dataclass
class Exchange:
    """One request and how it ended.

    ``status``    0 when there was no answer
    ``error``     why it counts as failed, None when it succeeded
    ``document``  the parsed body, when it succeeded and the answer was JSON
    """

    user: str
    start: float
    key: str | None
    status: int = 0
    error: str | None = None
    document: Any = None

    @property
    def ok(self) -> bool:
        return self.error is None


class PacedHttpUser(FastHttpUser):
    """A user whose class, as a whole, starts ``rate`` requests per second.

    Every task sends exactly one request, through ``call``: the schedule counts tasks, the plan
    counts requests. Subclasses that define ``on_start`` call ``super().on_start()``.

    ``rate``  requests per second of the whole class when Locust is run by hand; the plan of the
              runner wins
    ``rng``   this user's own generator, seeded by the run's seed, its class and its number
    """

    abstract = True
    rate: ClassVar[float] = 1.0
    lane: ClassVar[Lane]
    number: ClassVar[int] = 0

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        cls = type(self)
        self.rng = random.Random(f"{os.environ.get(SEED, '0')}/{cls.__name__}/{cls.number}")
        cls.number += 1

    def on_start(self) -> None:
        """Wait for a first slot, so that the users don't all start at once."""
        gevent.sleep(self.wait_time())

    def wait_time(self) -> float:
        """Seconds until the next slot of this class that nobody has taken."""
        now = time.monotonic()
        return self.lane.clock.reserve(now) - now

    def call(
        self,
        method: str,
        path: str,
        *,
        route: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        key: str | None = None,
    ) -> Exchange:
        """Send one request to the host and record how it ended; never raises for its outcome.

        ``path``   starts with a slash; other hosts can't be reached, and redirects are failures
        ``route``  the route's template; figures call the request ``METHOD ROUTE``
        ``body``   sent as JSON, unless None
        ``key``    the idempotency key that the request promises, kept with its outcome

        Failed: no whole answer within the plan's timeout, a status of 300 and above but 304, or
        JSON that can't be parsed.
        """
        if not path.startswith("/") or path.startswith("//"):
            raise ValueError(f"{path!r} is no path on the host under load")
        lane = self.lane
        exchange = Exchange(lane.name, time.monotonic(), key)
        lane.started += 1
        lane.inflight += 1
        try:
            # The client's own timeout restarts with every packet; this one bounds the whole.
            with gevent.Timeout(lane.timeout_s):
                self.client.request(
                    method,
                    path,
                    name=route,
                    json=body,
                    headers=headers,
                    allow_redirects=False,
                    context={"exchange": exchange},
                )
        finally:
            lane.inflight -= 1
        return exchange


@events.init.add_listener  # type: ignore[untyped-decorator]
def _prepare(environment: Environment, **_: Any) -> None:
    """Give every user class its lane and connect the recorder, before any user exists."""
    classes = [cls for cls in environment.user_classes if issubclass(cls, PacedHttpUser)]
    if strangers := set(environment.user_classes) - set(classes):
        raise TypeError(f"not a PacedHttpUser: {', '.join(cls.__name__ for cls in strangers)}")
    plan = _plan(classes)
    # One pool for all: connections stay warm, so a server that closes idle ones seldom meets
    # a request on its way.
    pool = HTTPClientPool(
        concurrency=_MOST_CONNECTIONS,
        connection_timeout=plan.timeout_s,
        network_timeout=plan.timeout_s,
    )
    lanes = {}
    for cls in classes:
        name = cls.__name__
        lanes[name] = Lane(name, SlotClock(plan.rates[name]), plan.timeout_s)
        cls.lane = lanes[name]
        cls.fixed_count = plan.users[name]
        cls.client_pool = pool
    recorder = Recorder.from_environment(os.environ)
    _connect(environment, recorder)
    recorder.watch(lanes, lambda: environment.runner.user_count if environment.runner else 0)


def _plan(classes: list[type[PacedHttpUser]]) -> Plan:
    text = os.environ.get(PLAN)
    if text is not None:
        return decode_plan(text)
    rates = {cls.__name__: cls.rate for cls in classes}
    return Plan(rates, {name: users_for(rate) for name, rate in rates.items()}, timeout_s=20.0)


def _connect(environment: Environment, recorder: Recorder) -> None:
    def on_request(
        *,
        request_type: str,
        name: str,
        response: FastResponse,
        exception: BaseException | None,
        context: dict[str, Exchange],
        **_: Any,
    ) -> None:
        end = time.monotonic()
        exchange = context["exchange"]
        exchange.status = response.status_code
        exchange.error = _failure(exchange.status, exception)
        if exchange.ok and _is_json(response):
            try:
                exchange.document = json.loads(response.content)
            except ValueError:
                exchange.error = "malformed JSON"
        recorder.finished(
            Finished(
                end=end,
                start=exchange.start,
                user=exchange.user,
                name=f"{request_type} {name}",
                ok=exchange.ok,
                status=exchange.status,
                ms=(end - exchange.start) * 1000,
                error=exchange.error,
                key=exchange.key,
            )
        )

    def on_user_error(user_instance: Any, exception: BaseException, **_: Any) -> None:
        recorder.broken(type(getattr(user_instance, "user", user_instance)).__name__, exception)

    environment.events.request.add_listener(on_request)  # type: ignore[no-untyped-call]
    environment.events.user_error.add_listener(on_user_error)  # type: ignore[no-untyped-call]


def _failure(status: int, exception: BaseException | None) -> str | None:
    """How a request failed, in few words that repeat; None when it did not."""
    if status >= 300 and status != 304:
        return f"HTTP {status}"
    if exception is None:
        return None
    # The client wraps what happened in its own RetriesExceeded, though it never retries.
    return type(getattr(exception, "original", None) or exception).__name__


def _is_json(response: FastResponse) -> bool:
    kind = response.headers.get("content-type") if response.headers else None
    return isinstance(kind, str) and kind.startswith("application/json")
