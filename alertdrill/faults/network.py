"""Faults between the hub and what it talks to, at TCP: Toxiproxy refuses, delays, chokes, cuts."""

from __future__ import annotations

import math
import struct
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import ClassVar

from alertdrill.errors import UsageError
from alertdrill.faults import vantage
from alertdrill.faults.contract import Dosage, Evidence, Exposure, Fault, Target
from alertdrill.faults.guard import refuse_stranger
from alertdrill.faults.toxiproxy import TOXIC_PREFIX, Toxiproxy

PROXY = "toxiproxy"
CONNECT_TIMEOUT_S = 1.0
# A transfer is planned to take this long under the fault, and measured this often.
TRANSFER_S = 0.25
MOST_BYTES = 4_000_000


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
        toxiproxy(stack).remove_toxic(self.service, self._toxic_name())

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

    @property
    def dosage(self) -> Dosage:
        least = max(10, self.jitter_ms)
        return Dosage(
            "latency_ms", "latency of answers", "ms", least, 60_000, logarithmic=True, whole=True
        )

    def _toxic(self) -> tuple[str, str, dict[str, int]]:
        return "latency", "downstream", {"latency": self.latency_ms, "jitter": self.jitter_ms}

    def _see(self, stack: Target) -> _Seen:
        most_s = (self.latency_ms + self.jitter_ms) / 1000
        least_s = max(1, self.latency_ms - self.jitter_ms) / 1000
        seen = self._look(stack, most_s + CONNECT_TIMEOUT_S)
        bites = seen.answer_s is not None and seen.answer_s >= least_s
        return _Seen(seen.answered, bites, _told(seen))


def _told(seen: vantage.RoundTrip) -> str:
    if seen.answer_s is not None:
        return f"answered after {seen.answer_s * 1000:.0f} ms"
    return f"gave no answer: {seen.error}"


# --- faults that show beside an answer past the proxy --------------------------------------


@dataclass(frozen=True)
class _Question:
    """What makes a server answer at length before anyone has logged in.

    Sent is ``head``, ``fill`` times ``x`` and ``tail``, hexadecimal but for the number. The
    client hangs up after ``answer`` bytes, or waits for the server to do so if that is None.
    """

    head: str
    fill: int = 0
    tail: str = ""
    answer: int | None = None


def _ask_postgresql(size: int) -> _Question:
    """A start-up message with an unknown protocol option, whose name is sent back
    (NegotiateProtocolVersion). The whole message may have 10,000 bytes."""
    version, option = struct.pack(">i", 3 << 16), b"_pq_."
    user = b"user\0alertdrill\0"
    fill = max(1, min(size, 9_900))
    head, tail = version + user + option, b"\0" + b"1\0" + b"\0"
    length = struct.pack(">i", 4 + len(head) + fill + len(tail))
    answer = 1 + 3 * 4 + len(option) + fill + 1
    return _Question((length + head).hex(), fill, tail.hex(), answer)


def _ask_redis(size: int) -> _Question:
    head = f"*2\r\n$4\r\nECHO\r\n${size}\r\n".encode()
    return _Question(head.hex(), size, b"\r\n".hex(), len(f"${size}\r\n") + size + 2)


def _ask_http(size: int) -> _Question:
    """Requests one after the other, not waiting for answers: hardly one is below 200 bytes, and
    more than a hundred would take their time without any fault."""
    request = f"GET / HTTP/1.1\r\nHost: probe\r\n{vantage.PROBE_HEADER}: clean\r\n"
    if size <= 1:
        # Left open by the server, for what must be told from a connection that it has closed.
        return _Question(f"{request}\r\n".encode().hex(), answer=1)
    count = max(1, min(math.ceil(size / 200), 100))
    text = f"{request}\r\n" * (count - 1) + f"{request}Connection: close\r\n\r\n"
    return _Question(text.encode().hex())


_QUESTIONS: dict[vantage.Protocol, Callable[[int], _Question]] = {
    vantage.POSTGRESQL: _ask_postgresql,
    vantage.REDIS: _ask_redis,
    vantage.HTTP: _ask_http,
}


def _question(speaks: vantage.Protocol, size: int) -> _Question:
    """What is answered with about ``size`` bytes, as far as the protocol has such a thing."""
    if speaks in _QUESTIONS:
        return _QUESTIONS[speaks](min(max(size, 1), MOST_BYTES))
    return _Question(speaks.opening.hex(), answer=None if speaks.until_closed else 1)


# Each server is asked in turn, so that what the machine costs at the time is in both. Who is at
# the end of a proxy that cuts can't tell what the proxy itself has received: that is what the
# service sends unharmed.
_TRANSFER = """
import json, socket, sys, time
a = json.loads(sys.argv[1])
sent = bytes.fromhex(a["head"]) + b"x" * a["fill"] + bytes.fromhex(a["tail"])
def transfer(host, port):
    seen = {"received": 0, "took_s": 0.0, "closing_s": None, "error": None}
    wanted = a["answer"]
    begun = last = time.perf_counter()
    until = begun + a["timeout_s"]
    try:
        with socket.create_connection((host, port), timeout=a["timeout_s"]) as s:
            s.sendall(sent)
            while True:
                s.settimeout(max(0.001, until - time.perf_counter()))
                got = s.recv(65536)
                now = time.perf_counter()
                if not got:
                    seen["closing_s"] = now - last
                    break
                seen["received"] += len(got)
                seen["took_s"], last = now - begun, now
                if wanted is not None and seen["received"] >= wanted:
                    s.shutdown(socket.SHUT_WR)
                    wanted = None
    except OSError as error:
        seen["error"] = type(error).__name__
    return seen
rounds = []
for _ in range(a["rounds"]):
    direct, through = transfer(*a["direct"]), transfer(*a["through"])
    rounds.append([direct, through])
    with open(a["tally"], "a") as tally:
        tally.write("%d\\n" % (len(sent) + max(direct["received"], through["received"])))
print(json.dumps(rounds))
"""


@dataclass(frozen=True)
class Transfer:
    """One long answer: its bytes, the time from the question to the last of them, and from there
    to the end of the connection. ``closing_s`` None: it did not end, ``error`` may tell why."""

    received: int
    took_s: float
    closing_s: float | None
    error: str | None


def transfers(
    stack: Target,
    seen_from: str,
    service: str,
    size: int,
    timeout_s: float,
    rounds: int = 1,
    speaks: vantage.Protocol | None = None,
) -> list[tuple[Transfer, Transfer]]:
    """Ask ``service`` for about ``size`` bytes: by itself and through its proxy, ``rounds`` times.

    ``timeout_s`` is for each answer. For one byte, HTTP leaves it to the client to hang up.
    Raises FaultError when ``seen_from`` can't ask.
    """
    proxy = toxiproxy(stack).proxy(service)
    host, _, port = proxy.upstream.rpartition(":")
    asked = asdict(_question(speaks or vantage.protocol_at(int(port)), size))
    answers = vantage._run(
        stack,
        seen_from,
        _TRANSFER,
        asked
        | {
            "direct": [host, int(port)],
            "through": [PROXY, proxy.port],
            "timeout_s": timeout_s,
            "rounds": rounds,
            "tally": vantage._TALLY + service,
        },
    )
    return [(Transfer(**direct), Transfer(**through)) for direct, through in answers]


@dataclass(frozen=True)
class _TransferToxic(_Toxic):
    """A toxic that shows in an answer, compared with the same one past the proxy.

    A dose too small to be told from what the service does by itself is never proven.
    """

    _rounds: ClassVar[int] = 2

    def _see(self, stack: Target) -> _Seen:
        rounds = transfers(
            stack,
            self.seen_from,
            self.service,
            self._size(),
            self._patience_s(),
            self._rounds,
            self.speaks,
        )
        directs = [direct for direct, _ in rounds]
        failed = [f"{d.error} past the proxy" for d in directs if d.error is not None]
        failed += [t.error for _, t in rounds if t.error is not None]
        # The fastest of several: a busy machine delays one, a fault all.
        direct = min(directs, key=self._slowness)
        through = min((t for _, t in rounds), key=self._slowness)
        whole = not failed and all(t.received >= d.received > 0 for d, t in rounds)
        told = f"sent {_shown(through)}; past the proxy {_shown(direct)}"
        bites = all(d.error is None for d in directs) and self._bites(direct, through)
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


def _is_slowed(direct_s: float, through_s: float, least_s: float) -> bool:
    """As slow as the fault makes it, which is far from how slow it is anyway."""
    return through_s >= 0.9 * least_s and 2 * direct_s <= least_s


def _shown(seen: Transfer) -> str:
    end = (
        "stayed open" if seen.closing_s is None else f"closed {seen.closing_s * 1000:.0f} ms later"
    )
    return f"{seen.received} bytes in {seen.took_s * 1000:.0f} ms and {end}"


@dataclass(frozen=True)
class BlackHole(_TransferToxic):
    """``service`` accepts connections and never answers; open ones fall silent.

    Healing closes the connections that were held. Proven by: no answer within a second.
    """

    _rounds = 1

    def _toxic(self) -> tuple[str, str, dict[str, int]]:
        return "timeout", "downstream", {"timeout": 0}

    def _bites(self, direct: Transfer, through: Transfer) -> bool:
        silent = through.received == 0 and through.error == "TimeoutError"
        return silent and direct.received > 0


@dataclass(frozen=True)
class Reset(_TransferToxic):
    """Connections to ``service`` are accepted and then reset. Proven by: so is one from
    ``seen_from``."""

    _rounds = 1

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
