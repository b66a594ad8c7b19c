"""Redis, used for what may be lost: without it the hub works on, only with more to do.

After a failure Redis is left alone for a second, so that a dead one costs each request nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import redis
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.trace import TracerProvider
from redis.backoff import NoBackoff
from redis.retry import Retry

from hub.logs import LOGGER

TIMEOUT_S = 0.25
REST_S = 1.0

log = logging.getLogger(LOGGER)
T = TypeVar("T")


class Cache:
    """A key that can't be read is a key that isn't there; a write that fails is forgotten."""

    def __init__(self, url: str, tracer_provider: TracerProvider):
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            # One more attempt, for a connection that died while it was idle.
            retry=Retry(NoBackoff(), 1),
        )
        RedisInstrumentor.instrument_client(self._redis, tracer_provider=tracer_provider)
        self._rests_until = 0.0

    def get(self, key: str) -> bytes | None:
        return self._attempt(lambda: _bytes(self._redis.get(key)), None)

    def put(self, key: str, value: bytes | str, ttl_s: int) -> None:
        self._attempt(lambda: self._redis.set(key, value, ex=ttl_s), None)

    def get_all(self, key: str) -> dict[bytes, bytes]:
        """Every field of a hash."""
        return self._attempt(lambda: dict(_mapping(self._redis.hgetall(key))), {})

    def put_all(self, key: str, fields: Mapping[str, str], ttl_s: int) -> None:
        """Set ``fields`` of a hash and renew its time to live."""

        def write() -> None:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.hset(key, items=[part for field in fields.items() for part in field])
            pipeline.expire(key, ttl_s)
            pipeline.execute()

        self._attempt(write, None)

    def ping(self) -> bool:
        """Ask Redis itself, resting or not."""
        try:
            return bool(self._redis.ping())
        except (redis.RedisError, OSError) as error:
            self._rest(error)
            return False

    def close(self) -> None:
        self._redis.close()

    def _attempt(self, action: Callable[[], T], otherwise: T) -> T:
        if time.monotonic() < self._rests_until:
            return otherwise
        try:
            return action()
        except (redis.RedisError, OSError) as error:
            self._rest(error)
            return otherwise

    def _rest(self, error: Exception) -> None:
        self._rests_until = time.monotonic() + REST_S
        log.warning("cache_unavailable", extra={"error.message": str(error)[:300]})


def _bytes(value: Any) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _mapping(value: Any) -> Mapping[bytes, bytes]:
    return value if isinstance(value, Mapping) else {}
