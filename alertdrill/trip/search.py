"""The search for the smallest dose that trips an alert: by bisection, and never further than told.

It knows nothing of stacks: whoever gives a dose and looks is a function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alertdrill.errors import AlertdrillError, UsageError
from alertdrill.premises import reason_of
from alertdrill.trip.axis import Axis
from alertdrill.verdict import Finding, Reason


@dataclass(frozen=True)
class Value:
    """What the alert's expression had under a dose: its mean, and how far it wavered."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Reading:
    """What one dose did.

    ``dose``     what was really given: of a duration, as long as it really lasted
    ``after_s``  when the alert fired, in seconds from injection on the real clock
    ``value``    None: it can't be compared with a threshold, or had no result
    ``met``      how much traffic met the fault, where it is counted
    """

    dose: float
    fired: bool
    after_s: float | None = None
    value: Value | None = None
    met: int | None = None


Probe = Callable[[float], Reading]


class Unmeasured(AlertdrillError):
    """A dose was tried, and what came of it proves nothing."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Search:
    """All that was tried, in that order. ``broken_off``: what ended it too early."""

    axis: Axis
    readings: tuple[Reading, ...]
    broken_off: Finding | None = None

    @property
    def fires_from(self) -> float | None:
        """The smallest dose that tripped the alert."""
        return min((r.dose for r in self.readings if r.fired), default=None)

    @property
    def quiet_up_to(self) -> float | None:
        """The largest dose below it that didn't; where none did, the largest of all."""
        above = self.fires_from
        quiet = [r.dose for r in self.readings if not r.fired]
        return max((dose for dose in quiet if above is None or dose < above), default=None)

    @property
    def contradiction(self) -> tuple[float, float] | None:
        """A dose that tripped it and a larger one that didn't, further apart than noise is."""
        least, quiet = self.fires_from, [r.dose for r in self.readings if not r.fired]
        if least is None or not quiet or max(quiet) <= least:
            return None
        return None if self.axis.is_fine(least, max(quiet)) else (least, max(quiet))

    @property
    def gap(self) -> tuple[float, float] | None:
        """Between which doses the trip point lies; None: near enough, or not at all."""
        above = self.fires_from
        if above is None or self.contradiction is not None:
            return None
        quiet = self.quiet_up_to
        below = self.axis.least if quiet is None else quiet
        return None if above <= below or self.axis.is_fine(below, above) else (below, above)


def search(axis: Axis, probe: Probe, *, most_probes: int) -> Search:
    """Try the drill's own dose, the largest one, and then halve what is left between quiet and
    firing, until it is as fine as the axis asks for or ``most_probes`` doses were tried.

    The largest dose tells whether more of the fault may be less of an alert. Interrupted, it
    returns what it has.
    """
    readings: list[Reading] = []
    try:
        for dose in dict.fromkeys((axis.own, axis.most)):
            readings.append(probe(dose))
        while len(readings) < most_probes:
            gap = Search(axis, tuple(readings)).gap
            if gap is None:
                break
            readings.append(probe(axis.middle(*gap)))
            if not gap[0] < readings[-1].dose < gap[1]:
                break  # it can't be given any finer: a container takes its time to boot
    except Unmeasured as error:
        return Search(axis, tuple(readings), Finding(error.reason, str(error)))
    except KeyboardInterrupt:  # what was found so far took minutes: it is told
        return Search(
            axis, tuple(readings), Finding(Reason.INTERRUPTED, "the search was interrupted")
        )
    except UsageError:
        raise
    except AlertdrillError as error:
        return Search(axis, tuple(readings), Finding(reason_of(error), str(error)))
    return Search(axis, tuple(readings))
