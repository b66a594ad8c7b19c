"""How far the replicas of PostgreSQL are behind, asked of their primary in the background."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from typing import Any

import psycopg

from hub.logs import LOGGER

ASK_EVERY_S = 1.0
# An answer this old says nothing about now.
FRESH_S = 5.0
CONNECT_TIMEOUT_S = 3
ANSWER_TIMEOUT_MS = 3_000
MOST_KEPT = 1_000

# Positions in bytes. The primary's own replay_lag can't be used: it is NULL when there is nothing
# to replay, and stays what it was while replay is paused.
_POSITIONS = """
SELECT (pg_current_wal_lsn() - '0/0')::bigint, (min(replay_lsn) - '0/0')::bigint
FROM pg_stat_replication
"""

log = logging.getLogger(LOGGER)


class Unreplayed:
    """What was written when, as far as the slowest replica hasn't replayed it.

    A replica that is gone stays where it was last: what is written from then on, it lacks.
    """

    def __init__(self) -> None:
        self._written: deque[tuple[float, int]] = deque()
        self._replayed: int | None = None

    def add(self, now_s: float, written: int, replayed: int | None) -> None:
        """The positions that the primary told at ``now_s``; ``replayed`` None: by no replica."""
        if self._written and written < self._written[-1][1]:
            # Another database has taken this one's place.
            self._written.clear()
            self._replayed = None
        if replayed is not None:
            self._replayed = replayed
        if not self._written or written > self._written[-1][1]:
            self._written.append((now_s, written))
        while self._written and self._written[0][1] <= (self._replayed or 0):
            self._written.popleft()
        if len(self._written) > MOST_KEPT:
            # Coarser from here on, but not for ever longer.
            self._written = deque(list(self._written)[::2])

    def lag_s(self, now_s: float) -> float:
        """Age of the oldest write that is missing; NaN while no replica was ever seen."""
        if self._replayed is None:
            return math.nan
        return now_s - self._written[0][0] if self._written else 0.0


class Replication:
    """Asks the primary at ``url`` once a second, on a connection of its own.

    Not one of the pool's: that the pool is exhausted must not hide how the replicas are.
    """

    def __init__(self, url: str):
        self._url = url
        self._unreplayed = Unreplayed()
        self._known = (-math.inf, math.nan)
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="replication", daemon=True).start()

    def lag_s(self) -> float:
        """As it was about a second ago; NaN when the primary hasn't answered lately."""
        answered_at, lag_s = self._known
        return lag_s if time.monotonic() - answered_at < FRESH_S else math.nan

    def close(self) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        failing = False
        while not self._stopped.is_set():
            try:
                with self._connect() as connection:
                    while not self._stopped.is_set():
                        self._ask(connection)
                        failing = False
                        self._stopped.wait(ASK_EVERY_S)
            except psycopg.Error as error:
                if not failing:
                    log.warning("replication_unknown", extra={"error.message": str(error)})
                failing = True
                self._stopped.wait(ASK_EVERY_S)

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="hub-replication",
            options=f"-c statement_timeout={ANSWER_TIMEOUT_MS}",
            tcp_user_timeout=ANSWER_TIMEOUT_MS,
        )

    def _ask(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        row = connection.execute(_POSITIONS).fetchone()
        assert row is not None
        now_s = time.monotonic()
        self._unreplayed.add(now_s, *row)
        self._known = (now_s, self._unreplayed.lag_s(now_s))
