"""Faults of what a container may use: too little CPU, memory, or file descriptors."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from docker.models.containers import Container

from alertdrill.errors import FaultError, UsageError
from alertdrill.faults import ledger
from alertdrill.faults.beside import run_beside
from alertdrill.faults.container import Kill
from alertdrill.faults.contract import Evidence, Exposure, Fault, Target
from alertdrill.stack.leftovers import COMPONENT_LABEL

MIB = 1024 * 1024
PERIOD_US = 100_000
# What the kernel says for "no limit". The engine drops 0 and refuses -1, but takes this.
UNLIMITED = 0x7FFFFFFFFFFFF000
LEAST_MIB = 6
HEADROOM_MIB = 8
KILLED = 137

_CPU_FILES = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2> /dev/null || cat /sys/fs/cgroup/cpu.max"

# Times at the limit (with swap limited too, cgroup 1 has a second count), and processes killed;
# there are kernels that keep only the last.
_MEMORY_COUNTS = """
cd /sys/fs/cgroup
cd memory 2> /dev/null || exec grep -E '^(max|oom_kill) ' memory.events
cat memory.failcnt memory.memsw.failcnt 2> /dev/null
grep '^oom_kill ' memory.oom_control
"""


@dataclass(frozen=True)
class _ResourceFault(Fault):
    """What the faults of one container's resources share: ``service`` is its component's name."""

    layer = "resource"

    service: str

    @property
    def name(self) -> str:
        return f"{type(self).__name__.lower()}({self.service})"

    def _stats(self, stack: Target) -> dict[str, Any]:
        """What the kernel counts for the container now. Raises FaultError."""
        container = stack.container(self.service)
        with ledger.refusals(self.name):
            api = ledger.client_of(container).api
            stats: dict[str, Any] = api.stats(str(container.id), stream=False, one_shot=True)
        return stats

    def _is_up(self, stack: Target) -> bool:
        return bool(stack.container(self.service).attrs["State"]["Running"])


@dataclass(frozen=True)
class CpuQuota(_ResourceFault):
    """The container gets at most ``share`` of one core, from 0.01 to below 1.

    In slices of 100 ms: what it used up is missing until the next. Needs a shell in the image.
    Proven by: the kernel's own quota, read in the container. Counted: slices in which the kernel
    held the container up.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0.01 <= self.share < 1:
            raise UsageError(f"a CPU quota must be from 0.01 to below 1 core, not {self.share}")

    @property
    def touches(self) -> frozenset[str]:
        return frozenset({self.service})  # it may be too slow for a scrape

    @property
    def _quota_us(self) -> int:
        return round(self.share * PERIOD_US)

    def inject(self, stack: Target) -> None:
        self._set(stack, self._quota_us)

    def is_effective(self, stack: Target) -> Evidence:
        quota_us = self._kernel_quota_us(stack)
        return Evidence(
            quota_us == self._quota_us,
            f"{self.service} gets {_cores(quota_us)}, says its kernel",
        )

    def heal(self, stack: Target) -> None:
        if stack.container(self.service).attrs["HostConfig"]["CpuQuota"] > 0:
            self._set(stack, -1)

    def is_healed(self, stack: Target) -> Evidence:
        if not self._is_up(stack):
            return Evidence(False, f"{self.service} isn't running")
        quota_us = self._kernel_quota_us(stack)
        return Evidence(quota_us is None, f"{self.service} gets {_cores(quota_us)}")

    def exposure(self, stack: Target) -> Exposure:
        throttling = self._stats(stack)["cpu_stats"].get("throttling_data", {})
        return Exposure(int(throttling.get("throttled_periods", 0)), "throttled slices")

    def _set(self, stack: Target, quota_us: int) -> None:
        with ledger.refusals(self.name):
            stack.container(self.service).update(cpu_quota=quota_us, cpu_period=PERIOD_US)
        found = stack.container(self.service).attrs["HostConfig"]["CpuQuota"]
        if found != quota_us:
            raise FaultError(f"{self.name}: the engine took {quota_us} and says {found}")

    def _kernel_quota_us(self, stack: Target) -> int | None:
        """None: no quota."""
        code, output = stack.exec(self.service, ["sh", "-c", _CPU_FILES])
        words = output.split()
        if code != 0 or not words or not re.fullmatch(r"-?\d+|max", words[0]):
            raise FaultError(f"{self.name}: the quota can't be read: {output.strip()[-200:]}")
        return None if words[0] in ("-1", "max") else int(words[0])


@dataclass(frozen=True)
class _MemoryFault(_ResourceFault):
    """A limit of the container's memory, swap included; healing starts a container that it
    killed."""

    @property
    def breaks(self) -> frozenset[str]:
        return frozenset({self.service})

    def heal(self, stack: Target) -> None:
        note = ledger.find(stack, self.name, self.service)
        if note is None:
            return
        before = int(note.before["memory"])
        self._limit(stack, before or UNLIMITED, int(note.before["swap"]) or UNLIMITED)
        container = stack.container(self.service)
        if not container.attrs["State"]["Running"]:
            with ledger.refusals(self.name):
                container.start()
        ledger.erase(stack, self.name, self.service)

    def is_healed(self, stack: Target) -> Evidence:
        if ledger.find(stack, self.name, self.service) is not None:
            return Evidence(False, f"{self.service} has the limit still: {self.name} is noted")
        return Kill(self.service).is_healed(stack)  # running and ready: it may have been killed

    def _remember_and_limit(self, stack: Target, limit: int) -> None:
        host = stack.container(self.service).attrs["HostConfig"]
        ledger.write(
            stack,
            self.name,
            self.service,
            {"memory": host["Memory"], "swap": host["MemorySwap"]},
        )
        try:
            self._limit(stack, limit, limit)
        except FaultError as error:
            self.heal(stack)
            raise FaultError(
                f"{error}; it uses {self._used(stack) / MIB:.0f} MiB, and an engine may refuse "
                "less than that"
            ) from error

    def _limit(self, stack: Target, memory: int, swap: int) -> None:
        container = stack.container(self.service)
        with ledger.refusals(self.name):
            container.update(mem_limit=memory, memswap_limit=swap)
        found = stack.container(self.service).attrs["HostConfig"]["Memory"]
        if found != memory:
            raise FaultError(f"{self.name}: the engine took {memory} bytes and says {found}")

    def _used(self, stack: Target) -> int:
        return int(self._stats(stack)["memory_stats"].get("usage", 0))


@dataclass(frozen=True)
class MemoryLimit(_MemoryFault):
    """The container gets at most ``mib`` MiB, from 6; a process that needs more is killed.

    Proven by: the kernel's own limit, or that the container was killed for want of memory.
    Counted, while it lives: how often it came up against the limit, and what was killed for it,
    as far as the kernel counts; that needs a shell.
    """

    mib: int

    def __post_init__(self) -> None:
        if self.mib < LEAST_MIB:
            raise UsageError(f"a memory limit must be at least {LEAST_MIB} MiB, not {self.mib}")

    def inject(self, stack: Target) -> None:
        self._remember_and_limit(stack, self.mib * MIB)

    def is_effective(self, stack: Target) -> Evidence:
        if not self._is_up(stack):
            return _killed_for_memory(stack.container(self.service))
        limit = int(self._stats(stack)["memory_stats"].get("limit", 0))
        return Evidence(
            limit == self.mib * MIB, f"{self.service} gets {limit / MIB:.0f} MiB, says its kernel"
        )

    def exposure(self, stack: Target) -> Exposure | None:
        if not self._is_up(stack):
            return None
        code, output = stack.exec(self.service, ["sh", "-c", _MEMORY_COUNTS])
        counts = re.findall(r"^(?:max |oom_kill )?(\d+)$", output, re.MULTILINE)
        if code != 0 or not counts:  # what reads them may have been killed as well
            return None
        return Exposure(sum(map(int, counts)), "times at the limit")


@dataclass(frozen=True)
class OutOfMemory(_MemoryFault):
    """The kernel kills the container for want of memory, as when it leaks.

    It is limited to 8 MiB more than it uses, marked as the first to go, and another process beside
    it uses the rest. Needs a shell in the image. Proven by: the engine was told so by the kernel.
    """

    def inject(self, stack: Target) -> None:
        if not self._is_up(stack):
            return
        self._remember_and_limit(stack, self._used(stack) + HEADROOM_MIB * MIB)
        # tail keeps what it reads; its end comes with that of the whole container.
        eat = "echo 1000 > /proc/1/oom_score_adj && head -c 256m /dev/zero | timeout 10 tail"
        with ledger.refusals(self.name):
            stack.container(self.service).exec_run(["sh", "-c", eat], user="root", detach=True)

    def is_effective(self, stack: Target) -> Evidence:
        return _killed_for_memory(stack.container(self.service))


# Of the service alone: what the engine runs in its container has another parent. Unless that
# parent was killed, as the helper of somebody is who was interrupted: then what is left of it is
# a zombie of the service, which opens nothing, and may be another user's.
_OF_SERVICE = """
import json, os, re, resource, sys
a = json.loads(sys.argv[1])
gone = (FileNotFoundError, ProcessLookupError)
def of_service():
    parent = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % entry) as stat:
                state, of = stat.read().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                parent[int(entry)] = int(of)
        except gone:
            pass
    def is_one(pid):
        while pid not in (0, 1, None):
            pid = parent.get(pid)
        return pid == 1
    return list(filter(is_one, parent))
"""

# A process that is born meanwhile inherits from its parent: looked at until all are as asked.
_SET_LIMITS = (
    _OF_SERVICE
    + """
for _ in range(5):
    changed = False
    for pid in of_service():
        try:
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            if soft != a["soft"]:
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (a["soft"], hard))
                changed = True
        except gone:
            pass
    if not changed:
        break
print(json.dumps({}))
"""
)

_LIMITS = (
    _OF_SERVICE
    + """
found = {}
for pid in of_service():
    try:
        with open("/proc/%d/limits" % pid) as limits:
            found[pid] = int(re.search("Max open files +([0-9]+)", limits.read())[1])
    except gone:
        pass
print(json.dumps(found))
"""
)


# A connection has no inode before it is accepted: it is established, or its client has hung up
# already, in which case it still waits.
_UNACCEPTED = """
import json
found = 0
for table in ("/proc/net/tcp", "/proc/net/tcp6"):
    try:
        with open(table) as rows:
            for row in list(rows)[1:]:
                words = row.split()
                found += words[3] in ("01", "08") and words[9] == "0"
    except FileNotFoundError:
        pass
print(json.dumps({"connections": found}))
"""


@dataclass(frozen=True)
class FileDescriptors(_ResourceFault):
    """No process of the service may open a file or connection beyond ``limit`` descriptors.

    What is open stays open. All its processes must be of one user, and the fault isn't inherited
    by a container that starts anew. Proven by: the kernel's table of each process's limits.
    Counted: connections to it that nobody accepts.

    ``python_of``  the component whose image has python3
    """

    limit: int
    python_of: str = field(default="http-faults", kw_only=True)

    @property
    def touches(self) -> frozenset[str]:
        return frozenset({self.service})  # a scrape may need a connection

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise UsageError(f"a limit of file descriptors must be at least 1, not {self.limit}")

    def inject(self, stack: Target) -> None:
        note = ledger.find(stack, self.name, self.service)
        soft = self._limits(stack)["1"] if note is None else int(note.before["soft"])
        if soft <= self.limit:
            raise FaultError(f"{self.name}: {self.limit} is no limit where {soft} is one already")
        ledger.write(stack, self.name, self.service, {"soft": soft})
        self._set(stack, self.limit)

    def is_effective(self, stack: Target) -> Evidence:
        if not self._is_up(stack):
            return Evidence(False, f"{self.service} isn't running")
        above = {pid for pid, soft in self._limits(stack).items() if soft > self.limit}
        return Evidence(
            not above,
            f"{len(above)} processes of {self.service} may open more than {self.limit} files",
        )

    def heal(self, stack: Target) -> None:
        note = ledger.find(stack, self.name, self.service)
        if note is None:
            return
        if self._is_up(stack):  # else its processes, and their limits, are gone
            self._set(stack, int(note.before["soft"]))
        ledger.erase(stack, self.name, self.service)

    def is_healed(self, stack: Target) -> Evidence:
        if ledger.find(stack, self.name, self.service) is not None:
            return Evidence(False, f"{self.name} is still noted")
        if not self._is_up(stack):
            return Evidence(False, f"{self.service} isn't running")
        limits = self._limits(stack)
        left = [pid for pid, soft in limits.items() if soft == self.limit]
        return Evidence(not left, f"{len(left)} processes of {self.service} have the limit still")

    def exposure(self, stack: Target) -> Exposure | None:
        if not self._is_up(stack):
            return None
        waiting: dict[str, int] = run_beside(
            stack, self.service, _UNACCEPTED, {}, shares="network", python_of=self.python_of
        )
        return Exposure(waiting["connections"], "connections that nobody accepts")

    def _limits(self, stack: Target) -> dict[str, int]:
        return self._run(stack, _LIMITS, {})

    def _set(self, stack: Target, soft: int) -> None:
        # Its own user may do it; more than that, the kernel may not let root in a container do.
        code, owner = stack.exec(self.service, ["stat", "-c", "%u:%g", "/proc/1"])
        if code != 0:
            raise FaultError(f"{self.name}: whose process it is can't be told: {owner.strip()}")
        self._run(stack, _SET_LIMITS, {"soft": soft}, user=owner.strip())

    def _run(
        self, stack: Target, program: str, question: dict[str, Any], user: str = "root"
    ) -> dict[str, int]:
        answer: dict[str, int] = run_beside(
            stack,
            self.service,
            program,
            question,
            shares="processes",
            python_of=self.python_of,
            user=user,
        )
        return answer


def _killed_for_memory(container: Container) -> Evidence:
    state = container.attrs["State"]
    killed = not state["Running"] and state["OOMKilled"] and state["ExitCode"] == KILLED
    why = "for want of memory" if state["OOMKilled"] else "for another reason"
    name = container.labels.get(COMPONENT_LABEL, container.name)
    return Evidence(
        bool(killed),
        f"{name} is {state['Status']}"
        + ("" if state["Running"] else f" with code {state['ExitCode']}, {why}"),
    )


def _cores(quota_us: int | None) -> str:
    return "all of every core" if quota_us is None else f"{quota_us / PERIOD_US:g} of a core"
