"""What the proxies that carry the faults cost while there is no fault.

One client on the host asks the same question by each path, one request at a time over a kept
connection; the paths take turns in blocks, so that whatever else the machine does meets them all.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import httpx
import psycopg

from alertdrill.load.window import Latency
from alertdrill.stack.component import StackSpec
from alertdrill.stack.run import Stack
from benchmarks.report import Detail, Figure, Report, parser, present
from benchmarks.setting import prepare, project

ROUNDS = 5
BLOCK = 200
TIMEOUT_S = 5.0
PUBLISHED = {"toxiproxy": {"github": 8081, "sql": 5432}, "http-faults": {"github": 8081}}
NEEDED = ("github", "ai-studio", "postgres", "redis", "toxiproxy", "http-faults")
DIRECT = "direct"

Ask = Callable[[], None]


def with_ports(spec: StackSpec, more: Mapping[str, Mapping[str, int]]) -> StackSpec:
    """The same stack with further ports published on loopback."""
    return replace(
        spec,
        components=tuple(
            replace(c, ports={**c.ports, **more.get(c.name, {})}) for c in spec.components
        ),
    )


@contextmanager
def http_paths(stack: Stack) -> Iterator[dict[str, Ask]]:
    """GET of the GitHub stub's rate limit: a small answer that costs the stub little."""
    places = {
        DIRECT: stack.url("github"),
        "http-faults": stack.url("http-faults", "github"),
        "toxiproxy and http-faults": stack.url("toxiproxy", "github"),
    }
    with ExitStack() as clients:

        def path(base: str) -> Ask:
            client = clients.enter_context(httpx.Client(timeout=TIMEOUT_S, trust_env=False))

            def ask() -> None:
                client.get(f"{base}/rate_limit").raise_for_status()

            return ask

        yield {name: path(base) for name, base in places.items()}


@contextmanager
def sql_paths(stack: Stack) -> Iterator[dict[str, Ask]]:
    """SELECT 1 at PostgreSQL."""
    places = {
        DIRECT: stack.address("postgres", "sql"),
        "toxiproxy": stack.address("toxiproxy", "sql"),
    }
    with ExitStack() as connections:

        def path(host: str, port: int) -> Ask:
            connection = connections.enter_context(
                psycopg.connect(
                    host=host,
                    port=port,
                    user="hub",
                    password=stack.secrets["postgres_password"],
                    dbname="hub",
                    connect_timeout=int(TIMEOUT_S),
                    options=f"-c statement_timeout={TIMEOUT_S:.0f}s",
                    autocommit=True,
                )
            )

            def ask() -> None:
                connection.execute("SELECT 1").fetchone()

            return ask

        yield {name: path(host, port) for name, (host, port) in places.items()}


def by_turns(paths: Mapping[str, Ask]) -> dict[str, Latency]:
    """Milliseconds of one question by each path; a first block is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in paths}
    for number in range(ROUNDS + 1):
        for name, ask in paths.items():
            for _ in range(BLOCK):
                begun = time.perf_counter()
                ask()
                if number > 0:
                    taken[name].append((time.perf_counter() - begun) * 1000)
    found = {name: Latency.of(ms) for name, ms in taken.items()}
    return {name: latency for name, latency in found.items() if latency is not None}


def measure() -> Report:
    config = project()
    spec = with_ports(config.load_stack(), PUBLISHED)
    core = spec.profiles["core"]
    without = tuple(name for name in core if name not in NEEDED)
    with (
        prepare(config, spec=spec, without=without) as setting,
        setting.progress.task("proxies") as task,
        setting.stack() as stack,
    ):
        task.update("HTTP")
        with http_paths(stack) as paths:
            http = by_turns(paths)
        task.update("SQL")
        with sql_paths(stack) as paths:
            sql = by_turns(paths)
    return Report(
        "The proxies without a fault",
        setting.machine,
        (
            *_costs("HTTP by both proxies", http, "toxiproxy and http-faults"),
            *_costs("SQL by toxiproxy", sql, "toxiproxy"),
        ),
        (
            _detail("GET /rate_limit at the GitHub stub", http),
            _detail("SELECT 1 at PostgreSQL", sql),
        ),
    )


def _costs(what: str, seen: Mapping[str, Latency], path: str) -> Iterator[Figure]:
    with_, without = seen[path], seen[DIRECT]
    yield Figure(f"{what}, p50", with_.p50 - without.p50, "ms more")
    yield Figure(f"{what}, p99", with_.p99 - without.p99, "ms more")


def _detail(what: str, seen: Mapping[str, Latency]) -> Detail:
    return Detail(
        f"{what}, {ROUNDS * BLOCK} times by each path",
        ("path", "p50, ms", "p95, ms", "p99, ms"),
        [
            (name, f"{latency.p50:.2f}", f"{latency.p95:.2f}", f"{latency.p99:.2f}")
            for name, latency in seen.items()
        ],
    )


if __name__ == "__main__":
    sys.exit(present(measure, parser(__doc__).parse_args().json))
