"""What everything at once holds in memory: the full profile under the drills' load.

Memory is what ``docker stats`` shows: the control group's, without the page cache that the
kernel may drop at once. The highest of one sample a second counts.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from docker.models.containers import Container

from alertdrill.errors import AlertdrillError
from alertdrill.load.session import LoadSession
from benchmarks.report import Detail, Figure, Report, Target, parser, present
from benchmarks.setting import GIB, MIB, for_seconds, prepare, project, stats
from loadtests import sync_and_api

WATCHED_S = 20.0
TOTAL_TARGET = Target("≤", 2.5)


def used_bytes(seen: Mapping[str, Any]) -> int:
    """The column MEM USAGE of ``docker stats``. Raises AlertdrillError when it isn't there."""
    memory = seen.get("memory_stats", {})
    if "usage" not in memory:
        raise AlertdrillError(f"{seen.get('name')} reports no memory: it does not run")
    detail = memory.get("stats", {})
    # Control groups of version 1 and of version 2 call it differently.
    cache = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    usage = int(memory["usage"])
    return usage - int(cache) if cache < usage else usage


def resident_bytes(pid: int) -> int:
    """The resident memory of a process of this host."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AlertdrillError(f"process {pid} has no memory: it has ended")


def sample(containers: Sequence[tuple[str, Container]], pool: ThreadPoolExecutor) -> Counter[str]:
    """Bytes by component, of all stacks together, all asked at the same time."""
    seen = pool.map(lambda pair: used_bytes(stats(pair[1])), containers)
    total: Counter[str] = Counter()
    for (name, _), size in zip(containers, seen, strict=True):
        total[name] += size
    return total


def measure(stacks: int) -> Report:
    with prepare(project(), profile="full") as setting, ExitStack() as running:
        load = sync_and_api()
        containers: list[tuple[str, Container]] = []
        sessions = []
        for number in range(1, stacks + 1):
            with setting.progress.task(f"stack {number}/{stacks}"):
                stack = running.enter_context(setting.stack())
            containers += [(name, stack.container(name)) for name in stack.component_names]
            session = LoadSession(
                load,
                host=stack.url("hub"),
                out_dir=setting.scratch / f"load-{number}",
                project_root=setting.config.root,
                seed=setting.config.gate.seed,
            )
            sessions.append(running.enter_context(session))
        samples: list[Counter[str]] = []
        processes: list[Counter[str]] = []
        with (
            setting.progress.task("memory") as task,
            ThreadPoolExecutor(max_workers=len(containers)) as pool,
        ):
            for session in sessions:
                session.wait_started()
            since = time.monotonic()

            def step() -> None:
                samples.append(sample(containers, pool))
                locusts = sum(resident_bytes(session.pid) for session in sessions)
                own = {"Locust": locusts, "the runner": resident_bytes(os.getpid())}
                processes.append(Counter(own))
                task.update(f"{samples[-1].total() / MIB:.0f} MiB")

            for_seconds(WATCHED_S, step, interval_s=1.0)
            for session in sessions:
                health = session.validity(since)
                if not health.valid:
                    raise AlertdrillError(f"the load was not what was planned: {health.why}")
    words = "1 stack" if stacks == 1 else f"{stacks} stacks side by side"
    return _report(setting.machine, samples, processes, f"{words}, {load} each")


def _report(
    where: str,
    samples: Sequence[Counter[str]],
    processes: Sequence[Counter[str]],
    words: str,
) -> Report:
    total = max(one.total() for one in samples)
    peaks = {name: max(one[name] for one in samples) for name in samples[0]}
    beside = {name: max(one[name] for one in processes) for name in processes[0]}
    rows = [(name, size / MIB) for name, size in sorted(peaks.items(), key=lambda p: -p[1])]
    return Report(
        "Memory of the full profile",
        where,
        (
            Figure(
                "all containers",
                total / GIB,
                "GiB",
                TOTAL_TARGET,
                f"the highest of {len(samples)} samples",
            ),
            Figure(
                "containers, Locust and runner",
                (total + sum(beside.values())) / GIB,
                "GiB",
                TOTAL_TARGET,
            ),
        ),
        (
            Detail(f"Containers: {words}", ("component", "highest, MiB"), rows),
            Detail(
                "Processes beside them",
                ("process", "resident, MiB"),
                [(name, size / MIB) for name, size in beside.items()],
            ),
        ),
    )


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--stacks", type=int, default=1, help="how many side by side [1]")
    chosen: argparse.Namespace = options.parse_args()
    return present(lambda: measure(chosen.stacks), chosen.json)


if __name__ == "__main__":
    sys.exit(main())
