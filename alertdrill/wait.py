"""The one way to wait: ask again until it holds, on a monotonic clock, with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from alertdrill.errors import DeadlineExceeded

T = TypeVar("T")


def eventually(
    probe: Callable[[], T | None],
    *,
    timeout_s: float,
    what: str,
    interval_s: float = 0.05,
    cancelled: threading.Event | None = None,
) -> T:
    """The first result of ``probe`` that is not None (or False).

    ``what`` completes the sentence "waited for …"; ``interval_s`` is the pause between two
    probes. ``cancelled``, once set, ends the wait at once. Raises DeadlineExceeded when cancelled,
    or when a probe that began ``timeout_s`` seconds after the first, or later, found nothing: one
    slow probe is never the only one. Whatever ``probe`` raises passes through.
    """
    begun = time.monotonic()
    pause = cancelled or threading.Event()
    while True:
        is_last = time.monotonic() - begun >= timeout_s
        result = probe()
        if result is not None and result is not False:
            return result
        waited = time.monotonic() - begun
        if pause.is_set():
            raise DeadlineExceeded(f"stopped waiting for {what} after {waited:.1f} s: cancelled")
        if is_last:
            raise DeadlineExceeded(f"waited {waited:.1f} s for {what}")
        pause.wait(min(interval_s, max(0.0, timeout_s - waited)))
