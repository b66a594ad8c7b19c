"""One long answer, asked of a service directly and through its proxy: what the proxy makes of it.

Servers say little to whoever hasn't logged in; here is what makes each protocol's say much.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass

from alertdrill.faults import vantage
from alertdrill.faults.contract import Target
from alertdrill.faults.toxiproxy import PROXY, toxiproxy

_MOST_BYTES = 4_000_000


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
        return _QUESTIONS[speaks](min(max(size, 1), _MOST_BYTES))
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
                    if not a["until_closed"]:
                        break
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
    *,
    rounds: int = 1,
    speaks: vantage.Protocol | None = None,
    until_closed: bool = True,
) -> list[tuple[Transfer, Transfer]]:
    """Ask ``service`` for about ``size`` bytes: by itself and through its proxy, ``rounds`` times.

    ``timeout_s`` is for each answer. For one byte, HTTP leaves it to the client to hang up;
    unless ``until_closed``, it does so at once.
    Raises FaultError when ``seen_from`` can't ask.
    """
    proxy = toxiproxy(stack).proxy(service)
    host, _, port = proxy.upstream.rpartition(":")
    asked = asdict(_question(speaks or vantage.protocol_at(int(port)), size))
    answers = vantage.run(
        stack,
        seen_from,
        _TRANSFER,
        asked
        | {
            "direct": [host, int(port)],
            "through": [PROXY, proxy.port],
            "timeout_s": timeout_s,
            "rounds": rounds,
            "until_closed": until_closed,
            "tally": vantage.TALLY + service,
        },
    )
    return [(Transfer(**direct), Transfer(**through)) for direct, through in answers]
