"""What load a drill runs under, as a value that a table can hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from alertdrill.errors import UsageError
from alertdrill.load.pacing import HOLD_S, users_for


class Rates(Mapping[str, float]):
    """Requests per second by user class: immutable and hashable."""

    def __init__(self, rates: Mapping[str, float]) -> None:
        self._pairs = tuple(sorted((name, float(rate)) for name, rate in rates.items()))

    def __getitem__(self, name: str) -> float:
        for known, rate in self._pairs:
            if known == name:
                return rate
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        return repr(dict(self._pairs))


@dataclass(frozen=True)
class Load:
    """A Locust load at a planned rate.

    ``locustfile``  its path below the project's root; its users are ``PacedHttpUser``s
    ``rates``       Locust user class -> planned requests per second, each above 0
    ``name``        what reports call it
    ``timeout_s``   the clients' timeout for one whole request
    ``hold_s``      answers may take this long, in seconds, before the planned rate is lost

    Raises UsageError when a value is out of range.
    """

    locustfile: str
    rates: Mapping[str, float]
    name: str = "load"
    timeout_s: float = 20.0
    hold_s: float = HOLD_S

    def __post_init__(self) -> None:
        path = PurePosixPath(self.locustfile)
        if path.is_absolute() or ".." in path.parts or path.suffix != ".py":
            raise UsageError(
                f"locustfile {self.locustfile!r}: expected a .py file below the project's root"
            )
        if not self.rates:
            raise UsageError(f"load {self.name!r} plans no requests: rates is empty")
        for user, rate in self.rates.items():
            if not user.isidentifier():
                raise UsageError(f"load {self.name!r}: {user!r} is no name of a user class")
            if not (math.isfinite(rate) and rate > 0):
                raise UsageError(f"load {self.name!r}: rate of {user} is {rate}, expected above 0")
        for what, seconds in (("timeout_s", self.timeout_s), ("hold_s", self.hold_s)):
            if not (math.isfinite(seconds) and seconds > 0):
                raise UsageError(f"load {self.name!r}: {what} is {seconds}, expected above 0")
        object.__setattr__(self, "rates", Rates(self.rates))

    @property
    def total_rps(self) -> float:
        """Planned requests per second, all user classes together."""
        return sum(self.rates.values())

    @property
    def users(self) -> dict[str, int]:
        """How many users of each class hold the planned rate."""
        return {user: users_for(rate, self.hold_s) for user, rate in self.rates.items()}

    def __str__(self) -> str:
        return self.name
