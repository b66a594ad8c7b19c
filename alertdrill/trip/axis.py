"""The doses among which a trip point is sought: a share, a latency, a number, or a duration."""

from __future__ import annotations

import math
from dataclasses import dataclass

from alertdrill.errors import UsageError
from alertdrill.faults.contract import Fault
from alertdrill.faults.dosage import SHARE
from alertdrill.rules.durations import format_ms

DURATION = "duration"
# Beyond the drill's own dose, so far as this is looked for what trips the alert.
BEYOND = 2.0
FINE_SHARE = 0.02
FINE_QUOTIENT = 0.1
FINE_OF_OWN = 0.02


@dataclass(frozen=True)
class Axis:
    """Doses from ``least`` to ``most``, in ``unit`` (see ``Dosage``).

    ``what``        what is measured, in words
    ``own``         the drill's own dose
    ``resolution``  two doses no further apart are near enough: their difference, or, on a
                    logarithmic axis, by how much of itself the smaller one is exceeded
    """

    what: str
    unit: str
    least: float
    own: float
    most: float
    resolution: float
    logarithmic: bool = False
    whole: bool = False

    def middle(self, below: float, above: float) -> float:
        """The dose half-way between two."""
        middle = math.sqrt(below * above) if self.logarithmic else (below + above) / 2
        return float(round(middle)) if self.whole else float(f"{middle:.4g}")

    def is_fine(self, one: float, other: float) -> bool:
        """Whether nothing between the two needs to be tried."""
        below, above = sorted((one, other))
        width = above / below - 1 if self.logarithmic else above - below
        return width <= self.resolution * (1 + 1e-9) or (self.whole and above - below <= 1)

    def words(self, dose: float) -> str:
        if self.unit == SHARE:
            return f"{100 * dose:.3g} %"
        if self.unit == DURATION:
            return format_ms(round(dose) * 1000)
        return f"{dose:.4g} {self.unit}"


def dose_axis(fault: Fault, resolution: float | None = None) -> Axis:
    """The axis of a fault's own dose, up to twice what it is. Raises UsageError for a fault that
    has none, and for a resolution that makes no sense."""
    dosage = fault.dosage
    if dosage is None:
        raise UsageError(
            f"{fault.name} has no dose: it is there or it isn't; `--by duration` finds the "
            "shortest that trips the alert"
        )
    own = float(getattr(fault, dosage.field))
    if resolution is None:
        fine = FINE_SHARE if dosage.unit == SHARE else FINE_OF_OWN * own
        resolution = FINE_QUOTIENT if dosage.logarithmic else fine
    return Axis(
        what=dosage.what,
        unit=dosage.unit,
        least=min(dosage.least, own),
        own=own,
        most=min(dosage.most, BEYOND * own),
        resolution=sensible(resolution),
        logarithmic=dosage.logarithmic,
        whole=dosage.whole,
    )


def duration_axis(longest_s: float, resolution_s: float) -> Axis:
    """The axis of how long a fault lasts, in seconds on the real clock."""
    return Axis("duration", DURATION, 0.0, longest_s, longest_s, sensible(resolution_s))


def sensible(resolution: float) -> float:
    """``resolution``. Raises UsageError unless it is a number above 0."""
    if not (math.isfinite(resolution) and resolution > 0):
        raise UsageError(f"--resolution must be more than nothing, not {resolution:g}")
    return resolution
