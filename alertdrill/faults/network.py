"""Faults between the hub and what it talks to, at TCP: Toxiproxy refuses, delays or swallows."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

from alertdrill.errors import UsageError
from alertdrill.faults import vantage
from alertdrill.faults.contract import Evidence, Exposure, Fault, Target
from alertdrill.faults.toxiproxy import TOXIC_PREFIX, Toxiproxy

PROXY = "toxiproxy"
CONNECT_TIMEOUT_S = 1.0


def toxiproxy(stack: Target) -> Toxiproxy:
    return Toxiproxy(stack.url(PROXY, "api"))


@dataclass(frozen=True)
class _NetworkFault(Fault):
    """What the faults of one proxy share.

    ``service``    the name of the proxy
    ``seen_from``  the container that proves it; needs python3
    ``client``     the container whose traffic is meant to meet it; needs python3
    ``speaks``     the protocol of the service; None: what is at home at its port (PostgreSQL,
                   Redis, else HTTP)
    """

    service: str
    seen_from: str = field(default="http-faults", kw_only=True)
    client: str = field(kw_only=True)
    speaks: vantage.Protocol | None = field(default=None, kw_only=True)

    @property
    def name(self) -> str:
        return f"{type(self).__name__.lower()}({self.service})"

    def _look(self, stack: Target, timeout_s: float = CONNECT_TIMEOUT_S) -> vantage.RoundTrip:
        proxy = toxiproxy(stack).proxy(self.service)
        upstream_port = int(proxy.upstream.rpartition(":")[2])
        speaks = self.speaks or vantage.protocol_at(upstream_port)
        return vantage.round_trip(
            stack, self.seen_from, self.service, PROXY, proxy.port, timeout_s, speaks
        )


@dataclass(frozen=True)
class Refuse(_NetworkFault):
    """New connections to ``service`` are refused, established ones are closed.

    Proven by: a TCP connect to the proxy, from ``seen_from``, is refused. Counted: failed
    connects of ``client``, as its kernel counts them; those to other hosts are among them, so a
    client that fails elsewhere all the time seems to meet the fault.
    """

    def inject(self, stack: Target) -> None:
        toxiproxy(stack).disable(self.service)

    def is_effective(self, stack: Target) -> Evidence:
        seen = self._look(stack)
        what = seen.error or "was accepted"
        return Evidence(
            seen.error == "ConnectionRefusedError",
            f"a connect from {self.seen_from} to {PROXY} for {self.service}: {what}",
        )

    def heal(self, stack: Target) -> None:
        toxiproxy(stack).enable(self.service)

    def is_healed(self, stack: Target) -> Evidence:
        enabled = toxiproxy(stack).proxy(self.service).enabled
        seen = self._look(stack)
        # Toxiproxy accepts before it dials: only an answer shows that the service is reached.
        return Evidence(
            enabled and seen.answered,
            f"the proxy is {'enabled' if enabled else 'disabled'}, {self.service} "
            + ("answers" if seen.answered else f"doesn't answer ({seen.error})"),
        )

    def exposure(self, stack: Target) -> Exposure:
        return Exposure(vantage.refused_connections(stack, self.client), "refused connections")


@dataclass(frozen=True)
class _Toxic(_NetworkFault):
    """One toxic on every connection of the proxy, old and new.

    Counted: bytes through the proxy. Toxiproxy counts a connection's bytes when it ends, so those
    of ``client``'s open connections are asked of its kernel; the proofs' own are taken off.
    """

    def _toxic_name(self) -> str:
        return TOXIC_PREFIX + type(self).__name__.lower()

    @abstractmethod
    def _toxic(self) -> tuple[str, str, dict[str, int]]:
        """Type, stream and attributes."""

    def inject(self, stack: Target) -> None:
        kind, stream, attributes = self._toxic()
        server = toxiproxy(stack)
        server.remove_toxic(self.service, self._toxic_name())
        server.add_toxic(
            self.service, self._toxic_name(), kind, stream=stream, attributes=attributes
        )

    def heal(self, stack: Target) -> None:
        toxiproxy(stack).remove_toxic(self.service, self._toxic_name())

    def is_healed(self, stack: Target) -> Evidence:
        left = sorted(toxiproxy(stack).proxy(self.service).toxics)
        if left:
            return Evidence(False, f"{self.service} still has the toxics {', '.join(left)}")
        seen = self._look(stack)
        return Evidence(
            seen.answered and not self._bites(seen),
            f"no toxic is left, {self.service} {_told(seen)}",
        )

    def is_effective(self, stack: Target) -> Evidence:
        seen = self._look(stack, self._patience_s())
        return Evidence(self._bites(seen), f"{self.service} {_told(seen)} ({self.seen_from} asked)")

    def _patience_s(self) -> float:
        return CONNECT_TIMEOUT_S

    @abstractmethod
    def _bites(self, seen: vantage.RoundTrip) -> bool:
        """Whether a connection that fared like this met the fault."""

    def exposure(self, stack: Target) -> Exposure:
        server = toxiproxy(stack)
        ended = server.finished_bytes(self.service)
        running = vantage.open_bytes(stack, self.client, PROXY, server.proxy(self.service).port)
        proofs = vantage.probed_bytes(stack, self.seen_from, self.service)
        return Exposure(max(0, ended + running - proofs), "bytes")


@dataclass(frozen=True)
class Latency(_Toxic):
    """Every answer of ``service`` comes ``latency_ms`` later, give or take ``jitter_ms``.

    Per answer, not per byte: a statement on an open connection is delayed once, a new connection
    as often as its handshake has answers. Proven by: the first answer of the service's protocol,
    timed from ``seen_from``, takes at least as long.
    """

    latency_ms: int
    jitter_ms: int = 0

    def __post_init__(self) -> None:
        if self.latency_ms < 1 or not 0 <= self.jitter_ms <= self.latency_ms:
            raise UsageError(
                f"latency must be from 1 ms and jitter from 0 to the latency, "
                f"not {self.latency_ms} and {self.jitter_ms}"
            )

    def _toxic(self) -> tuple[str, str, dict[str, int]]:
        return "latency", "downstream", {"latency": self.latency_ms, "jitter": self.jitter_ms}

    def _patience_s(self) -> float:
        return (self.latency_ms + self.jitter_ms) / 1000 + CONNECT_TIMEOUT_S

    def _bites(self, seen: vantage.RoundTrip) -> bool:
        least_s = max(1, self.latency_ms - self.jitter_ms) / 1000
        return seen.answer_s is not None and seen.answer_s >= least_s


@dataclass(frozen=True)
class BlackHole(_Toxic):
    """``service`` accepts connections and never answers; open ones fall silent.

    Healing closes the connections that were held. Proven by: no answer within a second.
    """

    def _toxic(self) -> tuple[str, str, dict[str, int]]:
        return "timeout", "downstream", {"timeout": 0}

    def _bites(self, seen: vantage.RoundTrip) -> bool:
        return seen.connected and seen.error == "TimeoutError"


@dataclass(frozen=True)
class Reset(_Toxic):
    """Connections to ``service`` are accepted and then reset. Proven by: so is one from
    ``seen_from``."""

    def _toxic(self) -> tuple[str, str, dict[str, int]]:
        return "reset_peer", "downstream", {"timeout": 0}

    def _bites(self, seen: vantage.RoundTrip) -> bool:
        return seen.connected and seen.error == "ConnectionResetError"


def _told(seen: vantage.RoundTrip) -> str:
    if seen.answer_s is not None:
        return f"answered after {seen.answer_s * 1000:.0f} ms"
    return f"gave no answer: {seen.error}"
