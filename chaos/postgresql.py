"""Drills of PostgreSQL: the way to it, the server, and what is in it."""

from __future__ import annotations

from alertdrill.checks.expected import Failing, Span
from alertdrill.drill import Drill
from alertdrill.faults.compose import Flapping, Ramp, Together
from alertdrill.faults.container import Kill, Pause
from alertdrill.faults.database import HeldConnections, LongLock, SlowQuery
from alertdrill.faults.disk import DiskFull
from alertdrill.faults.network import BlackHole, Latency, Refuse, Reset, SlowClose
from alertdrill.faults.replication import ReplayPaused
from chaos.expected import HARMED, SYNC_FAILED, UNHARMED
from loadtests import sync_and_api

# A server that has recovered from a crash turns to another segment by itself only after its next
# checkpoint, which may be minutes away.
NEXT_SEGMENT = (
    *("sh", "-c"),
    'psql -Xqt -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "SELECT pg_switch_wal()"',
)

DRILLS = [
    # --- PostgreSQL, between it and the hub ---
    Drill(
        "PostgreSQL refuses connections",
        fault=Refuse("postgres", client="hub"),
        load=sync_and_api(),
        fires={"HighErrorRate", "NoSuccessfulSyncs", "ApiErrorRateHigh"},
        may_fire={"ApiLatencyHigh"},
        stays_quiet={"APIUnavailable"},
        health={"database": False},
        clients=HARMED,
        logs=SYNC_FAILED,
        blames=Span("hub", "db.*"),
    ),
    Drill(
        "PostgreSQL resets connections",
        fault=Reset("postgres", client="hub"),
        load=sync_and_api(),
        fires={"HighErrorRate", "NoSuccessfulSyncs", "ApiErrorRateHigh"},
        may_fire={"ApiLatencyHigh"},
        stays_quiet={"APIUnavailable"},
        health={"database": False},
        clients=HARMED,
        logs=SYNC_FAILED,
        blames=Span("hub", "db.*"),
        nightly=True,
    ),
    # Gone and back before an alert resolves: it is one incident, and told once.
    Drill(
        "PostgreSQL comes and goes",
        fault=Flapping(Refuse("postgres", client="hub"), on_s=2.0, off_s=3.0, cycles=20),
        load=sync_and_api(),
        fires={"HighErrorRate", "ApiErrorRateHigh"},
        may_fire={"ApiLatencyHigh"},
        stays_quiet={"NoSuccessfulSyncs", "APIUnavailable"},
        health={"database": None},
        clients={"SyncUser": Failing(at_least=0.15), "ApiUser": Failing(at_least=0.15)},
        logs=SYNC_FAILED,
        notifications_at_most=1,
        nightly=True,
    ),
    Drill(
        "PostgreSQL falls silent",
        fault=BlackHole("postgres", client="hub"),
        load=sync_and_api(),
        fires={
            *("DatabaseConnectionPoolExhausted", "HighErrorRate", "NoSuccessfulSyncs"),
            "ApiErrorRateHigh",
        },
        may_fire={"ApiLatencyHigh"},
        stays_quiet={"APIUnavailable"},
        health={"database": False},
        clients=HARMED,
    ),
    Drill(
        "PostgreSQL is slow until the pool is full",
        fault=Latency("postgres", latency_ms=1_000, client="hub"),
        load=sync_and_api(),
        fires={"DatabaseConnectionPoolExhausted", "ApiLatencyHigh"},
        may_fire={"HighErrorRate", "NoSuccessfulSyncs", "SyncLatencyHigh", "ApiErrorRateHigh"},
        stays_quiet={"APIUnavailable"},
        health={"database": False},
        clients={"ApiUser": Failing(at_least=0.05)},
        operation_s=7.0,
    ),
    Drill(
        "PostgreSQL is a little slow",
        fault=Latency("postgres", latency_ms=20, jitter_ms=5, client="hub"),
        load=sync_and_api(),
        stays_quiet={"DatabaseConnectionPoolExhausted", "SyncLatencyHigh"},
        health={},
        clients=UNHARMED,
    ),
    # Told from the first dose on would be too early: at 20 ms nothing waits for a connection.
    Drill(
        "PostgreSQL gets slower and slower",
        fault=Ramp(
            Latency("postgres", 20, client="hub"), "latency_ms", (20, 100, 1_000), step_s=4.0
        ),
        load=sync_and_api(),
        fires={"DatabaseConnectionPoolExhausted", "ApiLatencyHigh"},
        may_fire={"HighErrorRate", "NoSuccessfulSyncs", "SyncLatencyHigh", "ApiErrorRateHigh"},
        stays_quiet={"APIUnavailable"},
        health={"database": False},
        clients={"ApiUser": Failing(at_least=0.05)},
        operation_s=8.0 + 7.0,
        nightly=True,
    ),
    Drill(
        "connections to PostgreSQL close slowly",
        fault=SlowClose("postgres", delay_ms=2_000, client="hub"),
        load=sync_and_api(),
        stays_quiet={"DatabaseConnectionPoolExhausted", "HighErrorRate"},
        health={},
        clients=UNHARMED,
        nightly=True,
    ),
    # --- PostgreSQL itself, and what is in it ---
    Drill(
        "PostgreSQL is killed",
        fault=Kill("postgres"),
        load=sync_and_api(),
        fires={"HighErrorRate", "NoSuccessfulSyncs", "ApiErrorRateHigh"},
        may_fire={"ApiLatencyHigh", "DatabaseConnectionPoolExhausted"},
        stays_quiet={"APIUnavailable"},
        health={"database": False},
        clients=HARMED,
        logs=SYNC_FAILED,
        blames=Span("hub", "db.*"),
        # Connects to an address that is gone hang.
        operation_s=5.0,
        nightly=True,
    ),
    Drill(
        "PostgreSQL is paused",
        fault=Pause("postgres"),
        load=sync_and_api(),
        fires={
            *("DatabaseConnectionPoolExhausted", "HighErrorRate", "NoSuccessfulSyncs"),
            "ApiErrorRateHigh",
        },
        may_fire={"ApiLatencyHigh"},
        stays_quiet={"APIUnavailable"},
        health={"database": False},
        clients=HARMED,
        nightly=True,
    ),
    Drill(
        "a long lock on the items",
        fault=LongLock("items"),
        load=sync_and_api(),
        fires={
            *("DatabaseConnectionPoolExhausted", "HighErrorRate", "NoSuccessfulSyncs"),
            "ApiErrorRateHigh",
        },
        may_fire={"ApiLatencyHigh"},
        stays_quiet={"APIUnavailable"},
        health={"database": False},
        clients={"SyncUser": Failing(at_least=0.5)},
    ),
    Drill(
        "no disk is left for PostgreSQL's log of writes",
        fault=DiskFull("postgres", "/wal", spends=NEXT_SEGMENT),
        load=sync_and_api(),
        fires={"HighErrorRate", "NoSuccessfulSyncs", "ApiErrorRateHigh"},
        may_fire={"ApiLatencyHigh", "DatabaseConnectionPoolExhausted"},
        stays_quiet={"APIUnavailable"},
        health={"database": False},
        clients={"SyncUser": Failing(at_least=0.5)},
        operation_s=4.0,  # until it needs another segment
        nightly=True,
    ),
    Drill(
        "the replica replays nothing",
        fault=ReplayPaused("postgres-replica"),
        load=sync_and_api(),
        fires={"ReplicationLagHigh"},
        health={},
        clients=UNHARMED,
        operation_s=5.0,
    ),
    # The hub keeps the connections that it has: it misses the slots when those end.
    Drill(
        "connections to PostgreSQL break, and a stranger takes all that there are",
        fault=Together(
            Flapping(Refuse("postgres", client="hub"), on_s=5.0, off_s=120.0, cycles=1),
            HeldConnections(),
        ),
        load=sync_and_api(),
        fires={"HighErrorRate", "NoSuccessfulSyncs", "ApiErrorRateHigh"},
        may_fire={"ApiLatencyHigh"},
        stays_quiet={"DatabaseConnectionPoolExhausted", "APIUnavailable"},
        health={"database": False},
        clients=HARMED,
        logs=SYNC_FAILED,
        blames=Span("hub", "db.*"),
        operation_s=5.0,
        nightly=True,
    ),
    Drill(
        "a stranger's query computes without end",
        fault=SlowQuery(),
        load=sync_and_api(),
        met_by="db_query_duration_seconds_count",
        stays_quiet={"SyncLatencyHigh", "ApiLatencyHigh"},
        health={},
        clients=UNHARMED,
        nightly=True,
    ),
]
