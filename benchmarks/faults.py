"""How long injecting and healing a fault takes, and what looking at it costs the machine.

Every fault is injected, seen, counted and healed several times on one stack of services and
proxies. "inject" and "heal" are the calls as a drill makes them, read back included; a container's
own boot after healing isn't part of it. The other columns are processor time of the whole machine
per call, since most of it is the engine's and the containers': of the rounds the least, in which
the machine did the least beside it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from alertdrill.faults.container import Kill, Pause, Stop
from alertdrill.faults.contract import Fault
from alertdrill.faults.database import HeldConnections
from alertdrill.faults.deploy import BadConfiguration
from alertdrill.faults.http import HttpHang, HttpMalformed, HttpSlow, HttpStatus
from alertdrill.faults.network import Bandwidth, BlackHole, CutAfter, Latency, Refuse, Reset
from alertdrill.faults.partition import NameGone, Partition
from alertdrill.faults.resource import CpuQuota, FileDescriptors, MemoryLimit
from alertdrill.faults.world import survey
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually
from benchmarks.report import Detail, Figure, Report, Target, parser, present
from benchmarks.setting import prepare, project

ROUNDS = 5
SEEN_WITHIN_S = 20.0
CLIENT = "receiver"
NEEDED = ("github", "ai-studio", "postgres", "redis", "toxiproxy", "http-faults", CLIENT)
TICKS_PER_S = 100

FAULTS: tuple[Fault, ...] = (
    Refuse("redis", client=CLIENT),
    Latency("redis", 200, client=CLIENT),
    BlackHole("redis", client=CLIENT),
    Reset("redis", client=CLIENT),
    Bandwidth("redis", 1_000, client=CLIENT),
    CutAfter("redis", 100, client=CLIENT),
    HttpStatus("github", rate=1.0, probe_path="/rate_limit"),
    HttpSlow("github", 0.2, probe_path="/rate_limit"),
    HttpHang("github", probe_path="/rate_limit"),
    HttpMalformed("github", probe_path="/rate_limit"),
    Kill("redis"),
    Stop("redis"),
    Pause("redis"),
    CpuQuota("redis", 0.2),
    MemoryLimit(CLIENT, 64),
    FileDescriptors(CLIENT, 32),
    Partition(CLIENT, ("redis",)),
    NameGone("redis", CLIENT),
    BadConfiguration("github", {"PLANTED": "1"}),
    HeldConnections(10),
)
# By layer; nothing is promised of the others.
PROMISED_MS = {"TCP": 100, "HTTP": 100, "container": 1_000}


def busy_s() -> float:
    """Seconds that the machine's processors have worked so far; proc(5)."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _, _, irq, softirq = map(int, stat.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS_PER_S


@dataclass
class Seen:
    """Of one fault, by round: milliseconds of a call, and processor milliseconds of a look."""

    inject: list[float] = field(default_factory=list)
    heal: list[float] = field(default_factory=list)
    is_effective: list[float] = field(default_factory=list)
    is_healed: list[float] = field(default_factory=list)
    exposure: list[float] = field(default_factory=list)


def timed(call: Callable[[], object], into: list[float]) -> None:
    begun = time.perf_counter()
    call()
    into.append((time.perf_counter() - begun) * 1000)


def costed(call: Callable[[], object], into: list[float]) -> None:
    begun = busy_s()
    call()
    into.append((busy_s() - begun) * 1000)


def rounds(fault: Fault, stack: Stack) -> Seen:
    """Raises DeadlineExceeded when it is not seen to bite or to be gone."""
    seen = Seen()
    for _ in range(ROUNDS):
        timed(lambda: fault.inject(stack), seen.inject)
        try:
            _await(lambda: fault.is_effective(stack).holds, f"{fault.name} to bite")
            costed(lambda: fault.is_effective(stack), seen.is_effective)
            costed(lambda: fault.exposure(stack), seen.exposure)
        finally:
            timed(lambda: fault.heal(stack), seen.heal)
        _await(lambda: fault.is_healed(stack).holds, f"{fault.name} to be gone")
        costed(lambda: fault.is_healed(stack), seen.is_healed)
    return seen


def _await(holds: Callable[[], bool], what: str) -> None:
    eventually(holds, timeout_s=SEEN_WITHIN_S, what=what)


def measure() -> Report:
    config = project()
    core = config.load_stack().profiles["core"]
    without = tuple(name for name in core if name not in NEEDED)
    with (
        prepare(config, without=without) as setting,
        setting.progress.task("faults") as task,
        setting.stack() as stack,
    ):
        taken: dict[Fault, Seen] = {}
        for fault in FAULTS:
            task.update(fault.name)
            taken[fault] = rounds(fault, stack)
        surveys: list[float] = []
        for _ in range(ROUNDS):
            costed(lambda: survey(stack), surveys)
    return Report(
        f"Faults, {ROUNDS} rounds each",
        setting.machine,
        (
            *_figures(taken),
            Figure("a look at the whole stack", min(surveys), "CPU ms", note="7 components"),
        ),
        (_detail(taken),),
    )


def _figures(taken: dict[Fault, Seen]) -> list[Figure]:
    figures = []
    for layer, bound in PROMISED_MS.items():
        of_layer = {fault: seen for fault, seen in taken.items() if fault.layer == layer}
        for verb in ("inject", "heal"):
            slowest = max(of_layer, key=lambda fault: median(getattr(of_layer[fault], verb)))
            value = median(getattr(of_layer[slowest], verb))
            figures.append(
                Figure(f"{verb}, {layer}", value, "ms", Target("≤", bound), slowest.name)
            )
    return figures


def _detail(taken: dict[Fault, Seen]) -> Detail:
    return Detail(
        "Milliseconds of a call, median, and processor milliseconds of a look, least",
        ("fault", "inject", "heal", "bites?, CPU", "gone?, CPU", "counted, CPU"),
        [
            (
                fault.name,
                *(f"{median(values):.0f}" for values in (seen.inject, seen.heal)),
                *(
                    f"{min(values):.0f}"
                    for values in (seen.is_effective, seen.is_healed, seen.exposure)
                ),
            )
            for fault, seen in taken.items()
        ],
    )


if __name__ == "__main__":
    sys.exit(present(measure, parser(__doc__).parse_args().json))
