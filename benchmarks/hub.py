"""What the hub alone bears: API load through its proxies, no monitoring, no faults.

Each rate runs on the same stack, one after the other; the load generator and every component
share the machine's cores. A rate is held when no request failed, hardly any slot of the schedule
passed unused, and 95 % of the answers came within 200 ms.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from alertdrill.errors import AlertdrillError
from alertdrill.load.session import LoadSession
from alertdrill.load.window import Latency
from alertdrill.stack.run import Stack
from benchmarks.report import Detail, Figure, Report, Target, parser, present
from benchmarks.setting import Setting, for_seconds, prepare, project, stats
from loadtests import api_only

MONITORING = ("prometheus", "alertmanager", "node-exporter", "receiver")
# The lowest is above the target: 200 planned would be 200 answered only by rounding.
RATES = (210.0, 260.0, 320.0)
WARM_UP_S = 5.0
MEASURED_S = 20.0
LATENCY_TARGET = Target("<", 200)
RATE_TARGET = Target("≥", 200)
MISSED_SHARE = 0.01
USER = "ApiUser"


@dataclass(frozen=True)
class Stage:
    """One rate: what was planned and what came. Rates in requests per second, times in ms.

    ``idle``  the share of the machine's processor time that nobody used: when somebody else
              works beside, it is lower than the load explains
    """

    planned: float
    achieved: float
    latency: Latency
    failed: int
    missed: int
    hub_cores: float
    idle: float

    @property
    def holds(self) -> bool:
        return (
            self.failed == 0
            and self.missed <= MISSED_SHARE * self.planned * MEASURED_S
            and LATENCY_TARGET.holds(self.latency.p95)
        )


def cpu_s(stack: Stack, component: str) -> float:
    """Seconds of processor time that a component has used since its start."""
    seen = stats(stack.container(component))
    return float(seen["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9


def idle_s() -> float:
    """Seconds that the machine's cores have been idle since it started, all cores together."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def run_stage(setting: Setting, stack: Stack, rate: float) -> Stage:
    """Load at ``rate`` for a while. Raises AlertdrillError when it was not what was planned."""
    session = LoadSession(
        api_only(rate),
        host=stack.url("hub"),
        out_dir=setting.scratch / f"load-{rate:g}",
        project_root=setting.config.root,
        seed=setting.config.gate.seed,
    )
    with session:
        session.wait_started()
        for_seconds(WARM_UP_S, lambda: None)
        missed, used, idle = session.snapshot().users[USER].missed, cpu_s(stack, "hub"), idle_s()
        since = time.monotonic()
        for_seconds(MEASURED_S, lambda: None)
        until = time.monotonic()
        used, idle = cpu_s(stack, "hub") - used, idle_s() - idle
        window = session.since(since, until)
        health = session.validity(since, until)
        missed = session.snapshot().users[USER].missed - missed
    if not health.valid or window.latency is None:
        raise AlertdrillError(f"{rate:g} requests/s were not what was planned: {health.why}")
    seconds = until - since
    return Stage(
        planned=rate,
        achieved=window.requests / seconds,
        latency=window.latency,
        failed=window.failed,
        missed=missed,
        hub_cores=used / seconds,
        idle=idle / seconds / (os.cpu_count() or 1),
    )


def measure(rates: tuple[float, ...]) -> Report:
    with prepare(project(), without=MONITORING) as setting:
        stages = []
        with setting.stack() as stack:
            for rate in rates:
                with setting.progress.task(f"{rate:g} requests/s") as task:
                    stage = run_stage(setting, stack, rate)
                    stages.append(stage)
                    task.finish(f"p95 {stage.latency.p95:.1f} ms, {stage.failed} failed")
    return _report(setting.machine, stages)


def _report(where: str, stages: list[Stage]) -> Report:
    held = [stage for stage in stages if stage.holds]
    best = max(held or stages, key=lambda stage: stage.achieved)
    words = "the highest rate that held" if held else "no rate held"
    return Report(
        "The hub alone, API load without faults",
        where,
        (
            Figure("requests answered", best.achieved, "1/s", RATE_TARGET, words),
            Figure("p95 at that rate", best.latency.p95, "ms", LATENCY_TARGET),
            Figure("failed at that rate", best.failed, "", Target("≤", 0)),
        ),
        (
            Detail(
                f"By planned rate, {MEASURED_S:.0f} s each",
                (
                    *("planned, 1/s", "answered, 1/s", "p50, ms", "p95, ms", "p99, ms", "max, ms"),
                    *("failed", "missed", "hub, cores", "idle, %", "held"),
                ),
                [
                    (
                        f"{stage.planned:g}",
                        stage.achieved,
                        *(stage.latency.p50, stage.latency.p95, stage.latency.p99),
                        stage.latency.worst,
                        *(stage.failed, stage.missed),
                        *(f"{stage.hub_cores:.2f}", f"{stage.idle:.0%}".rstrip("%")),
                        "yes" if stage.holds else "NO",
                    )
                    for stage in stages
                ],
            ),
        ),
    )


def main() -> int:
    options = parser(__doc__)
    options.add_argument(
        "--rates", type=float, nargs="+", default=RATES, help="requests per second, in order"
    )
    chosen: argparse.Namespace = options.parse_args()
    return present(lambda: measure(tuple(chosen.rates)), chosen.json)


if __name__ == "__main__":
    sys.exit(main())
