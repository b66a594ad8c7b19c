"""Drills of more than one fault: at once, one after another, more and more."""

from __future__ import annotations

from alertdrill.checks.expected import Failing, Span
from alertdrill.drill import Drill
from alertdrill.faults.compose import Flapping, Sequence, Together
from alertdrill.faults.http import HttpSlow
from alertdrill.faults.network import Refuse
from alertdrill.faults.partition import NameGone
from chaos.expected import HARMED, SYNC_FAILED, UNHARMED
from loadtests import sync_and_api

DRILLS = [
    Drill(
        "Redis is gone and AI Studio is slow",
        fault=Together(Refuse("redis", client="hub"), HttpSlow("ai-studio", delay_s=3.0)),
        load=sync_and_api(),
        fires={"SyncLatencyHigh"},
        stays_quiet={"HighErrorRate"},
        health={"redis": False, "ai_studio_api": False},
        clients=UNHARMED,
        operation_s=7.0,
        nightly=True,
    ),
    Drill(
        "GitHub is down, then PostgreSQL",
        fault=Sequence(
            [(Refuse("github", client="hub"), 8.0), (Refuse("postgres", client="hub"), None)]
        ),
        load=sync_and_api(),
        fires={"HighErrorRate", "NoSuccessfulSyncs", "ApiErrorRateHigh"},
        may_fire={"UpstreamUnavailable", "ApiLatencyHigh"},
        stays_quiet={"APIUnavailable"},
        health={"database": False},
        clients={"SyncUser": Failing(at_least=0.9), "ApiUser": Failing(at_least=0.3)},
        logs=SYNC_FAILED,
        notifications_at_most=1,
        operation_s=8.0,
        nightly=True,
    ),
    # Open connections don't need the name: it is missed when they end.
    Drill(
        "connections to PostgreSQL break, and the name on their way is gone",
        fault=Together(
            Flapping(Refuse("postgres", client="hub"), on_s=3.0, off_s=120.0, cycles=1),
            NameGone("toxiproxy", client="hub"),
        ),
        load=sync_and_api(),
        fires={"HighErrorRate", "NoSuccessfulSyncs", "ApiErrorRateHigh"},
        # Connections to the others end too, as soon as they have been idle for long.
        may_fire={"ApiLatencyHigh", "DatabaseConnectionPoolExhausted", "UpstreamUnavailable"},
        stays_quiet={"APIUnavailable"},
        health={"database": False, **dict.fromkeys(("redis", "github_api", "ai_studio_api"))},
        clients=HARMED,
        logs=SYNC_FAILED,
        blames=Span("hub", "db.*"),
        operation_s=3.0,
        nightly=True,
    ),
]
