"""What the load generator tells the runner: one JSON object a line, over a pipe.

Times are seconds of CLOCK_MONOTONIC, which all processes of a host share.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OUT_FD = "ALERTDRILL_LOAD_OUT"
"""Environment variable: the file descriptor that the generator writes to."""
PLAN = "ALERTDRILL_LOAD_PLAN"
"""Environment variable: the plan, see ``encode_plan``."""
SEED = "ALERTDRILL_SEED"
"""Environment variable: the seed of everything random in the load."""

HEARTBEAT_S = 0.25


@dataclass(frozen=True, slots=True)
class Finished:
    """A request that ended: answered, refused or timed out.

    ``status``  0 when there was no answer
    ``error``   a short label that can be counted (``HTTP 503``, ``TimeoutError``), None when ok
    ``key``     the idempotency key that it promised, if any: what a later check may look for
    """

    end: float
    start: float
    user: str
    name: str
    ok: bool
    status: int
    ms: float
    error: str | None = None
    key: str | None = None

    def line(self) -> bytes:
        return _line(
            {
                "t": round(self.end, 6),
                "s": round(self.start, 6),
                "user": self.user,
                "name": self.name,
                "ok": self.ok,
                "status": self.status,
                "ms": round(self.ms, 3),
                "error": self.error,
                "key": self.key,
            }
        )


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The generator lives; its counters since its start, by user class.

    ``missed``  slots of the schedule that passed while every user was still waiting
    """

    at: float
    users: int
    started: Mapping[str, int]
    inflight: Mapping[str, int]
    missed: Mapping[str, int]

    def line(self) -> bytes:
        return _line(
            {
                "hb": round(self.at, 6),
                "users": self.users,
                "started": self.started,
                "inflight": self.inflight,
                "missed": self.missed,
            }
        )


@dataclass(frozen=True, slots=True)
class Broken:
    """The locustfile itself raised: what it sends is no longer what was planned."""

    at: float
    user: str
    error: str

    def line(self) -> bytes:
        return _line({"bug": round(self.at, 6), "user": self.user, "error": self.error})


Event = Finished | Heartbeat | Broken


def decode(line: bytes) -> Event:
    """The event in one line. Raises ValueError when it is none of them."""
    try:
        data = json.loads(line)
        if "t" in data:
            return Finished(
                end=data["t"],
                start=data["s"],
                user=data["user"],
                name=data["name"],
                ok=data["ok"],
                status=data["status"],
                ms=data["ms"],
                error=data["error"],
                key=data["key"],
            )
        if "hb" in data:
            return Heartbeat(
                at=data["hb"],
                users=data["users"],
                started=data["started"],
                inflight=data["inflight"],
                missed=data["missed"],
            )
        return Broken(at=data["bug"], user=data["user"], error=data["error"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an event of the load generator: {line[:200]!r}") from error


@dataclass(frozen=True)
class Plan:
    """What the generator must know of a Load."""

    rates: Mapping[str, float]
    users: Mapping[str, int]
    timeout_s: float


def encode_plan(plan: Plan) -> str:
    return json.dumps(
        {"rates": dict(plan.rates), "users": dict(plan.users), "timeout_s": plan.timeout_s}
    )


def decode_plan(text: str) -> Plan:
    data = json.loads(text)
    return Plan(rates=data["rates"], users=data["users"], timeout_s=data["timeout_s"])


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"
