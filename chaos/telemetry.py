"""Drills of the monitoring itself: it goes blind, and says so; the users notice nothing."""

from __future__ import annotations

from alertdrill.drill import Drill
from alertdrill.faults.container import Kill, Pause
from alertdrill.faults.partition import Partition
from loadtests import sync_and_api

DRILLS = [
    Drill(
        "Prometheus hangs",
        fault=Pause("prometheus"),
        load=sync_and_api(),
        fires={"DeadMansSwitch"},
        spares_users=True,
    ),
    # Prometheus sees that Alertmanager is gone, and has nobody to tell it to.
    Drill(
        "Alertmanager hangs",
        fault=Pause("alertmanager"),
        load=sync_and_api(),
        fires={"DeadMansSwitch"},
        may_fire={"TargetMissing"},
        spares_users=True,
    ),
    Drill(
        "Prometheus can't reach Alertmanager",
        fault=Partition("prometheus", from_=("alertmanager",)),
        load=sync_and_api(),
        fires={"DeadMansSwitch"},
        may_fire={"TargetMissing"},
        spares_users=True,
        nightly=True,
    ),
    # What its spans and its log are sent to is nothing that the hub waits for.
    Drill(
        "Jaeger hangs",
        fault=Pause("jaeger"),
        load=sync_and_api(),
        fires={"TargetMissing"},
        labels={"TargetMissing": {"job": "jaeger"}},
        stays_quiet={"SyncLatencyHigh", "ApiLatencyHigh"},
        spares_users=True,
        nightly=True,
    ),
    Drill(
        "the log shipper hangs",
        fault=Pause("logstash"),
        load=sync_and_api(),
        fires={"LogsNotStored"},
        logs_arrive=True,
        spares_users=True,
    ),
    Drill(
        "the log shipper can't reach the store",
        fault=Partition("logstash", from_=("elasticsearch",)),
        load=sync_and_api(),
        fires={"LogsNotStored"},
        logs_arrive=True,
        spares_users=True,
        nightly=True,
    ),
    # Its exporter is up all the while, and has nothing to tell.
    Drill(
        "the log store hangs",
        fault=Pause("elasticsearch"),
        load=sync_and_api(),
        fires={"LogsNotStored"},
        stays_quiet={"TargetMissing"},
        logs_arrive=True,
        spares_users=True,
        nightly=True,
    ),
    # Of the store nothing is known then, which is not the same as that it takes nothing.
    Drill(
        "the log store's exporter is killed",
        fault=Kill("elasticsearch-exporter"),
        load=sync_and_api(),
        fires={"TargetMissing"},
        labels={"TargetMissing": {"job": "elasticsearch"}},
        stays_quiet={"LogsNotStored"},
        spares_users=True,
        nightly=True,
    ),
    Drill(
        "scrapes of the hub time out",
        fault=Partition("prometheus", from_=("hub",)),
        load=sync_and_api(),
        fires={"APIUnavailable"},
        inhibited={"NoSuccessfulSyncs"},
        spares_users=True,
    ),
    Drill(
        "the node exporter is killed",
        fault=Kill("node-exporter"),
        load=sync_and_api(),
        fires={"TargetMissing"},
        labels={"TargetMissing": {"job": "node"}},
        spares_users=True,
    ),
]
