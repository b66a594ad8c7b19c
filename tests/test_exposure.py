"""What counts as traffic that met a fault."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from alertdrill.drill import Drill
from alertdrill.exposure import met_since
from alertdrill.faults.container import Kill
from alertdrill.faults.contract import Exposure, Fault
from alertdrill.faults.deploy import BadRelease
from alertdrill.load.plan import Load
from alertdrill.load.protocol import Finished
from alertdrill.load.window import Window

INJECTED, EFFECTIVE, NOW = 10.0, 14.0, 20.0


def finished(start: float, end: float, status: int) -> Finished:
    ok = 0 < status < 500
    return Finished(end, start, "User", "GET /", ok, status, 1000 * (end - start))


BOOTING = finished(11.0, 12.0, 0)
OLD = finished(13.9, 14.1, 200)
ANSWERED = finished(15.0, 15.1, 200)
FAILED = finished(16.0, 16.1, 500)


class Seen:
    """A load that saw ``requests``."""

    def __init__(self, *requests: Finished) -> None:
        self._requests = requests

    def requests(self, since: float, until: float) -> list[Finished]:
        return [one for one in self._requests if since <= one.end < until]

    def since(self, since: float, until: float) -> Window:
        return Window.of(self.requests(since, until))

    def stuck(self) -> int:
        return 0


def met(fault: Fault, *requests: Finished, before: Exposure | None = None) -> int:
    drill = Drill("it breaks", fault=fault, load=Load("loadtests.py", {"User": 1.0}))
    bench = cast(Any, SimpleNamespace(stack=None))
    load = cast(Any, Seen(*requests))
    return met_since(before, drill, bench, load, INJECTED, EFFECTIVE, NOW)


@pytest.mark.parametrize(
    ("requests", "count"),
    [
        ((), 0),
        ((BOOTING,), 1),
        ((BOOTING, OLD, ANSWERED), 1),
        ((BOOTING, ANSWERED, FAILED), 2),
        ((BOOTING, FAILED), 1),
    ],
    ids=[
        *("nothing", "it never answered", "what failed while it came up is not its"),
        *("good and bad answers", "bad ones only"),
    ],
)
def test_a_release_is_met_by_what_it_answers(requests: tuple[Finished, ...], count: int) -> None:
    assert met(BadRelease("hub", "hub-wrong"), *requests) == count


def test_an_outage_is_met_by_what_fails() -> None:
    assert met(Kill("hub"), BOOTING, OLD, ANSWERED, FAILED) == 2
