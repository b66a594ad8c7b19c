"""The drills: one thing is broken at a time, and the monitoring must say so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alertdrill.drill import Drill, DrillResult
from alertdrill.faults.nothing import Nothing
from alertdrill.verdict import Verdict
from chaos import cache, combined, deploys, hub, postgresql, telemetry, upstreams
from loadtests import sync_and_api

DRILLS = [
    Drill(
        "no fault",
        fault=Nothing(),
        load=sync_and_api(),
    ),
    *postgresql.DRILLS,
    *cache.DRILLS,
    *upstreams.DRILLS,
    *hub.DRILLS,
    *deploys.DRILLS,
    *combined.DRILLS,
    # The monitoring itself.
    *telemetry.DRILLS,
]


@pytest.mark.parametrize("drill", DRILLS, ids=str)
def test_the_monitoring_tells_the_truth(
    drill: Drill, run_drill: Callable[[Drill], DrillResult]
) -> None:
    assert run_drill(drill).verdict is Verdict.PASS
