"""Reading raw samples from a Prometheus, here one that says exactly what it is told to."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from alertdrill.errors import SignalError
from alertdrill.rules.project import prometheus as find_prometheus
from alertdrill.signals.metrics import Metrics
from alertdrill.signals.recording import record
from alertdrill.stack.ports import PortPicker
from alertdrill.wait import eventually
from tests.signals.fake_prometheus import Fake, serving, ticks


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def url(fake: Fake) -> Iterator[str]:
    with serving(fake) as address:
        yield address


def test_samples_come_as_they_were_stored(fake, url):
    fake.add("up", ticks("1 1 0 1"), job="app", instance="app:80")
    fake.add("x_total", ticks("5 7 +Inf NaN"), job="app", instance="app:80")
    fake.types = {"x_total": "counter"}
    recording = record(url, 999.9, 1000.75)
    by_name = {row.labels["__name__"]: row for row in recording.series}
    assert by_name["up"].values.tolist() == [1, 1, 0, 1]
    assert by_name["up"].times_s.tolist() == [1000.0, 1000.25, 1000.5, 1000.75]
    assert by_name["x_total"].values.tolist()[:3] == [5, 7, float("inf")]
    assert recording.types == {"x_total": "counter"}


def test_only_the_stretch_is_read(fake, url):
    fake.add("up", ticks("1 0 1 0 1"), job="app", instance="app:80")
    (row,) = record(url, 1000.1, 1000.6).series
    assert row.times_s.tolist() == [1000.25, 1000.5]


def test_every_job_is_asked_for_on_its_own(fake, url):
    for job in ("app", 'a "quoted" \\ job', "приклад"):
        fake.add("up", ticks("1"), job=job, instance="app:80")
    fake.add("pushed", ticks("1"))
    names = {row.labels.get("job", "") for row in record(url, 999, 1001).series}
    assert names == {"", "app", 'a "quoted" \\ job', "приклад"}
    assert len(fake.queries) == 4


def test_what_rules_made_is_left_out(fake, url):
    fake.add("up", ticks("1"), job="app")
    fake.add("ALERTS", ticks("1"), job="app", alertname="A", alertstate="firing")
    fake.add("ALERTS_FOR_STATE", ticks("1"), job="app", alertname="A")
    fake.add("job:errors:rate5m", ticks("1"), job="app")
    fake.add("ALERTS_sent_total", ticks("1"), job="app")
    fake.recorded = ["job:errors:rate5m"]
    names = {row.labels["__name__"] for row in record(url, 999, 1001).series}
    assert names == {"up", "ALERTS_sent_total"}


def test_native_histograms_are_named_not_read(fake, url):
    fake.add("up", ticks("1"), job="app")
    fake.native = ["latency_seconds"]
    assert record(url, 999, 1001).left_out == ("latency_seconds",)


def test_nothing_is_no_recording(fake, url):
    with pytest.raises(SignalError, match="has no sample from"):
        record(url, 999, 1001)


@pytest.mark.parametrize("broken", [{"status": "error", "error": "no"}, ["who?"]])
def test_an_answer_that_is_none(fake, url, broken):
    fake.broken = broken
    with pytest.raises(SignalError, match="not Prometheus'"):
        record(url, 999, 1001)


def test_a_stretch_that_runs_backwards():
    with pytest.raises(SignalError, match="nothing can be recorded"):
        record("http://127.0.0.1:1", 5.0, 5.0)


def test_nobody_answers():
    with pytest.raises(SignalError, match="failed"):
        record("http://127.0.0.1:1", 1.0, 5.0)


# --- a real one --------------------------------------------------------------------------------


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    """A Prometheus that scrapes itself and a target that doesn't answer, twice a second."""
    port = PortPicker().pick()
    record_up = {"record": "job:up:sum", "expr": "sum by (job) (up)"}
    alert = {"alert": "Down", "expr": "up == 0"}
    rules = {"groups": [{"name": "g", "rules": [record_up, alert]}]}
    targets = {"self": f"127.0.0.1:{port}", "dead": "127.0.0.1:9"}
    jobs = [{"job_name": j, "static_configs": [{"targets": [t]}]} for j, t in targets.items()]
    times = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "500ms")
    document = {"global": times, "scrape_configs": jobs, "rule_files": ["rules.yml"]}
    (tmp_path / "rules.yml").write_text(json.dumps(rules))  # JSON is YAML too
    (tmp_path / "prometheus.yml").write_text(json.dumps(document))
    process = subprocess.Popen(
        [
            find_prometheus(),
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
    )
    try:
        address = f"http://127.0.0.1:{port}"

        def is_ready() -> bool:
            try:
                return httpx.get(f"{address}/-/ready", timeout=1, trust_env=False).is_success
            except httpx.HTTPError:
                return False

        eventually(is_ready, timeout_s=30, what="Prometheus")
        yield address
    finally:
        process.kill()
        process.wait(10)


COUNTED = ("up", "prometheus_http_request_duration_seconds_bucket")


def is_whole(recording, metrics, name: str, until_s: float) -> bool:
    """Whether each series of that name has as many samples as PromQL counts."""
    counted = metrics.query(f"count_over_time({name}[8s] @ {until_s:.3f})")
    return {
        tuple(sorted(row.labels.items())): len(row.values)
        for row in recording.series
        if row.labels["__name__"] == name
    } == {tuple(sorted({"__name__": name, **r.labels}.items())): r.value for r in counted}


@pytest.mark.docker
def test_a_real_prometheus_is_read_whole(prometheus):
    """Every sample that PromQL counts is there, and nothing that rules made."""
    metrics = Metrics(prometheus)
    eventually(
        lambda: metrics.query('ALERTS{alertname="Down"}') and metrics.query("job:up:sum"),
        timeout_s=30,
        what="rules to be evaluated",
    )
    eventually(
        lambda: len(metrics.query("count_over_time(up[9s]) > 9")) == 2,
        timeout_s=60,
        what="10 scrapes",
    )
    # Of five stretches, one in which no scrape was written while it was read.
    for _ in range(5):
        until_s = round(metrics.query("vector(1)")[0].at - 1, 3)
        recording = record(prometheus, until_s - 8, until_s)
        names = {row.labels["__name__"] for row in recording.series}
        assert {"up", "scrape_duration_seconds", "prometheus_http_requests_total"} <= names
        assert not {name for name in names if name.startswith(("ALERTS", "job:"))}
        if all(is_whole(recording, metrics, name, until_s) for name in COUNTED):
            break
    else:
        raise AssertionError("never all of it")
    up = {r.labels["job"]: set(r.values) for r in recording.series if r.labels["__name__"] == "up"}
    metrics.close()
    assert up["dead"] == {0.0}
    assert 1.0 in up["self"]
    assert recording.types["prometheus_http_requests_total"] == "counter"
    assert recording.types["prometheus_http_request_duration_seconds"] == "histogram"
