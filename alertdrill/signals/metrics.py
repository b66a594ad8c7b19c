"""Prometheus' metrics and targets: bounded queries, and an empty answer is no answer.

The only module that touches prometheus-api-client: it retries for seconds by default and has no
time-out unless told, which would hide a dead Prometheus inside a drill.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from alertdrill.errors import SignalError
from alertdrill.signals.http import JsonApi

QUERY_TIMEOUT_S = 5


@dataclass(frozen=True)
class Sample:
    """One series of an instant vector; ``at`` is a Unix time stamp in seconds."""

    labels: Mapping[str, str]
    at: float
    value: float


@dataclass(frozen=True)
class ScrapeTarget:
    """A scrape target as Prometheus sees it; ``health`` is up, down or unknown."""

    job: str
    url: str
    health: str
    error: str


class Metrics:
    """Bounded queries against one Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._api = JsonApi(url)
        session = requests.Session()
        session.trust_env = False  # a proxy of the environment must not see loopback traffic
        self._client = PrometheusConnect(
            url, retry=Retry(total=0), timeout=QUERY_TIMEOUT_S, session=session
        )

    def query(self, promql: str) -> list[Sample]:
        """The instant vector of ``promql``; empty when nothing matches. Raises SignalError."""
        return [
            Sample(row["metric"], float(row["value"][0]), float(row["value"][1]))
            for row in self._ask(promql)
        ]

    def samples(
        self, selector: str, since: float, until: float
    ) -> list[tuple[Mapping[str, str], list[tuple[float, float]]]]:
        """The raw samples of every series of ``selector`` between two Unix times, in order, as
        pairs of Unix seconds and value. Raises SignalError."""
        length_ms = max(1, round(1000 * (until - since)))
        rows = self._ask(f"{selector}[{length_ms}ms]", {"time": f"{until:.3f}"})
        return [
            (row["metric"], [(float(at), float(value)) for at, value in row["values"]])
            for row in rows
        ]

    def history(self, promql: str, since: float, until: float, step_s: float) -> list[float]:
        """What ``promql``, which may have one result at a time, gave from one Unix time to the
        next, every ``step_s`` seconds; where it had none, nothing. Raises SignalError."""
        length_ms, step_ms = (max(1, round(1000 * s)) for s in (until - since, step_s))
        rows = self._ask(f"({promql})[{length_ms}ms:{step_ms}ms]", {"time": f"{until:.3f}"})
        if len(rows) > 1:
            raise SignalError(f"{promql!r} gives {len(rows)} series where one was expected")
        return [float(value) for row in rows for _, value in row["values"]]

    def _ask(self, promql: str, params: Mapping[str, str] | None = None) -> Any:
        try:
            return self._client.custom_query(promql, params=dict(params or {}))
        except (PrometheusApiClientException, requests.RequestException) as error:
            raise SignalError(
                f"Prometheus at {self.url} can't answer {promql!r}: {error}"
            ) from error

    def value(self, promql: str) -> float | None:
        """The one value of ``promql``; None when there is none. Raises SignalError on several."""
        samples = self.query(promql)
        if len(samples) > 1:
            raise SignalError(f"{promql!r} gives {len(samples)} series where one was expected")
        return samples[0].value if samples else None

    def targets(self) -> list[ScrapeTarget]:
        """All active scrape targets. Raises SignalError."""
        data = self._api.get("/api/v1/targets", {"state": "active"})["data"]
        return [
            ScrapeTarget(
                target["labels"].get("job", ""),
                target["scrapeUrl"],
                target["health"],
                target["lastError"],
            )
            for target in data["activeTargets"]
        ]

    def close(self) -> None:
        self._api.close()
        self._client.close()
