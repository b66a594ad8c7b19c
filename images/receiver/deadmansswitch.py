"""A dead man's switch: raises the alarm when the monitoring's heartbeat is no longer heard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

# A process that had no processor for a while finds its time over, and the heartbeats that came
# meanwhile still to be read.
READING_S = 0.5


class DeadMansSwitch:
    """Tells ``notify`` when no heartbeat came for ``patience_s`` seconds (and ``READING_S``), and
    when one came again.

    It is armed when it is entered: monitoring that never comes up is noticed as well. What it
    tells has the form of Alertmanager's webhook. ``patience_s`` None: it waits for ever.
    """

    def __init__(
        self,
        patience_s: float | None,
        notify: Callable[[dict[str, Any]], object],
        labels: dict[str, str],
        annotations: dict[str, str],
    ) -> None:
        self._patience_s = patience_s
        self._notify = notify
        self._labels = labels
        self._annotations = annotations
        self._changed = threading.Condition()
        self._heard_at = time.monotonic()
        self._silent_since: datetime | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._watch, name="dead-mans-switch", daemon=True)

    def __enter__(self) -> DeadMansSwitch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def hear(self, notification: dict[str, Any]) -> None:
        """Take a notification for a heartbeat, unless it says that the heartbeat has ended."""
        if notification.get("status") != "firing":
            return
        with self._changed:
            self._heard_at = time.monotonic()
            if self._silent_since is not None:
                self._tell("resolved", self._silent_since)
                self._silent_since = None
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            self._heard_at = time.monotonic()
            while not self._stopped:
                left_s = self._left_s()
                if left_s is None or left_s > 0:
                    self._changed.wait(left_s)
                    continue
                self._changed.wait(READING_S)
                left_s = self._left_s()
                if not self._stopped and left_s is not None and left_s <= 0:
                    self._silent_since = datetime.now(UTC)
                    self._tell("firing", self._silent_since)

    def _left_s(self) -> float | None:
        """Until the alarm; None where there is nothing to wait for but a heartbeat."""
        if self._patience_s is None or self._silent_since is not None:
            return None
        return self._heard_at + self._patience_s - time.monotonic()

    def _tell(self, status: str, since: datetime) -> None:
        # Under the lock: an end is never told before its beginning.
        alert = {
            "status": status,
            "labels": self._labels,
            "annotations": self._annotations,
            "startsAt": since.isoformat(),
        }
        if status == "resolved":
            alert["endsAt"] = datetime.now(UTC).isoformat()
        self._notify({"status": status, "alerts": [alert]})
