"""What every alert did under one fault: once as a live drill saw it, once in its replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

QUIET = "quiet"
# Times without a fault, as a drill's fault and as a replay's segment are called.
CONTROLS = frozenset({"nothing", "healthy"})


class State(StrEnum):
    """What an alert did, as far as it was judged."""

    FIRED = "fired"
    QUIET = "quiet"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Seen:
    """One alert under one fault. ``expected`` is what the table says: ``fires``, ``inhibited``,
    ``may fire`` or ``quiet``; ``why`` says more where the state alone doesn't."""

    expected: str
    state: State
    why: str = ""

    @property
    def fired(self) -> bool:
        return self.state is State.FIRED

    @property
    def is_wrong(self) -> bool:
        """It fired, and had to stay quiet."""
        return self.fired and self.expected == QUIET

    @property
    def is_missed(self) -> bool:
        """It had to fire, and stayed quiet."""
        return self.state is State.QUIET and self.expected in ("fires", "inhibited")


@dataclass(frozen=True)
class Incident:
    """One drill, its replay, or both; ``live`` and ``virtual`` are by alert, and empty where
    there was none. ``id`` is the drill's, or the replayed segment's name."""

    id: str
    fault: str
    live: Mapping[str, Seen] = field(default_factory=dict)
    virtual: Mapping[str, Seen] = field(default_factory=dict)

    @property
    def is_control(self) -> bool:
        return self.fault in CONTROLS

    @property
    def alerts(self) -> tuple[str, ...]:
        """All that are known here, by name."""
        return tuple(sorted({*self.live, *self.virtual}))

    def sights(self, alert: str) -> dict[str, Seen]:
        """What is known of ``alert``, by where it was seen: ``live``, ``replay``."""
        both = (("live", self.live), ("replay", self.virtual))
        return {where: seen[alert] for where, seen in both if alert in seen}
