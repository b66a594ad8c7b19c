"""What arrived at the end of the line: every notification that the receiver recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alertdrill.signals.http import JsonApi
from alertdrill.timeline import monotonic_of


@dataclass(frozen=True)
class Notification:
    """One alert inside one webhook call.

    ``at``        monotonic seconds when the receiver got it
    ``receiver``  where it arrived, by the receiver's own path (not by what the sender claims)
    ``status``    firing or resolved
    ``group``     the key of the Alertmanager group that it was sent for
    """

    at: float
    receiver: str
    alert: str
    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    group: str = ""


class Notifications:
    """Reads a receiver incrementally: each call of ``new`` gives what came since the last.

    ``latest``  the last that was read of each alert, by its name
    """

    def __init__(self, url: str) -> None:
        self._api = JsonApi(url)
        self._after = 0
        self.latest: dict[str, Notification] = {}

    def new(self) -> list[Notification]:
        """Raises SignalError when the receiver can't be read."""
        rows = self._api.get("/notifications", {"after": str(self._after)})["notifications"]
        if rows:
            self._after = rows[-1]["seq"]
        arrived = [notification for row in rows for notification in _unpack(row)]
        self.latest |= {notification.alert: notification for notification in arrived}
        return arrived

    def close(self) -> None:
        self._api.close()


def _unpack(row: dict[str, Any]) -> Iterator[Notification]:
    # Asked once: one call has one time, by which its alerts are known to belong together.
    at = monotonic_of(row["received_at"])
    for alert in row["body"]["alerts"]:
        yield Notification(
            at=at,
            receiver=row["receiver"],
            alert=alert["labels"].get("alertname", ""),
            status=alert["status"],
            labels=alert["labels"],
            annotations=alert["annotations"],
            group=row["body"].get("groupKey", ""),
        )
