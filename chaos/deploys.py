"""Drills of what is deployed: a wrong configuration, a release with a bug."""

from __future__ import annotations

from alertdrill.checks.expected import Failing, LogLine, Span
from alertdrill.drill import Drill
from alertdrill.faults.deploy import BadConfiguration, BadRelease
from chaos.expected import BOOT_S, DEPLOYING
from loadtests import sync_and_api

DRILLS = [
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
        # Who syncs asks for AI Studio to win: of the hub as it should be this counts nothing.
        met_by='sync_conflicts_won_total{winner="github"}',
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
]
