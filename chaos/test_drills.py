"""The drills: one thing is broken at a time, and the monitoring must say so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alertdrill.drill import Drill, DrillResult
from alertdrill.faults.container import Kill
from alertdrill.faults.http import HttpSlow, HttpStatus
from alertdrill.faults.network import Latency, Refuse
from alertdrill.faults.nothing import Nothing
from alertdrill.verdict import Verdict
from loadtests import sync_and_api

# The order matters for time only: pytest-xdist hands out neighbours to one stack, so each pair
# takes about as long as the next.
DRILLS = [
    Drill(
        "no fault",
        fault=Nothing(),
        load=sync_and_api(),
    ),
    Drill(
        "the hub is killed",
        fault=Kill("hub"),
        load=sync_and_api(),
        fires={"APIUnavailable"},
        inhibited={"NoSuccessfulSyncs"},
    ),
    Drill(
        "AI Studio API is slow",
        fault=HttpSlow("ai-studio", delay_s=3.0),
        load=sync_and_api(sync_rps=3),
        fires={"SyncLatencyHigh"},
        stays_quiet={"HighErrorRate"},
        operation_s=7.0,
    ),
    Drill(
        "GitHub API answers 5xx to half the requests",
        fault=HttpStatus("github", status=503, rate=0.5),
        load=sync_and_api(),
        fires={"HighErrorRate", "UpstreamUnavailable"},
        labels={"UpstreamUnavailable": {"upstream": "github"}},
        stays_quiet={"SyncLatencyHigh"},
    ),
    Drill(
        "PostgreSQL refuses connections",
        fault=Refuse("postgres", client="hub"),
        load=sync_and_api(),
        fires={"HighErrorRate", "NoSuccessfulSyncs"},
        stays_quiet={"APIUnavailable"},
    ),
    Drill(
        "PostgreSQL is slow until the pool is full",
        fault=Latency("postgres", latency_ms=1_000, client="hub"),
        load=sync_and_api(),
        fires={"DatabaseConnectionPoolExhausted"},
        may_fire={"HighErrorRate", "NoSuccessfulSyncs", "SyncLatencyHigh"},
        stays_quiet={"APIUnavailable"},
        operation_s=7.0,
    ),
]


@pytest.mark.parametrize("drill", DRILLS, ids=str)
def test_the_monitoring_tells_the_truth(
    drill: Drill, run_drill: Callable[[Drill], DrillResult]
) -> None:
    assert run_drill(drill).verdict is Verdict.PASS
