"""Faults of time: a service whose clock is wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import httpx

from alertdrill.errors import FaultError, UsageError
from alertdrill.faults.contract import Evidence, Target
from alertdrill.faults.replacement import Release

# The Date of an answer has whole seconds, and the answer takes its time.
EXACT_S = 2.0
LEAST_S = 5
TIMEOUT_S = 2.0


@dataclass(frozen=True)
class ClockSkew(Release):
    """The clock of ``service``, and no other, is ``seconds`` ahead, or behind where negative.

    It is released again from ``image``: its own with libfaketime preloaded, which reads FAKETIME.
    Clocks that can't be set, from which timeouts and durations are taken, stay right.

    ``port``, ``path``  where it answers over HTTP, whatever the status

    Proven by: the Date of its answer, against the clock of this machine.
    """

    layer = "time"

    seconds: int
    image: str = field(kw_only=True)
    port: str = field(default="http", kw_only=True)
    path: str = field(default="/", kw_only=True)

    def __post_init__(self) -> None:
        if abs(self.seconds) < LEAST_S:
            raise UsageError(f"a clock is wrong by at least {LEAST_S} s, not {self.seconds}")

    @property
    def name(self) -> str:
        return f"clockskew({self.service})"

    @property
    def _image(self) -> str:
        return self.image

    @property
    def _changed(self) -> Mapping[str, str]:
        return {"FAKETIME": f"{self.seconds:+d}"}

    def is_effective(self, stack: Target) -> Evidence:
        released = super().is_effective(stack)
        return self._is_wrong_by(stack, self.seconds) if released.holds else released

    def is_healed(self, stack: Target) -> Evidence:
        healed = super().is_healed(stack)
        return self._is_wrong_by(stack, 0) if healed.holds else healed

    def _is_wrong_by(self, stack: Target, seconds: int) -> Evidence:
        try:
            answer = httpx.get(
                stack.url(self.service, self.port) + self.path,
                timeout=TIMEOUT_S,
                trust_env=False,
                verify=False,  # plain HTTP
            )
        except httpx.HTTPError as error:
            return Evidence(False, f"{self.service} doesn't answer: {error or type(error)}")
        skew_s = _date_of(answer, self.service) - time.time()
        return Evidence(
            abs(skew_s - seconds) <= EXACT_S,
            f"the Date of {self.service} is {skew_s:+.0f} s from now",
        )


def _date_of(answer: httpx.Response, service: str) -> float:
    """Unix time."""
    try:
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError) as error:
        raise FaultError(f"{service} doesn't say its time: no Date in its answer") from error
