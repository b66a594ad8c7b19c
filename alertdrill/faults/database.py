"""Faults inside PostgreSQL: a stranger's sessions that take its slots, its locks or its time.

The sessions are those of psql in the server's own container, which logs in there as the image's
``POSTGRES_USER`` without a password. Each carries the fault's name as its application_name, by
which it is found and ended.
"""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from docker.models.containers import Container

from alertdrill.errors import DeadlineExceeded, FaultError, UsageError
from alertdrill.faults.beside import run_beside
from alertdrill.faults.contract import Dosage, Evidence, Fault, Target
from alertdrill.faults.ledger import refusals
from alertdrill.wait import eventually

SESSION_PREFIX = "alertdrill-"
ENDED_WITHIN_S = 10.0
LOCK_TIMEOUT_MS = 300
PATIENCE_S = 2.0
MOST_SESSIONS = 1_000
SLOTS_FULL = "53300"  # too_many_connections

_LOGIN = 'psql -Xqt -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "${POSTGRES_DB:-$POSTGRES_USER}"'
_ASK = f'PGCONNECT_TIMEOUT=5 exec {_LOGIN} -A -v VERBOSITY=sqlstate -c "$0"'
# Who isn't let in (psql's exit status 2) tries again for a few seconds: the slot that somebody was
# just leaving is taken too.
_HOLD = f"""
i=0
while [ "$i" -lt "$1" ]; do
    for wait in 1 1 1 1 1 0; do
        printf '%s' "$0" | {_LOGIN} > /dev/null 2>&1
        [ "$?" = 2 ] || break
        sleep "$wait"
    done &
    i=$((i + 1))
done
wait
"""
# By what the clients were started with: when every slot is taken, the server can't be asked. Until
# there is none: while one look passes, somebody who tries again may start another. Their shells
# end by themselves then, and not before: PostgreSQL is the first process of its container, so it
# would inherit a client without a shell, take its death for the crash of a server process, and
# start anew.
_END_CLIENTS = """
for look in $(seq 50); do
    found=
    for p in /proc/[0-9]*; do
        if grep -qs "PGAPPNAME=$0" "$p/environ"; then
            found=yes
            read -r name 2> /dev/null < "$p/comm" || continue
            [ "$name" = sh ] || kill "${p#/proc/}" 2> /dev/null
        fi
    done
    [ -n "$found" ] || exit 0
    sleep 0.1
done
echo "there are always more of them"
exit 1
"""

# PostgreSQL says that it has no slot left before it asks for a password.
_KNOCK = """
import json, re, socket, struct, sys
a = json.loads(sys.argv[1])
pairs = b"user\\0alertdrill-knock\\0database\\0postgres\\0\\0"
seen = {"kind": None, "code": None, "error": None}
try:
    with socket.create_connection((a["host"], a["port"]), timeout=a["patience_s"]) as s:
        s.sendall(struct.pack(">II", 8 + len(pairs), 196608) + pairs)
        got = s.recv(4096)
        seen["kind"] = got[:1].decode("latin-1")
        code = re.search(rb"\\0C([0-9A-Z]{5})\\0", got)
        seen["code"] = code and code.group(1).decode()
except OSError as error:
    seen["error"] = type(error).__name__
print(json.dumps(seen))
"""


def is_database(container: Container) -> bool:
    """Whether it is a PostgreSQL that these faults know to talk to."""
    environment = container.attrs["Config"]["Env"] or []
    return any(entry.startswith("POSTGRES_USER=") for entry in environment)


@dataclass(frozen=True)
class DatabaseState:
    """What faults can change. ``sessions``: theirs, by application name; ``settings``: what isn't
    the server's default, and whether a replica replays."""

    sessions: Mapping[str, int]
    settings: Mapping[str, str]


REPLAY = "replay"
_STATE = f"""
SELECT 'session', application_name, count(*)::text FROM pg_stat_activity
WHERE application_name LIKE '{SESSION_PREFIX}%' AND pid <> pg_backend_pid() GROUP BY 2
UNION ALL SELECT 'setting', name, replace(setting, chr(10), ' ') FROM pg_settings
WHERE source NOT IN ('default', 'override', 'client', 'session')
UNION ALL SELECT 'setting', '{REPLAY}', pg_get_wal_replay_pause_state() WHERE pg_is_in_recovery()
ORDER BY 1, 2
"""


def state_of(stack: Target, service: str) -> DatabaseState:
    """Raises FaultError."""
    rows = [row.split("|", 2) for row in ask(stack, service, _STATE)]
    return DatabaseState(
        {name: int(value) for kind, name, value in rows if kind == "session"},
        {name: value for kind, name, value in rows if kind == "setting"},
    )


@dataclass(frozen=True)
class _SessionsFault(Fault):
    """What the faults made of sessions share: ``service`` is the PostgreSQL component's name."""

    layer = "data"

    service: str = field(default="postgres", kw_only=True)

    @property
    def application_name(self) -> str:
        """Of the fault's sessions; no other fault has the same."""
        mark = zlib.crc32(f"{self.service} {self.name}".encode())
        return f"{SESSION_PREFIX}{type(self).__name__.lower()}-{mark:08x}"

    @abstractmethod
    def _sessions(self, stack: Target) -> tuple[int, str]:
        """How many, and the statements of each. Raises FaultError when they make no sense."""

    def inject(self, stack: Target) -> None:
        count, statements = self._sessions(stack)
        self.heal(stack)
        with refusals(self.name):
            stack.container(self.service).exec_run(
                ["sh", "-c", _HOLD, statements, str(count)],
                environment={"PGAPPNAME": self.application_name},
                detach=True,
            )

    def heal(self, stack: Target) -> None:
        if not stack.container(self.service).attrs["State"]["Running"]:
            return  # and no session outlives its server
        code, output = stack.exec(self.service, ["sh", "-c", _END_CLIENTS, self.application_name])
        if code != 0:
            raise FaultError(f"{self.name}: psql can't be ended: {output.strip()[-200:]}")
        last = "it wasn't asked"

        def ended() -> bool:
            nonlocal last
            try:
                left = self._count(stack, end=True)
            except FaultError as error:  # while they are leaving, every slot may be taken
                last = str(error)
                return False
            last = f"{left} sessions are left"
            return left == 0

        try:
            eventually(
                ended, timeout_s=ENDED_WITHIN_S, what="sessions of the fault to end", interval_s=0.1
            )
        except DeadlineExceeded as error:
            raise FaultError(f"{self.name}: {error}: {last}") from error

    def is_healed(self, stack: Target) -> Evidence:
        left = self._count(stack)
        return Evidence(left == 0, f"{self.service} has {left} sessions of {self.application_name}")

    def _count(self, stack: Target, *, end: bool = False, state: str = "%") -> int:
        """Sessions of the fault in ``state`` (a LIKE pattern); ``end``: terminate them as well."""
        action = "pg_terminate_backend(pid)" if end else "pid"
        [row] = ask(
            stack,
            self.service,
            f"SELECT count({action}) FROM pg_stat_activity "
            f"WHERE application_name = '{self.application_name}' "
            f"AND coalesce(state, '') LIKE '{state}'",  # none yet: it is just coming in
        )
        return int(row)


# psql repeats the last statement: between two, the session is idle in its open transaction, and
# when the server ends it, psql ends too.
_STAY = "SELECT 1 \\watch 5\n"


@dataclass(frozen=True)
class HeldConnections(_SessionsFault):
    """A stranger keeps ``count`` transactions open and idle; None: until no slot is left.

    With None, what the server lets go after the first seconds is anyone's again. Proven by: so
    many sessions are idle in a transaction; with None, a connect from beside ``seen_from`` is told
    that there are too many clients already.
    """

    count: int | None = None
    port: int = field(default=5432, kw_only=True)
    seen_from: str = field(default="http-faults", kw_only=True)

    def __post_init__(self) -> None:
        if self.count is not None and not 1 <= self.count <= MOST_SESSIONS:
            raise UsageError(f"held connections must be from 1 to {MOST_SESSIONS}: {self.count}")

    @property
    def name(self) -> str:
        return f"heldconnections({self.service})"

    @property
    def dosage(self) -> Dosage | None:
        if self.count is None:
            return None
        return Dosage("count", "held connections", "connections", 1, MOST_SESSIONS, whole=True)

    def _sessions(self, stack: Target) -> tuple[int, str]:
        if self.count is not None:
            return self.count, f"BEGIN;\n{_STAY}"
        try:
            [slots] = ask(stack, self.service, "SHOW max_connections")
        except FaultError as error:
            if SLOTS_FULL in str(error):  # by this very fault, perhaps: make room to ask
                self.heal(stack)
                [slots] = ask(stack, self.service, "SHOW max_connections")
            else:
                raise
        return min(int(slots), MOST_SESSIONS), f"BEGIN;\n{_STAY}"

    def is_effective(self, stack: Target) -> Evidence:
        if self.count is None:
            return self._is_full(stack)
        held = self._count(stack, state="idle in transaction%")
        return Evidence(held >= self.count, f"{held} of {self.count} sessions are held idle")

    def is_healed(self, stack: Target) -> Evidence:
        seen = self._knock(stack)
        if seen["kind"] != "R":
            return Evidence(False, f"{self.service} asks for no password: {_told(seen)}")
        return super().is_healed(stack)

    def _is_full(self, stack: Target) -> Evidence:
        seen = self._knock(stack)
        return Evidence(
            seen["kind"] == "E" and seen["code"] == SLOTS_FULL,
            f"a connect from {self.seen_from} to {self.service}: {_told(seen)}",
        )

    def _knock(self, stack: Target) -> dict[str, str | None]:
        seen: dict[str, str | None] = run_beside(
            stack,
            self.seen_from,
            _KNOCK,
            {"host": self.service, "port": self.port, "patience_s": PATIENCE_S},
            shares="network",
            python_of=self.seen_from,
        )
        return seen


@dataclass(frozen=True)
class LongLock(_SessionsFault):
    """A transaction holds ACCESS EXCLUSIVE on ``table``: nobody else reads or writes it.

    Taken as soon as those who use the table are done. Proven by: another session's read gives up
    waiting for the lock after 0.3 s.
    """

    table: str

    @property
    def name(self) -> str:
        return f"longlock({self.table})"

    def _sessions(self, stack: Target) -> tuple[int, str]:
        [known] = ask(stack, self.service, f"SELECT to_regclass({_literal(self._quoted)})")
        if not known:
            raise FaultError(f"{self.name}: {self.service} has no table {self.table}")
        lock = f"BEGIN;\nLOCK TABLE {self._quoted} IN ACCESS EXCLUSIVE MODE;\n"
        return 1, lock + _STAY

    @property
    def _quoted(self) -> str:
        return ".".join('"{}"'.format(part.replace('"', '""')) for part in self.table.split("."))

    def is_effective(self, stack: Target) -> Evidence:
        if self._read_gives_up(stack):
            held = self._count(stack)
            return Evidence(
                held == 1,
                f"a read of {self.table} waits for a lock, with {held} sessions of the fault",
            )
        return Evidence(False, f"{self.table} can be read")

    def is_healed(self, stack: Target) -> Evidence:
        if self._read_gives_up(stack):
            return Evidence(False, f"a read of {self.table} waits for a lock")
        return super().is_healed(stack)

    def _read_gives_up(self, stack: Target) -> bool:
        try:
            ask(
                stack,
                self.service,
                f"SET lock_timeout = {LOCK_TIMEOUT_MS}; SELECT 1 FROM {self._quoted} LIMIT 1",
            )
        except FaultError as error:
            if "55P03" in str(error):  # lock_not_available
                return True
            raise
        return False


@dataclass(frozen=True)
class SlowQuery(_SessionsFault):
    """``sessions`` of a stranger compute without end, each as much of a core as it gets.

    They read and write nothing, so what they take from others is time. Proven by: each has been
    active in one statement for at least 0.2 s.
    """

    sessions: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.sessions <= MOST_SESSIONS:
            raise UsageError(f"slow queries must be from 1 to {MOST_SESSIONS}: {self.sessions}")

    @property
    def name(self) -> str:
        return f"slowquery({self.service})"

    @property
    def dosage(self) -> Dosage:
        return Dosage("sessions", "slow queries", "sessions", 1, MOST_SESSIONS, whole=True)

    def _sessions(self, stack: Target) -> tuple[int, str]:
        return self.sessions, "DO 'BEGIN LOOP PERFORM md5(random()::text); END LOOP; END';\n"

    def is_effective(self, stack: Target) -> Evidence:
        [row] = ask(
            stack,
            self.service,
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
            f"AND application_name = '{self.application_name}' "
            "AND clock_timestamp() - query_start >= interval '0.2 s'",
        )
        return Evidence(int(row) >= self.sessions, f"{row} of {self.sessions} queries are running")


def ask(stack: Target, service: str, statement: str) -> list[str]:
    """The rows that ``statement`` gives, columns divided by ``|``. Raises FaultError with the
    SQLSTATE."""
    code, output = stack.exec(service, ["sh", "-c", _ASK, statement])
    if code != 0:
        error = output.strip()[-300:]
        if "too many clients" in error or "remaining connection slots" in error:
            error = f"{SLOTS_FULL}: {error}"
        raise FaultError(f"{service} didn't do {statement[:80]!r}: {error}")
    return output.splitlines()


def _literal(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _told(seen: dict[str, str | None]) -> str:
    if seen["error"] is not None:
        return str(seen["error"])
    return {"R": "it asks for a password"}.get(str(seen["kind"]), f"error {seen['code']}")
