"""Drills of the hub itself: its container, its network and what it may use."""

from __future__ import annotations

from alertdrill.checks.expected import Failing
from alertdrill.drill import Drill
from alertdrill.faults.clock import ClockSkew
from alertdrill.faults.compose import Flapping
from alertdrill.faults.container import Kill, Pause, Stop
from alertdrill.faults.disk import DiskFull
from alertdrill.faults.partition import Partition
from alertdrill.faults.resource import CpuQuota, FileDescriptors, MemoryLimit, OutOfMemory
from chaos.expected import BOOT_S, DEPLOYING, HARMED, UNHARMED
from loadtests import sync_and_api

DRILLS = [
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
    # Long enough on for the alert, and long enough off for its end: each time it is told, and
    # once more when its group, an interval later, has news of another series: APIUnavailable has
    # two, and Prometheus goes on for a while telling that one has ended.
    Drill(
        "the hub hangs again and again",
        fault=Flapping(Pause("hub"), on_s=12.0, off_s=7.0, cycles=3),
        load=sync_and_api(),
        fires={"APIUnavailable"},
        fires_again={"APIUnavailable"},
        inhibited={"NoSuccessfulSyncs"},
        health="unreachable",
        notifications_at_most=4,
        operation_s=12.0 + 7.0,
        nightly=True,
    ),
    Drill(
        "the hub is stopped",
        fault=Stop("hub"),
        load=sync_and_api(),
        fires={"APIUnavailable"},
        inhibited={"NoSuccessfulSyncs"},
        health="unreachable",
        clients=dict.fromkeys(HARMED, Failing(at_least=0.8)),
        # It is asked to end, and ends what is under way.
        operation_s=5.0,
        nightly=True,
    ),
    # A little more than it needs: it is held up in many slices, and late in none.
    Drill(
        "the hub gets a sixth of a core",
        fault=CpuQuota("hub", 0.16),
        load=sync_and_api(),
        stays_quiet={"ApiLatencyHigh", "SyncLatencyHigh", "APIUnavailable"},
        health={},
        clients=UNHARMED,
        nightly=True,
    ),
    Drill(
        "the hub's memory is limited, with room",
        fault=MemoryLimit("hub", 512),
        load=sync_and_api(),
        met_by="http_requests_total",
        stays_quiet={"APIUnavailable"},
        health={},
        clients=UNHARMED,
        nightly=True,
    ),
    # Who has a connection keeps it; a new one, and so a scrape, is never accepted.
    Drill(
        "the hub has no file descriptor left",
        fault=FileDescriptors("hub", 16),
        load=sync_and_api(),
        fires={"APIUnavailable"},
        inhibited={"NoSuccessfulSyncs"},
        # A descriptor may come free for one more request, which then can't do anything.
        health=None,
        # A sync may need another connection, to an upstream API.
        clients={"ApiUser": Failing(at_most=0.3)},
        nightly=True,
    ),
]
