"""A JSON API on loopback: one connection kept open, a time-out on every call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from alertdrill.errors import SignalError

TIMEOUT_S = 5.0


class JsonApi:
    """GETs JSON documents below ``url``; everything else is a SignalError."""

    def __init__(self, url: str) -> None:
        # Plain HTTP on loopback: no proxy of the environment, no certificates to load.
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False, verify=False)

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The parsed document. Raises SignalError unless it is a 2xx with JSON."""
        try:
            return self._client.get(path, params=params).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise SignalError(
                f"GET {self._client.base_url}{path} failed: {str(error) or type(error).__name__}"
            ) from error

    def close(self) -> None:
        self._client.close()
