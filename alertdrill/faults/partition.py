"""Faults of the run's network itself: components that can't reach each other, or not by name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from docker.models.containers import Container

from alertdrill.errors import FaultError, UsageError
from alertdrill.faults import ledger
from alertdrill.faults.beside import address_of, looked_up, run_beside
from alertdrill.faults.contract import Evidence, Exposure, Fault, Inhabited, Target
from alertdrill.stack.execution import run_in
from alertdrill.wait import eventually

PYTHON_OF = "http-faults"
PATIENCE_S = 1.0
START_TIMEOUT_S = 10.0
RESOLVER = "/etc/resolv.conf"
OWN_NAME_SERVER = "127.0.0.53"

# A permanent neighbour with a hardware address that nobody has: what is sent there is lost, and
# the sender isn't told, as in a real partition. ioctls of arp(7): SIOCSARP, SIOCDARP; flags:
# ATF_COM | ATF_PERM, which /proc/net/arp shows as 0x6.
_NEIGHBOURS = """
import errno, fcntl, json, socket, struct, sys
a = json.loads(sys.argv[1])
def request(ip, flags):
    address = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(ip))
    hardware = struct.pack("=H14s", 1, bytes.fromhex("02ad00000001"))
    return address + hardware + struct.pack("=i", flags) + bytes(32)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    for ip in a["lose"]:
        fcntl.ioctl(s, 0x8955, request(ip, 0x6))
    for ip in a["find"]:
        try:
            fcntl.ioctl(s, 0x8953, request(ip, 0))
        except OSError as error:
            if error.errno not in (errno.ENXIO, errno.ENOENT, errno.ENETUNREACH):
                raise
with open("/proc/net/arp") as table:
    rows = [line.split() for line in table.readlines()[1:]]
print(json.dumps([row[0] for row in rows if int(row[2], 16) & 0x4]))
"""

# A refused connect has been answered too: any port tells whether packets pass.
_REACHED = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
a = json.loads(sys.argv[1])
def reached(ip):
    try:
        socket.create_connection((ip, 9), timeout=a["patience_s"]).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True
with ThreadPoolExecutor(32) as pool:
    print(json.dumps(dict(zip(a["ips"], pool.map(reached, a["ips"].values())))))
"""


# A name server for one client, which knows every name but one; it prints a line for each address
# that is asked of that name. Proofs ask in capitals and aren't told.
_NAME_SERVER = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
a = json.loads(sys.argv[1])
gone = a["name"].encode()
def asked(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]])
        at += 1 + query[at]
    return b".".join(labels), int.from_bytes(query[at + 1:at + 3], "big"), at + 5
def forward(query):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.sendto(query, (a["upstream"], 53))
        return s.recv(65535)
def answer(query, client):
    try:
        name, kind, end = asked(query)
        if name.lower() == gone.lower():
            if kind == 1 and name != gone.upper():
                print("asked", flush=True)
            reply = query[:2] + bytes([0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0]) + query[12:end]
        else:
            reply = forward(query)
    except (OSError, IndexError):
        return
    server.sendto(reply, client)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((a["listen"], 53))
print("ready", flush=True)
with ThreadPoolExecutor(16) as pool:
    while True:
        pool.submit(answer, *server.recvfrom(65535))
"""


@dataclass(frozen=True)
class Partition(Fault):
    """No packet passes between ``service`` and the components ``from_``; empty: all others.

    Packets are lost in silence: connects hang, open connections fall silent, names still
    resolve. What comes from the host through published ports passes. Connections can't be, since
    ``service`` can't send; a datagram to it still arrives.

    ``python_of``  the component whose image has python3, for the programs that do and prove it

    Proven by: connects from ``service`` to each of ``from_`` get no answer and those to all other
    components do; nor does one from the first of ``from_`` to ``service``. A service that starts
    anew has a new network, in which nothing is cut until it is injected again. Of two partitions
    of one service at once, none may name a component of the other: healing would join both.
    """

    layer = "network"

    service: str
    from_: tuple[str, ...] = ()
    python_of: str = field(default=PYTHON_OF, kw_only=True)

    def __post_init__(self) -> None:
        if self.service in self.from_:
            raise UsageError(f"{self.service} can't be partitioned from itself")
        if len(set(self.from_)) != len(self.from_):
            raise UsageError(f"a component is named twice in {list(self.from_)}")

    @property
    def name(self) -> str:
        return f"partition({'|'.join((self.service, '+'.join(self.from_) or '*'))})"

    @property
    def breaks(self) -> frozenset[str]:
        return frozenset() if self.from_ else frozenset({self.service})

    @property
    def touches(self) -> frozenset[str]:
        return frozenset({self.service, *self.from_})

    def inject(self, stack: Target) -> None:
        addresses = self._addresses(stack)
        absent = [peer for peer in self.from_ if peer not in addresses]
        if absent or not addresses:
            raise FaultError(f"{self.name}: {', '.join(absent) or 'nothing else'} has no address")
        lose = sorted(addresses[peer] for peer in self.from_ or addresses)
        note = ledger.write(stack, self.name, self.service, {"lost": lose})
        # Another container may have an address of before.
        found = sorted(set(note.before["lost"]) - set(lose))
        lost = self._neighbours(stack, lose=lose, find=found)
        if not set(lose) <= lost:
            raise FaultError(f"{self.name}: the kernel took it, but still finds its neighbours")

    def is_effective(self, stack: Target) -> Evidence:
        if not _is_running(stack.container(self.service)):
            return Evidence(False, f"{self.service} isn't running, so nothing can be partitioned")
        addresses = self._addresses(stack)
        reached = self._reached(stack, self.service, addresses)
        cut = set(self.from_ or addresses)
        passing = sorted(peer for peer in cut if reached.get(peer, True))
        if passing:
            return Evidence(False, f"{self.service} reaches {', '.join(passing)}")
        too_many = sorted(peer for peer in addresses if peer not in cut and not reached[peer])
        if too_many:
            return Evidence(False, f"{self.service} doesn't reach {', '.join(too_many)} either")
        witness = min(cut) if not self.from_ else self.from_[0]
        own = {self.service: address_of(stack.container(self.service))}
        if self._reached(stack, witness, own)[self.service]:
            return Evidence(False, f"{witness} reaches {self.service}")
        return Evidence(
            True,
            f"{self.service} gets no answer from {', '.join(sorted(cut))} within {PATIENCE_S:g} s, "
            f"nor {witness} from it",
        )

    def heal(self, stack: Target) -> None:
        note = ledger.find(stack, self.name, self.service)
        if note is None:
            return
        if _is_running(stack.container(self.service)):  # else its network is gone, and all in it
            lost = self._neighbours(stack, lose=[], find=note.before["lost"])
            left = sorted(lost & set(note.before["lost"]))
            if left:
                raise FaultError(f"{self.name}: the kernel still loses what is sent to {left}")
        ledger.erase(stack, self.name, self.service)

    def is_healed(self, stack: Target) -> Evidence:
        if ledger.find(stack, self.name, self.service) is not None:
            return Evidence(False, f"{self.name} is still noted")
        if not _is_running(stack.container(self.service)):
            return Evidence(False, f"{self.service} isn't running")
        addresses = self._addresses(stack)
        reached = self._reached(stack, self.service, addresses)
        silent = sorted(peer for peer in addresses if not reached[peer])
        if silent:
            return Evidence(False, f"{self.service} doesn't reach {', '.join(silent)}")
        return Evidence(True, f"{self.service} reaches {', '.join(sorted(addresses))}")

    def _addresses(self, stack: Target) -> dict[str, str]:
        """Of every other component that runs, or of those in ``from_`` where the stack can't
        name its components."""
        names = stack.component_names if isinstance(stack, Inhabited) else self.from_
        found = {}
        for peer in names:
            container = stack.container(peer)
            if peer != self.service and _is_running(container):
                found[peer] = address_of(container)
        return found

    def _neighbours(self, stack: Target, **question: list[str]) -> set[str]:
        return set(
            run_beside(
                stack,
                self.service,
                _NEIGHBOURS,
                question,
                shares="network",
                python_of=self.python_of,
                capabilities=("NET_ADMIN",),
            )
        )

    def _reached(self, stack: Target, seen_from: str, ips: dict[str, str]) -> dict[str, bool]:
        reached: dict[str, bool] = run_beside(
            stack,
            seen_from,
            _REACHED,
            {"ips": ips, "patience_s": PATIENCE_S},
            shares="network",
            python_of=self.python_of,
        )
        return reached


@dataclass(frozen=True)
class NameGone(Fault):
    """``client`` finds no address for the name of ``service``; the address itself answers.

    The client's lookups go to a name server of the fault's own, which knows every name but this
    one; connections that are open don't notice. ``client`` needs a shell, and must run to be
    healed; when it starts anew meanwhile it finds no name at all.

    Proven by: a lookup from beside ``client`` fails, and a connect to the address is answered.
    Counted: the client's lookups of the name.
    """

    layer = "network"

    service: str
    client: str
    python_of: str = field(default=PYTHON_OF, kw_only=True)

    @property
    def name(self) -> str:
        return f"namegone({self.service}|{self.client})"

    def inject(self, stack: Target) -> None:
        server = ledger.container_of(stack, self.name, self.client)
        if server is not None and not _is_running(server):
            self.heal(stack)
            server = None
        if server is None:
            self._serve(stack)
        self._write_resolver(stack, f"nameserver {OWN_NAME_SERVER}\noptions ndots:0\n")

    def _serve(self, stack: Target) -> None:
        code, resolver = stack.exec(self.client, ["cat", RESOLVER])
        upstream = [
            line.split()[1] for line in resolver.splitlines() if line.startswith("nameserver ")
        ]
        if code != 0 or not upstream or OWN_NAME_SERVER in upstream:
            raise FaultError(f"{self.name}: {self.client} has no name server: {resolver.strip()}")
        question = {"name": self.service, "listen": OWN_NAME_SERVER, "upstream": upstream[0]}
        server = ledger.write_as(
            stack,
            self.name,
            self.client,
            {"resolver": resolver},
            image=str(stack.container(self.python_of).attrs["Image"]),
            entrypoint=["python3", "-c", _NAME_SERVER, json.dumps(question)],
            network_mode=f"container:{stack.container(self.client).id}",
            user="root",
        )
        with ledger.refusals(self.name):
            server.start()
            eventually(
                lambda: server.logs().startswith(b"ready"),
                timeout_s=START_TIMEOUT_S,
                what="the name server to listen",
            )

    def _write_resolver(self, stack: Target, text: str) -> None:
        # In place: the engine has mounted this one file.
        argv = ["sh", "-c", f'printf %s "$0" > {RESOLVER}', text]
        with ledger.refusals(self.name):
            written, _ = run_in(stack.container(self.client), argv, timeout_s=5, user="root")
        code, found = stack.exec(self.client, ["cat", RESOLVER])
        if written != 0 or code != 0 or found != text:
            raise FaultError(f"{self.name}: {RESOLVER} of {self.client} can't be written")

    def is_effective(self, stack: Target) -> Evidence:
        found = self._found(stack, self.service.upper())
        if found is not None:
            return Evidence(False, f"{self.client} finds {self.service} at {found}")
        address = address_of(stack.container(self.service))
        reached = run_beside(
            stack,
            self.client,
            _REACHED,
            {"ips": {self.service: address}, "patience_s": PATIENCE_S},
            shares="network",
            python_of=self.python_of,
        )
        return Evidence(
            bool(reached[self.service]),
            f"{self.client} finds no {self.service}, whose address "
            + ("answers" if reached[self.service] else "doesn't answer either"),
        )

    def heal(self, stack: Target) -> None:
        note = ledger.find(stack, self.name, self.client)
        if note is None:
            return
        self._write_resolver(stack, note.before["resolver"])
        ledger.erase(stack, self.name, self.client)

    def is_healed(self, stack: Target) -> Evidence:
        if ledger.find(stack, self.name, self.client) is not None:
            return Evidence(False, f"{self.name} is still noted")
        found = self._found(stack, self.service)
        address = address_of(stack.container(self.service))
        return Evidence(found == address, f"{self.client} finds {self.service} at {found}")

    def exposure(self, stack: Target) -> Exposure:
        server = ledger.container_of(stack, self.name, self.client)
        with ledger.refusals(self.name):
            count = 0 if server is None else server.logs().splitlines().count(b"asked")
        return Exposure(count, "lookups")

    def _found(self, stack: Target, name: str) -> str | None:
        return looked_up(stack, self.client, name, python_of=self.python_of)


def _is_running(container: Container) -> bool:
    return bool(container.attrs["State"]["Running"])
