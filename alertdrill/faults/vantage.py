"""Looking at a fault from where it is felt: small Python programs run in a container of the run.

The ports that faults stand behind are not published, so only another container can tell whether
they bite. Each program takes one JSON document as its argument, prints one as its last line, and
bounds every wait itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from alertdrill.errors import FaultError
from alertdrill.faults.contract import Target

# Isolated and without site-packages, which no probe uses: an interpreter starts faster so.
PYTHON = ("python3", "-I", "-S", "-c")
PROBE_HEADER = "X-Alertdrill-Probe"


@dataclass(frozen=True)
class Protocol:
    """How a server is made to answer before anyone has logged in.

    ``opening``       what a client sends first
    ``ports``         where servers of this protocol listen unless told otherwise
    ``until_closed``  the server ends the connection when its answer is complete: read to the end
    """

    name: str
    opening: bytes
    ports: frozenset[int] = frozenset()
    until_closed: bool = False


# SSLRequest, which PostgreSQL answers with one byte.
POSTGRESQL = Protocol("PostgreSQL", bytes.fromhex("0000000804d2162f"), frozenset({5432}))
REDIS = Protocol("Redis", b"PING\r\n", frozenset({6379}))
HTTP = Protocol(
    "HTTP",
    f"GET / HTTP/1.0\r\nHost: probe\r\n{PROBE_HEADER}: clean\r\n\r\n".encode(),
    until_closed=True,
)


def protocol_at(port: int) -> Protocol:
    """What a server at ``port`` is expected to speak; HTTP where no other protocol is at home."""
    return next((p for p in (POSTGRESQL, REDIS) if port in p.ports), HTTP)


# The bytes of finished probes are written down where the probe ran, so that whoever counts
# traffic can leave them out.
TALLY = "/tmp/alertdrill-probed-"

_ROUND_TRIP = """
import json, socket, sys, time
a = json.loads(sys.argv[1])
sent = bytes.fromhex(a["opening"])
seen = {"connected": False, "answered": False, "error": None, "answer_s": None}
moved = 0
try:
    with socket.create_connection((a["host"], a["port"]), timeout=a["timeout_s"]) as s:
        seen["connected"] = True
        begun = time.perf_counter()
        moved = len(sent)
        s.sendall(sent)
        while True:
            got = s.recv(65536)
            moved += len(got)
            if got and not seen["answered"]:
                seen["answered"], seen["answer_s"] = True, time.perf_counter() - begun
            if not got or not a["until_closed"]:
                break
        if not seen["answered"]:
            seen["error"] = "closed without an answer"
except OSError as error:
    seen["error"] = type(error).__name__
if moved:
    with open(a["tally"], "a") as tally:
        tally.write("%d\\n" % moved)
print(json.dumps(seen))
"""

# The kernel counts each connection's bytes; sock_diag(7) tells. Offsets: struct inet_diag_msg
# (72 bytes), then attributes; INET_DIAG_INFO (2) is struct tcp_info, in which bytes_acked and
# bytes_received stand at 120 and 128. The SYN counts as one acknowledged byte.
_OPEN_BYTES = """
import json, socket, struct, sys
a = json.loads(sys.argv[1])
host = socket.gethostbyname(a["host"])
wanted = {socket.AF_INET: socket.inet_aton(host) + bytes(12),
          socket.AF_INET6: bytes(10) + b"\\xff\\xff" + socket.inet_aton(host)}
total = 0
for family, address in wanted.items():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as s:
        s.settimeout(5)
        ask = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 2, 2) + bytes(48)
        s.send(struct.pack("=IHHII", 16 + len(ask), 20, 0x301, 1, 0) + ask)
        more = True
        while more:
            data = s.recv(1 << 20)
            while data:
                size, kind = struct.unpack_from("=IH", data)
                message, data = data[16:size], data[(size + 3) & ~3:]
                if kind == 2:
                    raise OSError(-struct.unpack_from("=i", message)[0], "sock_diag")
                if kind == 3:
                    more = False
                    break
                port = struct.unpack_from(">H", message, 6)[0]
                if port != a["port"] or message[24:40] != address:
                    continue
                at = 72
                while at + 4 <= len(message):
                    length, attribute = struct.unpack_from("=HH", message, at)
                    if attribute == 2:
                        acked, received = struct.unpack_from("=QQ", message, at + 4 + 120)
                        total += max(0, acked - 1) + received
                    at += (length + 3) & ~3
print(json.dumps(total))
"""

_HTTP = f"""
import http.client, json, sys, time
from concurrent.futures import ThreadPoolExecutor
a = json.loads(sys.argv[1])
def ask(mark):
    seen = {{"status": None, "complete": False, "shape": None, "error": None}}
    begun = time.perf_counter()
    connection = http.client.HTTPConnection(a["host"], a["port"], timeout=a["timeout_s"])
    try:
        connection.request("GET", a["path"], headers={{"{PROBE_HEADER}": mark}})
        answer = connection.getresponse()
        seen["status"] = answer.status
        body = answer.read()
        seen["complete"] = True
        document = json.loads(body)
        keys = isinstance(document, dict) and sorted(document)
        seen["shape"] = keys or type(document).__name__
    except ValueError:
        pass
    except (OSError, http.client.HTTPException) as error:
        seen["error"] = type(error).__name__
    finally:
        connection.close()
    seen["elapsed_s"] = time.perf_counter() - begun
    return seen
clean = ask("clean")
with ThreadPoolExecutor(a["count"]) as pool:
    print(json.dumps([clean] + list(pool.map(ask, ["1"] * a["count"]))))
"""


@dataclass(frozen=True)
class RoundTrip:
    """One connection: whether it was accepted and answered, and how long the answer took."""

    connected: bool
    answered: bool
    error: str | None
    answer_s: float | None


@dataclass(frozen=True)
class HttpAnswer:
    """One HTTP exchange. ``shape``: the keys of a JSON object, the type of other JSON, or None
    when the body is not JSON; ``complete``: no byte of the promised body was missing."""

    status: int | None
    complete: bool
    shape: str | tuple[str, ...] | None
    error: str | None
    elapsed_s: float


def round_trip(
    stack: Target,
    seen_from: str,
    service: str,
    host: str,
    port: int,
    timeout_s: float,
    speaks: Protocol | None = None,
) -> RoundTrip:
    """Connect to ``host:port``, open the protocol of ``service``, wait for its first answer.

    ``speaks`` None: what is expected at ``port``.
    """
    protocol = protocol_at(port) if speaks is None else speaks
    question = {
        "host": host,
        "port": port,
        "opening": protocol.opening.hex(),
        "until_closed": protocol.until_closed,
        "timeout_s": timeout_s,
        "tally": TALLY + service,
    }
    return RoundTrip(**run(stack, seen_from, _ROUND_TRIP, question))


def probed_bytes(stack: Target, seen_from: str, service: str) -> int:
    """Bytes that ``round_trip`` has moved so far, from ``seen_from`` to ``service``."""
    code, output = stack.exec(seen_from, ["cat", TALLY + service])
    if code == 1:
        return 0  # no probe has finished yet
    if code != 0:
        raise FaultError(f"{seen_from} can't tell its probes: {output.strip()[-200:]}")
    return sum(map(int, output.split()))


def open_bytes(stack: Target, client: str, host: str, port: int) -> int:
    """Bytes moved on the connections that ``client`` has open to ``host:port`` now."""
    return int(run(stack, client, _OPEN_BYTES, {"host": host, "port": port}))


def refused_connections(stack: Target, client: str) -> int:
    """TCP connects of ``client`` that failed so far (AttemptFails of RFC 4022).

    To wherever it connected: the kernel keeps no such count by destination, and a refused connect
    is over too soon to be found among the open ones.
    """
    code, output = stack.exec(client, ["cat", "/proc/net/snmp"])
    lines = [line.split() for line in output.splitlines() if line.startswith("Tcp:")]
    if code != 0 or len(lines) != 2 or "AttemptFails" not in lines[0]:
        raise FaultError(f"{client} can't tell its refused connections: {output.strip()[-200:]}")
    return int(lines[1][lines[0].index("AttemptFails")])


def http_answers(
    stack: Target, seen_from: str, host: str, port: int, path: str, count: int, timeout_s: float
) -> tuple[HttpAnswer, list[HttpAnswer]]:
    """A GET that faults leave alone, then ``count`` at once that they may meet."""
    question = {"host": host, "port": port, "path": path, "count": count, "timeout_s": timeout_s}
    answers = [
        HttpAnswer(
            **answer | {"shape": tuple(answer["shape"])}
            if isinstance(answer["shape"], list)
            else answer
        )
        for answer in run(stack, seen_from, _HTTP, question)
    ]
    return answers[0], answers[1:]


def run(stack: Target, component: str, program: str, question: dict[str, Any]) -> Any:
    """What ``program`` printed in ``component``. Raises FaultError."""
    code, output = stack.exec(component, [*PYTHON, program, json.dumps(question)])
    lines = output.strip().splitlines()
    if code != 0 or not lines:
        raise FaultError(f"a probe in {component} ended with {code}: {output.strip()[-300:]}")
    try:
        return json.loads(lines[-1])
    except ValueError as error:
        raise FaultError(f"a probe in {component} printed {lines[-1][:200]!r}") from error
