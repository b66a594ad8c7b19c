"""The drills: one thing is broken at a time, and the monitoring must say so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alertdrill.checks.expected import Failing, LogLine, Span
from alertdrill.drill import Drill, DrillResult
from alertdrill.faults.clock import ClockSkew
from alertdrill.faults.compose import Flapping
from alertdrill.faults.container import Kill, Pause
from alertdrill.faults.database import LongLock
from alertdrill.faults.deploy import BadConfiguration, BadRelease
from alertdrill.faults.disk import DiskFull
from alertdrill.faults.http import (
    HttpFailFirst,
    HttpHang,
    HttpMalformed,
    HttpRateLimited,
    HttpSlow,
    HttpStatus,
    HttpTruncated,
    HttpWrongSchema,
)
from alertdrill.faults.network import BlackHole, Latency, Refuse, Reset
from alertdrill.faults.nothing import Nothing
from alertdrill.faults.partition import Partition
from alertdrill.faults.replication import ReplayPaused
from alertdrill.faults.resource import OutOfMemory
from alertdrill.verdict import Verdict
from chaos.telemetry import TELEMETRY
from loadtests import sync_and_api

# What clients see: next to nothing works, or nothing fails.
HARMED = {"SyncUser": Failing(at_least=0.9), "ApiUser": Failing(at_least=0.9)}
UNHARMED = {"SyncUser": Failing(at_most=0.01), "ApiUser": Failing(at_most=0.01)}
ONLY_SYNCS_HARMED = UNHARMED | {"SyncUser": Failing(at_least=0.9)}
# Where requests fail by chance, about a third of the syncs does: of 38, fewer than a tenth once in
# 900 drills (binomial).
SOME_SYNCS_HARMED = UNHARMED | {"SyncUser": Failing(at_least=0.1)}

# A deploy takes the hub away for as long as it boots.
DEPLOYING = {"APIUnavailable", "NoSuccessfulSyncs"}
BOOT_S = 4.0

SYNC_FAILED = LogLine("ERROR", "sync_failed", joins_trace=True)

DRILLS = [
    Drill(
        "no fault",
        fault=Nothing(),
        load=sync_and_api(),
    ),
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
        fault=DiskFull("postgres", "/wal"),
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
    # --- Redis: what it holds may be lost ---
    Drill(
        "Redis refuses connections",
        fault=Refuse("redis", client="hub"),
        load=sync_and_api(),
        stays_quiet={"HighErrorRate"},
        health={"redis": False},
        clients=UNHARMED,
        nightly=True,
    ),
    Drill(
        "Redis falls silent",
        fault=BlackHole("redis", client="hub"),
        load=sync_and_api(),
        stays_quiet={"HighErrorRate"},
        health={"redis": False},
        clients=UNHARMED,
    ),
    # --- the upstream APIs ---
    Drill(
        "GitHub API refuses connections",
        fault=Refuse("github", client="hub"),
        load=sync_and_api(),
        fires={"HighErrorRate", "NoSuccessfulSyncs", "UpstreamUnavailable"},
        labels={"UpstreamUnavailable": {"upstream": "github"}},
        health={"github_api": False},
        clients=ONLY_SYNCS_HARMED,
        logs=SYNC_FAILED,
    ),
    Drill(
        "GitHub API answers 5xx to half the requests",
        fault=HttpStatus("github", status=503, rate=0.5),
        load=sync_and_api(),
        fires={"HighErrorRate", "UpstreamUnavailable"},
        labels={"UpstreamUnavailable": {"upstream": "github"}},
        stays_quiet={"SyncLatencyHigh"},
        # What the check says is a matter of chance, as every request is.
        health={"github_api": None},
        clients=SOME_SYNCS_HARMED,
        logs=SYNC_FAILED,
        blames=Span("hub", "GET*"),
    ),
    Drill(
        "GitHub API limits the rate",
        fault=HttpRateLimited("github", retry_after_s=1, rate=0.9),
        load=sync_and_api(),
        fires={"HighErrorRate", "UpstreamUnavailable"},
        labels={"UpstreamUnavailable": {"upstream": "github"}},
        may_fire={"NoSuccessfulSyncs"},
        health={"github_api": None},
        clients=SOME_SYNCS_HARMED,
        logs=SYNC_FAILED,
        nightly=True,
    ),
    Drill(
        "GitHub API fails twice, and retries get through",
        fault=HttpFailFirst("github", 2),
        load=sync_and_api(),
        stays_quiet={"HighErrorRate", "UpstreamUnavailable"},
        health={},
        clients=UNHARMED,
    ),
    Drill(
        "GitHub API breaks off its answers",
        fault=HttpTruncated("github", rate=0.7),
        load=sync_and_api(),
        fires={"HighErrorRate", "UpstreamUnavailable"},
        labels={"UpstreamUnavailable": {"upstream": "github"}},
        health={"github_api": None},
        clients=SOME_SYNCS_HARMED,
        logs=SYNC_FAILED,
        nightly=True,
    ),
    Drill(
        "GitHub API hangs",
        fault=HttpHang("github"),
        load=sync_and_api(),
        fires={"HighErrorRate", "NoSuccessfulSyncs", "UpstreamUnavailable"},
        labels={"UpstreamUnavailable": {"upstream": "github"}},
        may_fire={"SyncLatencyHigh"},
        health={"github_api": False},
        clients=ONLY_SYNCS_HARMED,
        logs=SYNC_FAILED,
        operation_s=10.0,
        nightly=True,
    ),
    Drill(
        "AI Studio API is slow",
        fault=HttpSlow("ai-studio", delay_s=3.0),
        load=sync_and_api(),
        fires={"SyncLatencyHigh"},
        stays_quiet={"HighErrorRate"},
        health={"ai_studio_api": False},
        clients=UNHARMED,
        operation_s=7.0,
    ),
    Drill(
        "AI Studio API is slow for one request in twenty",
        fault=HttpSlow("ai-studio", delay_s=2.0, quantile=0.95),
        load=sync_and_api(),
        stays_quiet={"SyncLatencyHigh", "HighErrorRate"},
        health={},
        clients=UNHARMED,
        operation_s=2.0,
        nightly=True,
    ),
    Drill(
        "AI Studio API answers with broken JSON",
        fault=HttpMalformed("ai-studio", rate=0.7),
        load=sync_and_api(),
        fires={"HighErrorRate", "UpstreamUnavailable"},
        labels={"UpstreamUnavailable": {"upstream": "ai-studio"}},
        health={"ai_studio_api": None},
        clients=SOME_SYNCS_HARMED,
        logs=SYNC_FAILED,
        nightly=True,
    ),
    Drill(
        "AI Studio API answers in another schema",
        fault=HttpWrongSchema("ai-studio"),
        load=sync_and_api(),
        fires={"HighErrorRate", "NoSuccessfulSyncs", "UpstreamUnavailable"},
        labels={"UpstreamUnavailable": {"upstream": "ai-studio"}},
        health={"ai_studio_api": None},
        clients=ONLY_SYNCS_HARMED,
        logs=SYNC_FAILED,
        nightly=True,
    ),
    # --- the hub ---
    Drill(
        "the hub is killed",
        fault=Kill("hub"),
        load=sync_and_api(),
        fires={"APIUnavailable"},
        inhibited={"NoSuccessfulSyncs"},
        health="unreachable",
        clients=HARMED,
    ),
    Drill(
        "the hub is paused",
        fault=Pause("hub"),
        load=sync_and_api(),
        fires={"APIUnavailable"},
        inhibited={"NoSuccessfulSyncs"},
        health="unreachable",
        nightly=True,
    ),
    Drill(
        "the hub runs out of memory",
        fault=OutOfMemory("hub"),
        load=sync_and_api(),
        fires={"APIUnavailable"},
        inhibited={"NoSuccessfulSyncs"},
        health="unreachable",
        # It answers until its memory is eaten.
        clients=dict.fromkeys(HARMED, Failing(at_least=0.5)),
    ),
    Drill(
        "the hub is cut off from all that it needs",
        fault=Partition("hub", from_=("toxiproxy",)),
        load=sync_and_api(),
        fires={
            *("DatabaseConnectionPoolExhausted", "HighErrorRate", "NoSuccessfulSyncs"),
            "ApiErrorRateHigh",
        },
        may_fire={"ApiLatencyHigh", "UpstreamUnavailable"},
        stays_quiet={"APIUnavailable"},
        health=dict.fromkeys(("database", "redis", "github_api", "ai_studio_api"), False),
        clients=HARMED,
        operation_s=10.0,
        nightly=True,
    ),
    Drill(
        "the hub's log folder is full",
        fault=DiskFull("hub", "/var/log/bakhmach"),
        load=sync_and_api(),
        met_by="log_records_lost_total",
        stays_quiet={"HighErrorRate", "ApiErrorRateHigh"},
        health={},
        clients=UNHARMED,
    ),
    Drill(
        "the hub's clock is two minutes ahead",
        fault=ClockSkew("hub", 120, image="hub-clock"),
        load=sync_and_api(),
        fires={"ClockSkewed"},
        may_fire=DEPLOYING,
        health={},
        operation_s=BOOT_S,
    ),
    # --- what is deployed ---
    Drill(
        "the hub is given a wrong key of AI Studio",
        fault=BadConfiguration("hub", {"AI_STUDIO_KEY": "of-yesterday"}),
        load=sync_and_api(),
        fires={"HighErrorRate", "NoSuccessfulSyncs", "UpstreamUnavailable"},
        labels={"UpstreamUnavailable": {"upstream": "ai-studio"}},
        may_fire=DEPLOYING,
        clients={"SyncUser": Failing(at_least=0.9)},
        operation_s=BOOT_S,
    ),
    Drill(
        "a release that is slow",
        fault=BadRelease("hub", "hub-slow"),
        load=sync_and_api(),
        fires={"SyncLatencyHigh"},
        may_fire=DEPLOYING,
        operation_s=BOOT_S + 7.0,
        nightly=True,
    ),
    Drill(
        "a release that answers wrongly",
        fault=BadRelease("hub", "hub-wrong"),
        load=sync_and_api(),
        may_fire=DEPLOYING,
        operation_s=BOOT_S,
        nightly=True,
    ),
    Drill(
        "a release that answers 500 to whoever lists items",
        fault=BadRelease("hub", "hub-failing"),
        load=sync_and_api(),
        fires={"ApiErrorRateHigh"},
        may_fire=DEPLOYING,
        # Three in ten requests list items.
        clients={"ApiUser": Failing(at_least=0.1)},
        logs=LogLine("CRITICAL", "unhandled_exception", joins_trace=True),
        blames=Span("hub", "GET /api/v1/items"),
        operation_s=BOOT_S,
        nightly=True,
    ),
    Drill(
        "a release that renames a metric",
        fault=BadRelease("hub", "hub-renamed"),
        load=sync_and_api(),
        fires={"NoSuccessfulSyncs"},
        may_fire=DEPLOYING,
        operation_s=BOOT_S,
    ),
    Drill(
        "a release whose label set explodes",
        fault=BadRelease("hub", "hub-exploding"),
        load=sync_and_api(),
        fires={"CardinalityExplosion"},
        may_fire=DEPLOYING,
        # So long until it has a thousand values.
        operation_s=BOOT_S + 8.0,
    ),
    # --- the monitoring itself ---
    *TELEMETRY,
]


@pytest.mark.parametrize("drill", DRILLS, ids=str)
def test_the_monitoring_tells_the_truth(
    drill: Drill, run_drill: Callable[[Drill], DrillResult]
) -> None:
    assert run_drill(drill).verdict is Verdict.PASS
