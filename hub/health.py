"""Four checks, side by side, each bounded by its own timeout."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from datetime import UTC, datetime
from typing import Any

from hub.errors import HubError
from hub.logs import LOGGER
from hub.upstream import Deadline

CHECK_TIMEOUT_S = 1.0

log = logging.getLogger(LOGGER)


class Health:
    """Each check runs at most once at a time: callers who come meanwhile share its answer,
    so that no number of callers can pile up threads on something that hangs."""

    def __init__(self, checks: Mapping[str, Callable[[], bool]]):
        self._checks = dict(checks)
        self._lock = threading.Lock()
        self._running: dict[str, Future[bool]] = {}
        self._pool = ThreadPoolExecutor(len(self._checks), thread_name_prefix="health")

    def report(self) -> tuple[dict[str, Any], bool]:
        """The document of ``GET /health``, and whether all is well; within about a second."""
        deadline = Deadline.within(CHECK_TIMEOUT_S)
        futures = {name: self._start(name) for name in self._checks}
        checks = {name: self._result(name, futures[name], deadline) for name in futures}
        healthy = all(checks.values())
        document = {
            "status": "healthy" if healthy else "degraded",
            "timestamp": datetime.now(UTC).isoformat(),
            "checks": checks,
        }
        return document, healthy

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, name: str) -> Future[bool]:
        with self._lock:
            running = self._running.get(name)
            if running is None or running.done():
                running = self._running[name] = self._pool.submit(self._checks[name])
            return running

    def _result(self, name: str, future: Future[bool], deadline: Deadline) -> bool:
        try:
            return future.result(timeout=max(deadline.left_s, 0))
        except FutureTimeout:
            reason = f"no answer within {CHECK_TIMEOUT_S:g} s"
        except HubError as error:
            reason = str(error)
        log.warning("health_check_failed", extra={"check": name, "error.message": reason})
        return False
