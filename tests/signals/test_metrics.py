"""Metrics: when an expression was first true is a moment of the data, and never is no moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest

from alertdrill.signals.metrics import Metrics
from tests.signals.fake_prometheus import Fake, serving


@dataclass
class Ranges(Fake):
    """A Prometheus whose range queries give these series: their times."""

    times: list[list[float]] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)

    def answer(self, path: str, params: dict[str, str]) -> Any:
        assert path == "/api/v1/query_range"
        self.asked = params
        rows = [{"metric": {}, "values": [[at, "1"] for at in series]} for series in self.times]
        return {"resultType": "matrix", "result": rows}


@pytest.fixture
def prometheus() -> Iterator[tuple[Ranges, Metrics]]:
    fake = Ranges()
    with serving(fake) as url, closing(Metrics(url)) as metrics:
        yield fake, metrics


def test_the_earliest_of_all_series_counts(prometheus: tuple[Ranges, Metrics]) -> None:
    fake, metrics = prometheus
    fake.times = [[12.5, 12.75], [12.25, 13.0]]
    assert metrics.first_true("up == 0", 12.0, 14.0, 0.25) == 12.25
    asked = (fake.asked["query"], fake.asked["start"], fake.asked["end"], fake.asked["step"])
    assert asked == ("up == 0", "12.000", "14.000", "0.250")


def test_never_is_no_moment(prometheus: tuple[Ranges, Metrics]) -> None:
    assert prometheus[1].first_true("up == 0", 12.0, 14.0, 0.25) is None
