"""Raw samples of everything that a Prometheus scraped in a stretch of time.

A range selector in an instant query returns samples as they were stored, with their own time
stamps; a range query would return what it interpolates between them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alertdrill.errors import SignalError
from alertdrill.signals.http import TIMEOUT_S, JsonApi

# What Prometheus makes of the rules itself; a replay makes its own.
_OF_RULES = ("ALERTS", "ALERTS_FOR_STATE")


@dataclass(frozen=True)
class RawSeries:
    """One series; ``times_s`` are Unix seconds, ascending. Stale markers are not among them."""

    labels: Mapping[str, str]
    times_s: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Recording:
    """Every scraped series from ``since_s`` to ``until_s`` (Unix seconds).

    ``types``       the type of each metric family, as its target declared it: ``counter``, …
    ``left_out``    names of metrics with native histograms, which are not read
    """

    since_s: float
    until_s: float
    series: tuple[RawSeries, ...]
    types: Mapping[str, str]
    left_out: tuple[str, ...] = ()


def record(prometheus_url: str, since_s: float, until_s: float) -> Recording:
    """All series with a sample from ``since_s`` to ``until_s``, but those that rules made.

    One query for each job bounds the size of an answer. Raises SignalError when Prometheus
    doesn't answer in time, refuses, or has nothing.
    """
    if not until_s > since_s:
        raise SignalError(f"nothing can be recorded from {since_s} until {until_s}")
    with closing(JsonApi(prometheus_url)) as api:
        stretch = {"start": f"{since_s:.3f}", "end": f"{until_s:.3f}"}
        jobs = _data(api, "/api/v1/label/job/values", stretch)
        names = "|".join(re.escape(name) for name in (*_OF_RULES, *_recorded_names(api)))
        series: list[RawSeries] = []
        left_out: set[str] = set()
        for job in ("", *jobs):
            selector = f'{{__name__!="",__name__!~{_text(names)},job={_text(job)}}}'
            for row in _matrix(api, selector, since_s, until_s):
                if "histograms" in row:
                    left_out.add(row["metric"]["__name__"])
                if "values" in row:
                    pairs = np.array(row["values"], dtype=np.float64)
                    series.append(RawSeries(row["metric"], pairs[:, 0], pairs[:, 1]))
        if not series:
            raise SignalError(
                f"Prometheus at {prometheus_url} has no sample from {since_s:.3f} to {until_s:.3f}"
            )
        metadata = _data(api, "/api/v1/metadata", {"limit_per_metric": "1"})
    types = {name: entries[0]["type"] for name, entries in metadata.items() if entries}
    return Recording(since_s, until_s, tuple(series), types, tuple(sorted(left_out)))


def _recorded_names(api: JsonApi) -> list[str]:
    """The metrics that recording rules write."""
    groups = _data(api, "/api/v1/rules", {"type": "record"})["groups"]
    return sorted({rule["name"] for group in groups for rule in group["rules"]})


def _matrix(api: JsonApi, selector: str, since_s: float, until_s: float) -> list[Any]:
    length_ms = max(1, round((until_s - since_s) * 1000))
    data = _data(
        api,
        "/api/v1/query",
        {
            "query": f"{selector}[{length_ms}ms]",
            "time": f"{until_s:.3f}",
            "timeout": f"{TIMEOUT_S:g}s",
        },
    )
    return list(data["result"])


def _data(api: JsonApi, path: str, params: Mapping[str, str]) -> Any:
    answer = api.get(path, params)
    if not isinstance(answer, dict) or answer.get("status") != "success":
        raise SignalError(f"GET {path} answered something that is not Prometheus': {answer!r:.200}")
    return answer["data"]


def _text(value: str) -> str:
    """A string literal of PromQL."""
    return json.dumps(value, ensure_ascii=False)
