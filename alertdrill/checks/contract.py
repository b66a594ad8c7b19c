"""The contract of every check: asked under the fault and again afterwards, it says what it saw."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from alertdrill.bench import Bench
from alertdrill.drill import Drill
from alertdrill.load.session import LoadSession
from alertdrill.profiles import runs_no
from alertdrill.signals.alerts import AlertWatch
from alertdrill.verdict import Finding


@dataclass(frozen=True)
class View:
    """What a check may look at. Times are monotonic seconds; ``begun``: from then on the load's
    requests are this drill's; ``injected``: when injection began; ``in_force``: when it was done.
    """

    drill: Drill
    bench: Bench
    load: LoadSession
    watch: AlertWatch
    begun: float
    injected: float
    in_force: float

    @property
    def is_control(self) -> bool:
        return self.drill.is_control

    @property
    def spares_users(self) -> bool:
        """Whether no request may fail: the fault is of the monitoring alone, or there is none."""
        return self.is_control or self.drill.spares_users

    def why_not_run(self, component: str) -> str | None:
        """Why nothing is known of what ``component`` would tell; None: it runs."""
        if component in self.bench.stack.component_names:
            return None
        return runs_no([self.bench.profile], [component])


class Check(ABC):
    """One subject of a drill beside its alerts; an instance serves one drill.

    Both questions may raise AlertdrillError: then nothing is known.
    """

    id: str
    """What ``verdict.json`` calls it."""

    def under_fault(self, view: View) -> list[Finding]:
        """When everything about alerts is decided, and nothing is healed yet."""
        return []

    def after(self, view: View) -> list[Finding]:
        """When alerts are resolved and clients are served again."""
        return []

    @abstractmethod
    def document(self) -> dict[str, Any]:
        """What was measured, and ``seen``: the same in a sentence.

        ``not_verified``, where it stands, says why it can't be known here.
        """
