"""Drills of Redis: what it holds may be lost."""

from __future__ import annotations

from alertdrill.drill import Drill
from alertdrill.faults.network import BlackHole, Refuse, Slicer
from chaos.expected import UNHARMED
from loadtests import sync_and_api

DRILLS = [
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
    Drill(
        "answers of Redis come in slices",
        fault=Slicer("redis", 64, 16, 2_000, client="hub"),
        load=sync_and_api(),
        stays_quiet={"HighErrorRate", "SyncLatencyHigh"},
        health={},
        clients=UNHARMED,
        nightly=True,
    ),
]
