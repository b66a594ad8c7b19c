"""An alert with a trip point that is known, in place of a stack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from alertdrill.drill import Drill
from alertdrill.faults.http import HttpStatus
from alertdrill.load.plan import Load
from alertdrill.trip.axis import Axis, dose_axis
from alertdrill.trip.result import Pair
from alertdrill.trip.search import Reading, Value

HALF = HttpStatus("github", rate=0.5)
HALF_FAIL = Drill(
    "half the requests fail",
    fault=HALF,
    load=Load("load.py", {"User": 1.0}),
    fires={"High"},
    may_fire={"Other"},
)
PAIR = Pair("High", HALF_FAIL)
SHARES = dose_axis(HALF, 0.01)


@dataclass
class Planted:
    """Fires where ``fires`` says so; its value is twice the dose. Remembers what it was given."""

    fires: Callable[[float], bool]
    given: list[float] = field(default_factory=list)

    def __call__(self, dose: float) -> Reading:
        self.given.append(dose)
        value = Value(2 * dose, 1.8 * dose, 2.2 * dose)
        return Reading(dose, self.fires(dose), value=value)


def above(limit: float) -> Planted:
    return Planted(lambda dose: dose > limit)


def latencies(own: float = 1000.0) -> Axis:
    return Axis("latency", "ms", 10.0, own, 2 * own, 0.1, logarithmic=True, whole=True)
