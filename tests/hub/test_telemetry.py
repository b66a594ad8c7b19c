"""The hub's metrics, logs, spans and health say what happened."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import generate_latest

from hub import logs
from hub.app import Transports
from hub.health import Health
from hub.metrics import ROUTES
from tests.hub.conftest import Made, Make

SYNC = "/api/v1/sync/bidirectional"
GITHUB_TO_AI = {"source": "github", "target": "ai-studio"}

# The guide's names, each with its labels.
FROM_THE_START: list[tuple[str, dict[str, str]]] = [
    *(
        ("sync_operations_total", {"source": source, "target": target, "status": status})
        for source, target in (("github", "ai-studio"), ("ai-studio", "github"))
        for status in ("success", "error")
    ),
    *(
        ("sync_duration_seconds_bucket", {**GITHUB_TO_AI, "le": le})
        for le in ("0.1", "0.2", "0.5", "1.0", "2.0", "5.0", "10.0", "+Inf")
    ),
    ("active_syncs", {"source": "github"}),
    *(
        ("http_requests_total", {"method": method, "endpoint": endpoint, "status": str(status)})
        for (method, endpoint), statuses in ROUTES.items()
        for status in statuses
    ),
    *(
        (
            "http_request_duration_seconds_bucket",
            {"method": "GET", "endpoint": "/api/v1/items", "le": le},
        )
        for le in ("0.01", "0.05", "0.1", "0.2", "0.5", "1.0", "+Inf")
    ),
    ("db_operations_total", {"operation": "insert", "table": "items", "status": "error"}),
    ("db_connection_pool_size", {}),
    ("db_connection_pool_in_use", {}),
    ("db_connection_pool_limit", {}),
    ("db_query_duration_seconds_count", {"operation": "connect"}),
    ("db_slow_queries_total", {}),
    ("sync_conflicts_detected_total", {}),
    ("sync_conflicts_resolved_total", {"policy": "ai_studio_wins"}),
    ("sync_conflicts_won_total", {"winner": "github"}),
    ("webhook_deliveries_total", {"outcome": "failed"}),
    ("webhook_retries_total", {}),
    ("upstream_requests_total", {"upstream": "github", "outcome": "server_error"}),
    ("upstream_request_duration_seconds_count", {"upstream": "ai-studio"}),
    ("upstream_available", {"upstream": "ai-studio"}),
    ("upstream_retries_total", {"upstream": "github"}),
]


def test_every_label_set_exists_before_the_first_request(hub: Made) -> None:
    missing = [
        (name, labels)
        for name, labels in FROM_THE_START
        if hub.metrics.registry.get_sample_value(name, labels) is None
    ]
    assert missing == []


def test_every_route_is_in_the_table_of_routes(hub: Made) -> None:
    routes = {
        (method, rule.rule)
        for rule in hub.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint != "static"
    }
    assert routes == set(ROUTES)


def test_the_exposition_stays_small(hub: Made) -> None:
    assert len(generate_latest(hub.metrics.registry).splitlines()) < 1500


def test_endpoints_are_route_templates(hub: Made) -> None:
    hub.client.get("/api/v1/items/17")
    labels = {"method": "GET", "endpoint": "/api/v1/items/<item_id>"}
    assert hub.value("http_requests_total", **labels, status="503") == 1
    assert hub.value("http_request_duration_seconds_count", **labels) == 1


def syncs(hub: Made) -> tuple[float, float, float]:
    """Successes, errors, observed durations."""
    return (
        hub.value("sync_operations_total", **GITHUB_TO_AI, status="success"),
        hub.value("sync_operations_total", **GITHUB_TO_AI, status="error"),
        hub.value("sync_duration_seconds_count", **GITHUB_TO_AI),
    )


def test_a_sync_that_fails_is_counted_once_and_a_bad_request_never(hub: Made) -> None:
    assert hub.client.post(SYNC, json={"policy": "coin"}).status_code == 400
    assert syncs(hub) == (0, 0, 0)
    assert hub.client.post(SYNC).status_code == 503
    assert syncs(hub) == (0, 1, 1)
    assert hub.value("active_syncs", source="github") == 0
    connect = {"operation": "connect", "table": "none", "status": "error"}
    assert hub.value("db_operations_total", **connect) >= 1


def test_an_upstream_that_fails_is_a_502(make_hub: Make, stubs: Transports) -> None:
    broken = httpx.MockTransport(lambda _: httpx.Response(500))
    hub = make_hub(Transports(github=broken, ai_studio=stubs.ai_studio))
    response = hub.client.post(SYNC)
    assert (response.status_code, response.get_json()["upstream"]) == (502, "github")
    assert syncs(hub) == (0, 1, 1)
    assert hub.value("upstream_available", upstream="github") == 0
    assert hub.value("upstream_available", upstream="ai-studio") == 1


def log_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_logs_carry_the_active_span_and_not_a_header(make_hub: Make, tmp_path: Path) -> None:
    file = tmp_path / "hub.log"
    hub = make_hub(log_file=str(file))
    response = hub.client.post(SYNC, headers={"X-Trace-Id": "forged"})
    trace_id = response.headers["X-Trace-Id"]
    lines = {line["message"]: line for line in log_lines(file) if line.get("trace_id") == trace_id}
    failed = lines["sync_failed"]
    spans = {span.name: span for span in hub.spans.get_finished_spans()}
    span = spans["sync_operation"]
    assert failed["trace.id"] == trace_id == f"{span.context.trace_id:032x}"
    assert failed["span.id"] == f"{span.context.span_id:016x}"
    assert failed["log.level"] == "ERROR"
    assert failed["service.name"] == "hub"
    assert failed["@timestamp"].endswith("+00:00")
    assert (failed["source"], failed["target"]) == ("github", "ai-studio")
    assert lines["sync_started"]["log.level"] == "INFO"
    assert lines["http_request"]["http.response.status_code"] == 503


def test_a_full_disk_costs_log_lines_and_no_request(make_hub: Make, tmp_path: Path) -> None:
    def counted(file: str) -> tuple[float, float]:
        hub = make_hub(log_file=file)
        assert hub.client.get("/nowhere").status_code == 404
        return hub.value("log_records_written_total"), hub.value("log_records_lost_total")

    written, lost = counted(str(tmp_path / "hub.log"))
    assert 0 < written <= len(log_lines(tmp_path / "hub.log"))  # it goes on writing
    assert lost == 0
    written, lost = counted("/dev/full")
    assert written == 0
    assert lost > 0


# Its file may grow by 20 bytes only, which is as a full disk does it: a part of a line, then none.
_HALF = """
import logging, resource, sys
from pathlib import Path
from hub import logs
file, lost = Path(sys.argv[1]), []
logger = logs.configure("hub", "INFO", str(file), lost=lambda: lost.append(1))
logger.info("before")
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 20, hard))
logger.info("half")
logger.info("none")
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
logger.info("after")
print(len(lost), file=sys.stderr)
"""


def test_a_line_that_fits_by_half_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "hub.log"
    done = subprocess.run(
        [sys.executable, "-c", _HALF, str(file)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    first, torn, *rest = file.read_text().splitlines()
    assert json.loads(first)["message"] == "before"
    assert len(torn) == 20
    assert [json.loads(line)["message"] for line in rest] == ["after"]
    assert done.stdout.count("log_file_not_written") == 1
    assert done.stderr.strip() == "3", "two, and that it is so"


def test_a_log_file_begins_anew_before_it_fills_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", 1_000)
    file, lost = tmp_path / "hub.log", list[None]()
    logger = logs.configure("hub", "INFO", str(file), lost=lambda: lost.append(None))
    for number in range(40):
        logger.info("line %d", number)
    before = file.with_name("hub.log.1")
    numbers = [int(line["message"].split()[1]) for line in log_lines(before) + log_lines(file)]
    assert numbers == list(range(numbers[0], 40))
    assert file.stat().st_size <= before.stat().st_size < 1_500
    assert not lost
    logs.configure("hub", "INFO")


def test_the_hubs_clock_is_told(hub: Made) -> None:
    before = time.time()
    told = hub.value("app_time_seconds")
    assert told is not None
    assert before <= told <= time.time()


def test_spans_say_who_is_to_blame(hub: Made) -> None:
    hub.client.post(SYNC)
    spans = hub.spans.get_finished_spans()
    status = {span.name: span.status.status_code.name for span in spans}
    assert status["db.write_sync"] == "ERROR"
    assert status["sync_operation"] == "ERROR"
    # Three pages of GitHub and two of AI Studio, all in the trace of the request.
    (root,) = [span for span in spans if span.name == f"POST {SYNC}"]
    calls = [
        span
        for span in spans
        if span.name == "GET" and span.context.trace_id == root.context.trace_id
    ]
    assert len(calls) == 5


def test_health_says_which_neighbour_is_missing(hub: Made) -> None:
    response = hub.client.get("/health")
    document = response.get_json()
    assert (response.status_code, document["status"]) == (503, "degraded")
    assert document["checks"] == {
        "database": False,
        "redis": False,
        "github_api": True,
        "ai_studio_api": True,
    }


def test_health_waits_a_second_and_no_longer_and_piles_up_no_threads() -> None:
    release = threading.Event()
    calls: list[int] = []

    def hang() -> bool:
        calls.append(1)
        return release.wait(10)

    health = Health({"hangs": hang, "hangs_too": hang, "fine": lambda: True})
    took, seen = [], []
    for _ in range(3):
        started = time.monotonic()
        document, healthy = health.report()
        took.append(time.monotonic() - started)
        seen.append(document["checks"])
        assert not healthy
    assert min(took) < 1.9, "one after the other they would take two seconds"
    assert {"hangs": False, "hangs_too": False, "fine": True} in seen[1:]
    assert len(calls) == 2
    release.set()
    health.close()
