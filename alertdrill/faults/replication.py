"""Faults of replication: a replica of PostgreSQL that receives what is written and doesn't show it.

Statements are given to psql in the servers' own containers, as those of ``database`` are.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from alertdrill.errors import DeadlineExceeded
from alertdrill.faults.beside import address_of
from alertdrill.faults.contract import Evidence, Exposure, Fault, Target
from alertdrill.faults.database import ask
from alertdrill.wait import eventually

# A replica in the same machine takes milliseconds.
REPLAYED_WITHIN_S = 0.5

# Something to replay that is in no table.
_WRITE = "SELECT pg_logical_emit_message(true, 'alertdrill', '')"
_ROWS = (
    "SELECT tup_inserted + tup_updated + tup_deleted FROM pg_stat_database "
    "WHERE datname = current_database()"
)


@dataclass(frozen=True)
class ReplayPaused(Fault):
    """``service``, a streaming replica, receives what is written and doesn't replay it.

    It goes on answering, ever further behind ``primary``. A restart ends it as well.

    Proven by: the primary is told by the replica that it has a new write, and not that it has
    replayed it; and replay is paused, not slow. Counted: rows written in the primary.
    """

    layer = "data"

    service: str
    primary: str = field(default="postgres", kw_only=True)

    @property
    def name(self) -> str:
        return f"replaypaused({self.service})"

    def inject(self, stack: Target) -> None:
        ask(stack, self.service, "SELECT pg_wal_replay_pause()")

    def is_effective(self, stack: Target) -> Evidence:
        received, replayed = self._write(stack)
        told = self._told(received, replayed)
        if not received or replayed:
            return Evidence(False, told)
        [state] = ask(stack, self.service, "SELECT pg_get_wal_replay_pause_state()")
        return Evidence(state == "paused", f"{told}; replay is {state}")  # and not only slow

    def heal(self, stack: Target) -> None:
        if stack.container(self.service).attrs["State"]["Running"]:
            ask(stack, self.service, "SELECT pg_wal_replay_resume()")

    def is_healed(self, stack: Target) -> Evidence:
        received, replayed = self._write(stack)
        return Evidence(replayed, self._told(received, replayed))

    def exposure(self, stack: Target) -> Exposure:
        [rows] = ask(stack, self.primary, _ROWS)
        return Exposure(int(rows), "rows written")

    def _write(self, stack: Target) -> tuple[bool, bool]:
        """Whether the replica received a new write, and whether it replayed it."""
        replica = stack.container(self.service)
        if not replica.attrs["State"]["Running"]:
            return False, False
        address = address_of(replica)
        [written] = ask(stack, self.primary, _WRITE)
        positions = (
            f"SELECT flush_lsn >= '{written}', replay_lsn >= '{written}' "
            f"FROM pg_stat_replication WHERE client_addr = '{address}'"
        )
        received = replayed = False

        def is_replayed() -> bool:
            nonlocal received, replayed
            for row in ask(stack, self.primary, positions):
                received, replayed = (column == "t" for column in row.split("|"))
            return replayed

        # That it isn't replayed is what this fault is about.
        with contextlib.suppress(DeadlineExceeded):
            eventually(is_replayed, timeout_s=REPLAYED_WITHIN_S, what="the write to be replayed")
        return received, replayed

    def _told(self, received: bool, replayed: bool) -> str:
        if replayed:
            return f"{self.service} has replayed a new write, says {self.primary}"
        has = "has received" if received else "hasn't received"
        return f"{self.service} {has} a new write and hasn't replayed it, says {self.primary}"
