"""A bench without Docker: its stack is one container and its database, load and monitoring steady.

What is drilled, compared and replaced is the engine's own; only what it looks at is made up.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from alertdrill.bench import Bench
from alertdrill.config import load_config
from alertdrill.drill import Drill
from alertdrill.errors import StackError
from alertdrill.faults.contract import Evidence, Exposure, Fault
from alertdrill.load.plan import Load
from alertdrill.load.protocol import Finished
from alertdrill.load.window import LoadHealth, Window
from alertdrill.rules.model import load_monitoring
from alertdrill.signals.metrics import ScrapeTarget
from alertdrill.timeline import Timeline

CONFIG = """
name = "small"
stack = "nothing:NOTHING"
[monitoring]
prometheus = "prometheus.yml"
alertmanager = "alertmanager.yml"
jobs = ["app"]
[target]
component = "postgres"
port = "http"
"""
PROMETHEUS = """
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ['alertmanager:9093']}]}]}
global: {scrape_interval: 100ms, evaluation_interval: 100ms}
scrape_configs:
  - job_name: app
    scrape_interval: 100ms
    static_configs: [{targets: ['postgres:8001']}]
"""
ALERTMANAGER = """
route: {receiver: team}
receivers: [{name: team}]
"""
RULES = """
groups:
  - name: small
    rules: [{record: 'job:up:sum', expr: 'sum by (job) (up)'}]
"""
SERVICE = "postgres"
USER = "User"
RPS = 50.0
LOAD = Load("load.py", {USER: RPS})


@dataclass
class Stack:
    """``memory`` and ``settings`` are what a fault may leave; ``noted`` one that is in force.
    ``gone``: why the engine has no such container."""

    run_id: str
    memory: int = 0
    settings: dict[str, str] = field(default_factory=lambda: {"max_connections": "100"})
    noted: list[str] = field(default_factory=list)
    gone: str | None = None
    failing: bool = False
    stopped: bool = False
    component_names: tuple[str, ...] = (SERVICE,)

    def url(self, component: str, port: str = "http") -> str:
        return "http://127.0.0.1:9"

    def address(self, component: str, port: str) -> tuple[str, int]:
        return "127.0.0.1", 9

    def container(self, component: str) -> Any:
        if self.gone is not None:
            raise StackError(self.gone)
        notes = [SimpleNamespace(labels={"alertdrill.fault": fault}) for fault in self.noted]
        containers = SimpleNamespace(list=lambda **_: notes)
        return SimpleNamespace(
            name=component,
            short_id=self.run_id,
            client=SimpleNamespace(containers=containers),
            attrs={
                "Config": {"Env": ["POSTGRES_USER=small"]},
                "State": {"Status": "running", "Running": True, "Paused": False, "Pid": 0},
                "HostConfig": {"NetworkMode": "net", "Memory": self.memory},
                "NetworkSettings": {"Networks": {"net": {"Aliases": [component]}}},
                "RestartCount": 0,
            },
        )

    def exec(self, component: str, argv: list[str]) -> tuple[int, str]:
        """psql, asked for the database's state."""
        return 0, "\n".join(f"setting|{name}|{value}" for name, value in self.settings.items())

    def stop(self) -> None:
        self.stopped = True


class SteadyLoad:
    """Since ever ``RPS`` requests a second; those that end while the stack is ``failing`` fail."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.started_at = time.monotonic() - 10.0
        self.health = LoadHealth(True, "as planned")

    def wait_started(self, timeout_s: float) -> None:
        """It has started."""

    def requests(self, since: float, until: float | None = None) -> list[Finished]:
        end = time.monotonic() if until is None else until
        ok = not self._stack.failing
        numbers = range(int(since * RPS) + 1, int(end * RPS) + 1)
        return [Finished(n / RPS, n / RPS, USER, "GET /", ok, 200, 1.0) for n in numbers]

    def since(self, since: float, until: float | None = None) -> Window:
        return Window.of(self.requests(since, until))

    def validity(self, since: float, until: float) -> LoadHealth:
        return self.health


class Monitoring:
    """All of it: every target is up, nothing is lost, and it knows no alert."""

    latest: Mapping[str, Any] = {}

    def targets(self) -> list[ScrapeTarget]:
        return [ScrapeTarget("app", "http://postgres:8001/metrics", "up", "")]

    def value(self, promql: str) -> float:
        return 0.0

    def samples(self, promql: str, since: float, until: float) -> list[Any]:
        return []

    def rules(self) -> list[Any]:
        return []

    def new(self) -> list[Any]:
        return []

    def close(self) -> None:
        """Nothing was opened."""


class SmallBench(Bench):
    """``stacks`` are those that it had, the last of which is in use; ``told`` what it said.

    ``on_load`` is called with each load that it gives.
    """

    stacks: list[Stack]
    told: list[str]
    on_load: Callable[[SteadyLoad], None]

    def load(self, load: Load, name: str) -> Any:
        given = SteadyLoad(self.stacks[-1])
        self.on_load(given)
        return given

    def record(self, *_: Any) -> None:
        """There is no Prometheus that could be asked for series."""


def small_bench(folder: Path) -> Iterator[SmallBench]:
    """An open bench whose project is in ``folder``, which is empty."""
    files = {
        "alertdrill.toml": CONFIG,
        "prometheus.yml": PROMETHEUS,
        "rules.yml": RULES,
        "alertmanager.yml": ALERTMANAGER,
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    stacks: list[Stack] = []
    told: list[str] = []

    def start(profile: str) -> Any:
        stacks.append(Stack(f"run-{len(stacks) + 1}"))
        return stacks[-1]

    def settle(bench: Bench) -> None:
        bench.metrics = bench.alerts = bench.notifications = Monitoring()  # type: ignore[assignment]

    bench = SmallBench(
        config=load_config(folder),
        profile="core",
        start=start,
        settle=settle,
        monitoring=load_monitoring(folder / "prometheus.yml", folder / "alertmanager.yml"),
        unsound={},
        run_dir=folder,
        timeline=Timeline(folder / "timeline.jsonl"),
        tell=told.append,
    )
    bench.stacks, bench.told, bench.on_load = stacks, told, lambda _: None
    with bench:
        yield bench


@dataclass(frozen=True)
class Stumble(Fault):
    """Bites where ``bites`` says so, and every look finds that one more request has met it; heals
    without a trace."""

    layer = "planted"
    bites: bool = True
    _met: Iterator[int] = field(default_factory=itertools.count, compare=False, repr=False)

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    def inject(self, stack: Any) -> None:
        """It is enough to say so."""

    def is_effective(self, stack: Any) -> Evidence:
        return Evidence(self.bites, "planted")

    def heal(self, stack: Any) -> None:
        """There is nothing to undo."""

    def is_healed(self, stack: Any) -> Evidence:
        return Evidence(True, "planted")

    def exposure(self, stack: Any) -> Exposure:
        return Exposure(next(self._met), "requests")


def drill_of(fault: Fault) -> Drill:
    return Drill("planted", fault=fault, load=LOAD)
