"""The loads that drills on the hub run under."""

from __future__ import annotations

from alertdrill.load.plan import Load

LOCUSTFILE = "loadtests/hub.py"


def sync_and_api(sync_rps: float = 4.0, api_rps: float = 15.0) -> Load:
    """Synchronisations and item requests side by side, in requests per second."""
    return Load(
        LOCUSTFILE,
        {"SyncUser": sync_rps, "ApiUser": api_rps},
        name=f"{sync_rps:g} syncs/s and {api_rps:g} API requests/s",
    )


def api_only(rps: float) -> Load:
    """Item and status requests only, in requests per second."""
    return Load(LOCUSTFILE, {"ApiUser": rps}, name=f"{rps:g} API requests/s")
