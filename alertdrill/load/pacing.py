"""When the next request starts: one schedule per user class, shared by all its users.

This is the seam between closed and open load. What stands here is closed: a fixed number of
users, each of which waits for its answer before it sends again. While the system answers within
``HOLD_S`` the plan is kept exactly; when it is slower, every user is busy, slots pass unused, and
the load silently becomes as slow as the system. Latencies measured then are too good, because
the requests that would have suffered most were never sent (coordinated omission). A closed model
can't show them; it can only count the slots that it missed and say that the load is invalid.
An open model replaces ``SlotClock`` and the number of users, nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

HOLD_S = 8.0
"""Answers may take this long, in seconds, before the planned rate is lost."""


def users_for(rate: float, hold_s: float = HOLD_S) -> int:
    """How many users keep ``rate`` requests per second when each takes ``hold_s`` (Little's law).

    At least one.
    """
    return max(1, math.ceil(rate * hold_s))


@dataclass
class SlotClock:
    """An absolute schedule of evenly spaced slots; whoever is free takes the next one.

    Since free users share one schedule, many that become free at once (a hung server comes back)
    are spread again over the following slots, instead of marching in step for ever, as they do
    when each user paces itself.

    ``rate``    slots per second
    ``missed``  slots that passed while no user was free
    """

    rate: float
    missed: int = 0
    _next: float | None = None

    def reserve(self, now: float) -> float:
        """Take the next free slot: its time, ``now`` or later, in seconds of the clock of ``now``.

        Slots that lie a whole period or more in the past are missed, not made up for.
        """
        period = 1.0 / self.rate
        slot = now if self._next is None else self._next
        passed = max(0, int((now - slot) / period))
        self.missed += passed
        slot += passed * period
        self._next = slot + period
        return max(slot, now)
