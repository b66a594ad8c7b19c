"""What of a fault can be more or less, so that the least that trips an alert can be found."""

from __future__ import annotations

from dataclasses import dataclass

SHARE = "share"


@dataclass(frozen=True)
class Dosage:
    """What says how much of a fault there is; more of it breaks more.

    ``field``        the field of the fault
    ``what``         what is measured, in words: ``share of requests``
    ``unit``         ``ms``, ``s``, a noun in the plural, or ``share`` (from 0 to 1)
    ``least, most``  the doses that the fault takes
    ``logarithmic``  twice as much is one step, wherever it begins; else steps are of one size
    ``whole``        only whole numbers
    """

    field: str
    what: str
    unit: str
    least: float
    most: float
    logarithmic: bool = False
    whole: bool = False


SHARE_OF_REQUESTS = Dosage("rate", "share of requests", SHARE, least=0.01, most=1.0)
