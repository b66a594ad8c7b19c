"""Faults between the hub and what it talks to, at TCP: Toxiproxy refuses, delays, chokes, cuts."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from alertdrill.errors import UsageError
from alertdrill.faults import vantage
from alertdrill.faults.contract import Dosage, Evidence, Exposure, Fault, Target
from alertdrill.faults.guard import refuse_stranger
from alertdrill.faults.toxiproxy import PROXY, TOXIC_PREFIX, toxiproxy, without_toxic
from alertdrill.faults.transfer import Transfer, transfers

CONNECT_TIMEOUT_S = 1.0
# A transfer is planned to take this long under the fault.
TRANSFER_S = 0.25
# What a proven latency may be of the one that was asked for; the machine has its own on top.
LEAST_SHARE, MOST_SHARE, DELAYED_S = 0.8, 1.25, 0.25
# So much is told from what the machine does by a single answer.
LONG_MS = 200


@dataclass(frozen=True)
class _NetworkFault(Fault):
    """What the faults of one proxy share.

    ``service``    the name of the proxy
    ``seen_from``  the container that proves it; needs python3
    ``client``     the container whose traffic is meant to meet it; needs python3
    ``speaks``     the protocol of the service; None: what is at home at its port (PostgreSQL,
                   Redis, else HTTP)
    """

    layer = "TCP"

    service: str
    seen_from: str = field(default="http-faults", kw_only=True)
    client: str = field(kw_only=True)
    speaks: vantage.Protocol | None = field(default=None, kw_only=True)

    @property
    def name(self) -> str:
        return f"{type(self).__name__.lower()}({self.service})"

    def _refuse_stranger(self, stack: Target) -> None:
        host, _, _ = toxiproxy(stack).proxy(self.service).upstream.rpartition(":")
        refuse_stranger(stack, f"the proxy {self.service}", host)

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
        self._refuse_stranger(stack)
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
class _Seen:
    """``whole``: the service answered as it should; ``bites``: the connection met the fault."""

    whole: bool
    bites: bool
    told: str


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
        self._refuse_stranger(stack)
        kind, stream, attributes = self._toxic()
        server = toxiproxy(stack)
        server.remove_toxic(self.service, self._toxic_name())
        server.add_toxic(
            self.service, self._toxic_name(), kind, stream=stream, attributes=attributes
        )

    def heal(self, stack: Target) -> None:
        without_toxic(stack, self.service, self._toxic_name())

    def is_healed(self, stack: Target) -> Evidence:
        left = sorted(toxiproxy(stack).proxy(self.service).toxics)
        if left:
            return Evidence(False, f"{self.service} still has the toxics {', '.join(left)}")
        seen = self._see(stack)
        return Evidence(
            seen.whole and not seen.bites, f"no toxic is left, {self.service} {seen.told}"
        )

    def is_effective(self, stack: Target) -> Evidence:
        seen = self._see(stack)
        return Evidence(seen.bites, f"{self.service} {seen.told} ({self.seen_from} asked)")

    @abstractmethod
    def _see(self, stack: Target) -> _Seen:
        """How a connection of ``seen_from`` fares."""

    def exposure(self, stack: Target) -> Exposure:
        server = toxiproxy(stack)
        ended = server.finished_bytes(self.service)
        running = vantage.open_bytes(stack, self.client, PROXY, server.proxy(self.service).port)
        proofs = vantage.probed_bytes(stack, self.seen_from, self.service)
        return Exposure(max(0, ended + running - proofs), "bytes")


# --- faults that show beside an answer past the proxy --------------------------------------


@dataclass(frozen=True)
class _TransferToxic(_Toxic):
    """A toxic that shows in an answer, compared with the same one past the proxy.

    A dose too small to be told from what the service does by itself is never proven.
    """

    _awaits_the_end: ClassVar[bool] = True
    """Whether it shows in how the connection ends, too."""

    @property
    def _rounds(self) -> int:
        """How often each way is tried."""
        return 2

    def _see(self, stack: Target) -> _Seen:
        rounds = transfers(
            stack,
            self.seen_from,
            self.service,
            self._size(),
            self._patience_s(),
            rounds=self._rounds,
            speaks=self.speaks,
            until_closed=self._awaits_the_end,
        )
        directs = [direct for direct, _ in rounds]
        throughs = [through for _, through in rounds]
        failed = [f"{d.error} past the proxy" for d in directs if d.error is not None]
        failed += [t.error for t in throughs if t.error is not None]
        # The fastest of several: a busy machine delays one, or ends its patience; a fault all.
        direct = min(_not_failed(directs), key=self._slowness)
        through = min(_not_failed(throughs), key=self._slowness)
        whole = not failed and all(t.received >= d.received > 0 for d, t in rounds)
        told = f"sent {_shown(through)}; past the proxy {_shown(direct)}"
        bites = direct.error is None and self._bites(direct, through)
        return _Seen(whole, bites, f"{told}{''.join(f'; {why}' for why in failed[:1])}")

    def _slowness(self, seen: Transfer) -> float:
        """Seconds, of what the fault prolongs."""
        return seen.took_s

    def _size(self) -> int:
        """Bytes of the answer that shows it."""
        return 1

    def _patience_s(self) -> float:
        """How long such an answer may take in all."""
        return CONNECT_TIMEOUT_S

    @abstractmethod
    def _bites(self, direct: Transfer, through: Transfer) -> bool:
        """Whether ``through`` met the fault, ``direct`` being how it goes without."""


def _not_failed(seen: Sequence[Transfer]) -> Sequence[Transfer]:
    """Those that were answered; all, where none was."""
    return [one for one in seen if one.error is None] or seen


def _is_slowed(direct_s: float, through_s: float, least_s: float) -> bool:
    """As slow as the fault makes it, which is far from how slow it is anyway."""
    return through_s >= 0.9 * least_s and 2 * direct_s <= least_s


def _shown(seen: Transfer) -> str:
    end = (
        "stayed open" if seen.closing_s is None else f"closed {seen.closing_s * 1000:.0f} ms later"
    )
    return f"{seen.received} bytes in {seen.took_s * 1000:.0f} ms and {end}"


@dataclass(frozen=True)
class Latency(_TransferToxic):
    """Every answer of ``service`` comes ``latency_ms`` later, give or take ``jitter_ms``.

    Per answer, not per byte: a statement on an open connection is delayed once, a new connection
    as often as its handshake has answers. Proven by: an answer through the proxy takes so much
    longer than one past it, timed from ``seen_from``; not less, and not much more.
    """

    _awaits_the_end = False

    latency_ms: int
    jitter_ms: int = 0

    def __post_init__(self) -> None:
        if self.latency_ms < 1 or not 0 <= self.jitter_ms <= self.latency_ms:
            raise UsageError(
                f"latency must be from 1 ms and jitter from 0 to the latency, "
                f"not {self.latency_ms} and {self.jitter_ms}"
            )

    @property
    def dosage(self) -> Dosage:
        least = max(10, self.jitter_ms)
        return Dosage(
            "latency_ms", "latency of answers", "ms", least, 60_000, logarithmic=True, whole=True
        )

    def _toxic(self) -> tuple[str, str, dict[str, int]]:
        return "latency", "downstream", {"latency": self.latency_ms, "jitter": self.jitter_ms}

    @property
    def _rounds(self) -> int:
        # A longer one is easily told from what the machine costs, and three of it take their time.
        return 3 if self.latency_ms < LONG_MS else 1

    def _patience_s(self) -> float:
        return self._most_s + CONNECT_TIMEOUT_S

    @property
    def _most_s(self) -> float:
        return (self.latency_ms + self.jitter_ms) / 1000

    def _bites(self, direct: Transfer, through: Transfer) -> bool:
        least_s = max(1, self.latency_ms - self.jitter_ms) / 1000
        added_s = through.took_s - direct.took_s
        if through.error is not None:
            return False
        return LEAST_SHARE * least_s <= added_s <= MOST_SHARE * self._most_s + DELAYED_S


@dataclass(frozen=True)
class BlackHole(_TransferToxic):
    """``service`` accepts connections and never answers; open ones fall silent.

    Healing closes the connections that were held. Proven by: no answer within a second.
    """

    @property
    def _rounds(self) -> int:
        return 1

    def _toxic(self) -> tuple[str, str, dict[str, int]]:
        return "timeout", "downstream", {"timeout": 0}

    def _bites(self, direct: Transfer, through: Transfer) -> bool:
        silent = through.received == 0 and through.error == "TimeoutError"
        return silent and direct.received > 0


@dataclass(frozen=True)
class Reset(_TransferToxic):
    """Connections to ``service`` are accepted and then reset. Proven by: so is one from
    ``seen_from``."""

    @property
    def _rounds(self) -> int:
        return 1

    def _toxic(self) -> tuple[str, str, dict[str, int]]:
        return "reset_peer", "downstream", {"timeout": 0}

    def _bites(self, direct: Transfer, through: Transfer) -> bool:
        reset = through.received == 0 and through.error == "ConnectionResetError"
        return reset and direct.received > 0


@dataclass(frozen=True)
class Bandwidth(_TransferToxic):
    """Each connection gets its answers at ``rate_kb_s`` kilobytes (of 1,000 bytes) per second.

    Proven by: an answer of as much as takes a quarter of a second, timed from ``seen_from``.
    Rates near what the service does by itself can't be proven, nor above 1,000 at PostgreSQL,
    which says at most 10 kB to a stranger.
    """

    rate_kb_s: int

    def __post_init__(self) -> None:
        if self.rate_kb_s < 1:
            raise UsageError(f"a bandwidth is from 1 kB/s, not {self.rate_kb_s}")

    def _toxic(self) -> tuple[str, str, dict[str, int]]:
        return "bandwidth", "downstream", {"rate": self.rate_kb_s}

    def _size(self) -> int:
        return round(self.rate_kb_s * 1000 * TRANSFER_S)

    def _patience_s(self) -> float:
        # A single HTTP answer may be longer than asked for.
        return max(8 * TRANSFER_S, 10_000 / (self.rate_kb_s * 1000)) + CONNECT_TIMEOUT_S

    def _bites(self, direct: Transfer, through: Transfer) -> bool:
        least_s = through.received / (self.rate_kb_s * 1000)
        return _is_slowed(direct.took_s, through.took_s, least_s)


@dataclass(frozen=True)
class CutAfter(_TransferToxic):
    """Each connection is closed when ``after_bytes`` of answers have passed; open ones from now on.

    Healing leaves those alone that were not cut yet. Proven by: an answer that is longer ends
    after exactly so many bytes. PostgreSQL says at most 10 kB to a stranger, HTTP what a hundred
    requests are answered with: a cut beyond can't be proven.
    """

    after_bytes: int

    def __post_init__(self) -> None:
        if self.after_bytes < 0:
            raise UsageError(f"an answer is cut after 0 bytes or more, not {self.after_bytes}")

    def _toxic(self) -> tuple[str, str, dict[str, int]]:
        return "limit_data", "downstream", {"bytes": self.after_bytes}

    def _size(self) -> int:
        return self.after_bytes + 1

    def _patience_s(self) -> float:
        return 2 * CONNECT_TIMEOUT_S

    def _bites(self, direct: Transfer, through: Transfer) -> bool:
        cut = through.received == self.after_bytes and through.closing_s is not None
        return cut and direct.received > self.after_bytes


@dataclass(frozen=True)
class SlowClose(_TransferToxic):
    """Connections end ``delay_ms`` after the service, or the client, has closed them.

    Healing ends those that are waiting. Proven by: a connection that is closed from one side, or
    from the other where the protocol has it so, stays open that long.
    """

    delay_ms: int

    def __post_init__(self) -> None:
        if self.delay_ms < 1:
            raise UsageError(f"the delay of a slow close is from 1 ms, not {self.delay_ms}")

    def _toxic(self) -> tuple[str, str, dict[str, int]]:
        return "slow_close", "downstream", {"delay": self.delay_ms}

    def _patience_s(self) -> float:
        return self.delay_ms / 1000 + CONNECT_TIMEOUT_S

    def _slowness(self, seen: Transfer) -> float:
        return math.inf if seen.closing_s is None else seen.closing_s

    def _bites(self, direct: Transfer, through: Transfer) -> bool:
        if direct.closing_s is None or through.closing_s is None:
            return False
        return _is_slowed(direct.closing_s, through.closing_s, self.delay_ms / 1000)


@dataclass(frozen=True)
class Slicer(_TransferToxic):
    """Answers come in pieces of ``average_size`` bytes, give or take ``size_variation``, each
    ``delay_us`` microseconds after the one before.

    Proven by: an answer of many pieces takes the sum of their pauses.
    """

    average_size: int
    size_variation: int
    delay_us: int

    def __post_init__(self) -> None:
        # Without variation Toxiproxy 2.12 asks for a random number below 0, and dies of it.
        if not 1 <= self.size_variation < self.average_size or self.delay_us < 1:
            raise UsageError(
                "slices need a variation from 1 to less than their average size and a delay from "
                f"1 µs, not {self.average_size} ± {self.size_variation} bytes, {self.delay_us} µs"
            )

    @property
    def _largest(self) -> int:
        return self.average_size + self.size_variation

    def _toxic(self) -> tuple[str, str, dict[str, int]]:
        return (
            "slicer",
            "downstream",
            {
                "average_size": self.average_size,
                "size_variation": self.size_variation,
                "delay": self.delay_us,
            },
        )

    def _size(self) -> int:
        return self._largest * math.ceil(TRANSFER_S * 1e6 / self.delay_us + 1)

    def _patience_s(self) -> float:
        # Pieces may be much smaller than the largest, and short pauses are longer than asked for.
        return 20 * TRANSFER_S + 3 * self.delay_us / 1e6 + CONNECT_TIMEOUT_S

    def _bites(self, direct: Transfer, through: Transfer) -> bool:
        pauses = math.ceil(through.received / self._largest) - 1
        return _is_slowed(direct.took_s, through.took_s, pauses * self.delay_us / 1e6)
