"""The alerts over invented series, judged by Prometheus' own engine (promtool), uncompressed.

Each case says what the shipped alerts must do and what the guide's do on the same series, so
that a correction is proven by a situation in which the two differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from alertdrill.assemble import resolve_images
from alertdrill.config import load_config
from alertdrill.rules.compress import compress
from alertdrill.rules.model import load_monitoring
from alertdrill.stack.engine import connect
from alertdrill.stack.progress import Progress

Series = dict[str, str]


def up(values: str = "1x80") -> Series:
    return {'up{job="bakhmach-app", instance="hub:8001"}': values}


def syncs(success: str, error: str) -> Series:
    """Values per 15 s: ``0+90x80`` are 80 scrapes of a counter that grows by 90, 6 a second."""
    name = 'sync_operations_total{job="bakhmach-app", source="github", status="%s"}'
    return {name % "success": success, name % "error": error}


def durations(within_5_s: str, within_10_s: str) -> Series:
    name = 'sync_duration_seconds_bucket{job="bakhmach-app", source="github", le="%s"}'
    return {
        name % "2": within_5_s,
        name % "5": within_5_s,
        name % "10": within_10_s,
        name % "+Inf": within_10_s,
    }


def pool(in_use: str, limit: str = "20x80") -> Series:
    """The pool's size, which the guide watches, is its limit: all connections stay open."""
    names = ("in_use", "limit", "size")
    labels = '{job="bakhmach-app", instance="hub:8001"}'
    return {
        f"db_connection_pool_{name}{labels}": values
        for name, values in zip(names, (in_use, limit, limit), strict=True)
    }


def github(success: str, other: str, outcome: str = "server_error") -> Series:
    name = 'upstream_requests_total{job="bakhmach-app", upstream="github", outcome="%s"}'
    return {name % "success": success, name % outcome: other}


HEALTHY = up() | syncs("0+90x80", "0x80")


@dataclass(frozen=True)
class Case:
    """Which alerts fire ``at`` (since the first scrape), the shipped ones and the guide's."""

    name: str
    series: Series
    at: str
    shipped: frozenset[str] = frozenset()
    guide: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return self.name


def case(name: str, series: Series, at: str, shipped: str = "", guide: str = "") -> Case:
    return Case(name, series, at, frozenset(shipped.split()), frozenset(guide.split()))


CASES = [
    case(
        "healthy: 6 syncs/s, none fails, all are fast",
        HEALTHY | durations("0+90x80", "0+90x80") | pool("4x80") | github("0+450x80", "0x80"),
        "18m",
    ),
    case(
        "idle, after better and worse times",
        up()
        | syncs("500x80", "70x80")
        | durations("90x80", "570x80")
        | pool("0x80")
        | github("900x80", "900x80"),
        "18m",
    ),
    # HighErrorRate
    case(
        "a tenth of the syncs fails",
        up() | syncs("0+81x80", "0+9x80"),
        "11m",
        "HighErrorRate",
        "HighErrorRate",
    ),
    case("a tenth fails, not for long enough", up() | syncs("0+81x80", "0x20 0+9x60"), "9m"),
    case(
        "2 % of many syncs fail: 0.12 errors/s",
        up() | syncs("0+88x80", "0+2x80"),
        "18m",
        guide="HighErrorRate",
    ),
    case(
        "a sixth of few syncs fails: 0.03 errors/s",
        up() | syncs("0+2x80", "0 0 1 1 1 1 2 2 3 3 3 4 4 5 5 5 5 6+0.4x63"),
        "15m",
        "HighErrorRate",
    ),
    # SyncLatencyHigh
    case(
        "nearly all syncs take longer than 5 s",
        HEALTHY | durations("0+2x80", "0+90x80"),
        "16m",
        "SyncLatencyHigh",
    ),
    case("the same, not yet for 10 min", HEALTHY | durations("0+2x80", "0+90x80"), "9m"),
    # DatabaseConnectionPoolExhausted
    case(
        "every connection of the pool is in use",
        HEALTHY | pool("20x80"),
        "7m",
        "DatabaseConnectionPoolExhausted",
    ),
    case(
        "the same; single scrapes are lost or meet a free connection",
        HEALTHY | pool("20x10 _ 20x7 18 20x5 _ 20x50", "20x10 _ 20x7 20 20x5 _ 20x50"),
        "7m",
        "DatabaseConnectionPoolExhausted",
    ),
    case("full for a minute", HEALTHY | pool("4x20 20x4 4x54"), "7m"),
    case(
        "a pool of 100 hardly used",
        HEALTHY | pool("3x80", "100x80"),
        "7m",
        guide="DatabaseConnectionPoolExhausted",
    ),
    # NoSuccessfulSyncs and APIUnavailable
    case(
        "no sync succeeds",
        up() | syncs("100x80", "0+90x80"),
        "12m",
        "HighErrorRate NoSuccessfulSyncs",
        "HighErrorRate",
    ),
    case("the sync counters are gone, the hub is not", up(), "7m", "NoSuccessfulSyncs"),
    case(
        "killed at 5 min: its series end",
        up("1x20 0x60") | syncs("0+90x20 stale", "0x20 stale"),
        "13m",
        "APIUnavailable NoSuccessfulSyncs",
        "APIUnavailable",
    ),
    case(
        "killed: before its symptoms do, APIUnavailable fires",
        up("1x20 0x60") | syncs("0+90x20 stale", "0x20 stale"),
        "8m",
        "APIUnavailable",
        "APIUnavailable",
    ),
    case(
        "no target any more",
        {'up{job="node", instance="node-exporter:9100"}': "1x80"},
        "7m",
        "APIUnavailable NoSuccessfulSyncs",
    ),
    case(
        "restarted within a minute, counters from zero",
        up("1x20 0x3 1x56") | syncs("0+90x20 stale _x3 0+90x56", "0x20 stale _x3 0x56"),
        "8m",
    ),
    # UpstreamUnavailable
    case(
        "half of the requests to GitHub fail",
        HEALTHY | github("0+50x80", "0+50x80"),
        "11m",
        "UpstreamUnavailable",
    ),
    case(
        "GitHub limits the rate",
        HEALTHY | github("0+50x80", "0+50x80", "rate_limited"),
        "11m",
        "UpstreamUnavailable",
    ),
    case(
        "GitHub says that nothing has changed",
        HEALTHY | github("0+50x80", "0+50x80", "not_modified"),
        "11m",
    ),
]


def document(rules: str, fires: Callable[[Case], frozenset[str]]) -> str:
    """A test file for promtool; JSON is YAML too."""
    query = 'count by (alertname) (ALERTS{alertstate="firing",alertname!="Watchdog"})'
    return json.dumps(
        {
            "rule_files": [rules],
            "evaluation_interval": "30s",
            "tests": [
                {
                    "name": case.name,
                    "interval": "15s",
                    "input_series": [
                        {"series": name, "values": values} for name, values in case.series.items()
                    ],
                    "promql_expr_test": [
                        {
                            "expr": query,
                            "eval_time": case.at,
                            "exp_samples": [
                                {"labels": f'{{alertname="{name}"}}', "value": 1}
                                for name in sorted(fires(case))
                            ],
                        }
                    ],
                }
                for case in CASES
            ],
        }
    )


Promtool = Callable[..., str]


@pytest.fixture(scope="session")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> Promtool:
    """Run promtool on text files, given by name; returns what it printed, right or wrong."""
    root = Path(__file__).parents[2]
    config = load_config(root)
    image = resolve_images(config, config.load_stack(), ("prometheus",), Progress())["prometheus"]
    client = connect()

    def run(*arguments: str, **files: str) -> str:
        folder = tmp_path_factory.mktemp("promtool")
        folder.chmod(0o755)
        for name, text in files.items():
            (folder / f"{name}.yml").write_text(text)
        container = client.containers.create(
            image.reference,
            entrypoint=["promtool", *arguments],
            network_disabled=True,
            volumes={str(folder): {"bind": "/files", "mode": "ro"}},
            working_dir="/files",
        )
        try:
            container.start()
            container.wait(timeout=60)
            return str(container.logs(stdout=True, stderr=False).decode())
        finally:
            container.remove(force=True)

    return run


def failures(report: str) -> dict[str, str]:
    """What a JUnit report says of each case: nothing when it passed."""
    tree = ElementTree.fromstring(report[report.index("<testsuites") :])
    return {
        item.attrib["name"]: "\n".join(failure.text or "" for failure in item.iter("failure"))
        for item in tree.iter("testcase")
    }


@pytest.fixture(scope="session")
def shipped_results(promtool: Promtool) -> dict[str, str]:
    alerts = (Path(__file__).parents[2] / "monitoring" / "alerts.yml").read_text()
    tests = document("alerts.yml", lambda case: case.shipped)
    report = promtool("test", "rules", "--junit=/dev/stdout", "t.yml", alerts=alerts, t=tests)
    return failures(report)


@pytest.fixture(scope="session")
def guide_results(promtool: Promtool) -> dict[str, str]:
    alerts = (Path(__file__).parents[1] / "data" / "guide" / "alerts.yml").read_text()
    tests = document("alerts.yml", lambda case: case.guide)
    report = promtool("test", "rules", "--junit=/dev/stdout", "t.yml", alerts=alerts, t=tests)
    return failures(report)


@pytest.mark.docker
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_shipped_alerts_tell_the_truth(case, shipped_results):
    assert shipped_results[case.name] == ""


@pytest.mark.docker
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_guide_s_alerts_do_what_the_corrections_say(case, guide_results):
    assert guide_results[case.name] == ""


@pytest.mark.docker
def test_a_wrong_expectation_is_reported(promtool):
    """The clean twin of all the above: what promtool says is really read."""
    alerts = (Path(__file__).parents[2] / "monitoring" / "alerts.yml").read_text()
    tests = document("alerts.yml", lambda case: frozenset({"SyncLatencyHigh"}))
    report = promtool("test", "rules", "--junit=/dev/stdout", "t.yml", alerts=alerts, t=tests)
    wrong = {name for name, words in failures(report).items() if words}
    assert wrong == {case.name for case in CASES if case.shipped != {"SyncLatencyHigh"}}


@pytest.mark.docker
@pytest.mark.parametrize("factor", [1, 60])
def test_prometheus_accepts_what_ships_and_its_compression(promtool, factor, project):
    folder = project / "monitoring"
    texts = compress(folder / "prometheus.yml", folder / "alertmanager.yml", factor).texts
    # promtool looks for the rules where the configuration says that they are.
    config = texts["prometheus.yml"].replace("/etc/prometheus/", "/files/")
    said = promtool("check", "config", "--lint=all", "c.yml", c=config, alerts=texts["alerts.yml"])
    assert "SUCCESS: c.yml is valid" in said
    shipped = load_monitoring(folder / "prometheus.yml", folder / "alertmanager.yml").alerts
    assert f"SUCCESS: {len(shipped)} rules found" in said
