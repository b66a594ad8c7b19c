"""Prometheus' metrics and targets: bounded queries, and an empty answer is no answer.

The only module that touches prometheus-api-client: it retries for seconds by default and has no
time-out unless told, which would hide a dead Prometheus inside a drill.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    """Instant queries against one Prometheus."""

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
        try:
            answer = self._client.custom_query(promql)
        except (PrometheusApiClientException, requests.RequestException) as error:
            raise SignalError(
                f"Prometheus at {self.url} can't answer {promql!r}: {error}"
            ) from error
        return [
            Sample(row["metric"], float(row["value"][0]), float(row["value"][1])) for row in answer
        ]

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
