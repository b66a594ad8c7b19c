"""Does the gate tell the truth? Each planted defect must be caught, with the right reason.

Each has a clean twin: the same drill on the same bench with nothing planted passes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

import httpx
import pytest
from docker.errors import DockerException

from alertdrill.bench import Bench
from alertdrill.drill import Drill, DrillResult
from alertdrill.errors import StackError
from alertdrill.experiment import run_drill as run_one
from alertdrill.faults.container import Kill
from alertdrill.faults.contract import Target
from alertdrill.faults.deploy import BadConfiguration
from alertdrill.faults.http import HttpStatus, http_faults
from alertdrill.faults.network import Refuse
from alertdrill.load.plan import Load
from alertdrill.load.session import LoadSession
from alertdrill.verdict import Reason, Verdict
from chaos.test_drills import DRILLS
from loadtests import api_only, sync_and_api
from tests.gate.conftest import Laboratory, undisturbed
from tests.gate.edits import Edit, added, as_the_guide_writes_it, removed, replaced, rule

pytestmark = pytest.mark.docker

BY_TITLE = {drill.title: drill for drill in DRILLS}
CONTROL = BY_TITLE["no fault"]
KILLED = BY_TITLE["the hub is killed"]
SLOW_API = BY_TITLE["AI Studio API is slow"]
HALF_5XX = BY_TITLE["GitHub API answers 5xx to half the requests"]
REFUSED = BY_TITLE["PostgreSQL refuses connections"]
WRONG_RELEASE = BY_TITLE["a release that answers wrongly"]
HUB_HANGS = BY_TITLE["the hub hangs again and again"]
PROMETHEUS_HANGS = BY_TITLE["Prometheus hangs"]
SLOW_DATABASE = BY_TITLE["PostgreSQL is slow until the pool is full"]

# One sync in 36 fails: less than 3 %, well below the 5 % that the alert is about.
FEW_ERRORS = Drill(
    "a few syncs fail",
    fault=HttpStatus("github", status=403, every=108),
    load=sync_and_api(sync_rps=12, api_rps=5),
    stays_quiet={"HighErrorRate"},
)


def _relabelled(alert: str) -> Edit:
    """The alert says "ai-studio" where it was "github"."""

    def expression(old: str) -> str:
        return f'label_replace({old.strip()}, "upstream", "ai-studio", "upstream", "github")'

    return rule(alert, expr=expression)


@dataclass(frozen=True)
class Defect:
    """What is planted in the monitoring, the drill that must notice, and what it must say."""

    name: str
    drill: Drill
    edits: tuple[Edit, ...]
    reason: Reason

    def __str__(self) -> str:
        return self.name


DEFECTS = [
    # --- the guide's four rules, word for word ---
    Defect(
        "guide: errors per second compared with a ratio",
        FEW_ERRORS,
        (as_the_guide_writes_it("HighErrorRate"),),
        Reason.UNEXPECTED_ALERT,
    ),
    Defect(
        "guide: a quantile of raw buckets",
        SLOW_API,
        (as_the_guide_writes_it("SyncLatencyHigh"),),
        Reason.ALERT_DID_NOT_FIRE,
    ),
    Defect(
        "guide: the pool's size instead of its use",
        SLOW_DATABASE,
        (as_the_guide_writes_it("DatabaseConnectionPoolExhausted"),),
        Reason.ALERT_DID_NOT_FIRE,
    ),
    Defect(
        "guide: no severity, so the wrong people are told",
        replace(KILLED, inhibited=frozenset(), may_fire=frozenset({"NoSuccessfulSyncs"})),
        (as_the_guide_writes_it("APIUnavailable"),),
        Reason.WRONG_RECEIVER,
    ),
    # --- the way to the receiver ---
    Defect(
        "the receiver's address doesn't exist",
        REFUSED,
        (replaced("alertmanager.yml", "receiver:8080/notify/oncall", "pager.invalid:8080/x"),),
        Reason.ALERT_NOT_NOTIFIED,
    ),
    Defect(
        "a wrong route",
        REFUSED,
        (replaced("alertmanager.yml", 'severity="critical"', 'severity="page"'),),
        Reason.WRONG_RECEIVER,
    ),
    Defect(
        "a wrong severity",
        REFUSED,
        (rule("HighErrorRate", labels={"severity": "warning", "symptom": "api"}),),
        Reason.WRONG_RECEIVER,
    ),
    Defect(
        "nobody is told that it is over",
        REFUSED,
        (
            replaced(
                "alertmanager.yml",
                "notify/oncall\n        send_resolved: true",
                "notify/oncall\n        send_resolved: false",
            ),
        ),
        Reason.RESOLVED_NOT_NOTIFIED,
    ),
    Defect(
        "the symptoms are not inhibited",
        KILLED,
        (replaced("alertmanager.yml", 'alertname="APIUnavailable"', 'alertname="ApiDown"'),),
        Reason.NOT_INHIBITED,
    ),
    Defect(
        "an alert that waits far longer than was promised",
        REFUSED,
        (rule("HighErrorRate", **{"for": "30m"}),),
        Reason.PROMISE_NOT_KEPT,
    ),
    Defect(
        "an alert that comes later than it can",
        REFUSED,
        (replaced("alertmanager.yml", "group_wait: 30s", "group_wait: 8m"),),
        Reason.PROMISE_NOT_KEPT,
    ),
    Defect(
        "somebody else is told as well",
        REFUSED,
        (
            replaced(
                "alertmanager.yml",
                "  routes:\n",
                "  routes:\n    - matchers: ['severity=\"critical\"']\n      receiver: team\n"
                "      continue: true\n",
            ),
        ),
        Reason.WRONG_RECEIVER,
    ),
    Defect(
        "the same people are told twice",
        REFUSED,
        (
            replaced(
                "alertmanager.yml",
                "  routes:\n",
                "  routes:\n    - matchers: ['severity=\"critical\"']\n      receiver: oncall\n"
                "      continue: true\n",
            ),
        ),
        Reason.NOTIFICATION_STORM,
    ),
    # Each time that it comes back is news. What is told between is the storm.
    Defect(
        "an alert that comes and goes is told every minute",
        HUB_HANGS,
        (replaced("alertmanager.yml", "repeat_interval: 4h", "repeat_interval: 1m"),),
        Reason.NOTIFICATION_STORM,
    ),
    Defect(
        "a second address of the receiver is dead",
        REFUSED,
        (
            replaced(
                "alertmanager.yml",
                "  - name: oncall\n    webhook_configs:\n",
                "  - name: oncall\n    webhook_configs:\n"
                "      - url: http://pager.invalid:8080/x\n",
            ),
        ),
        Reason.DELIVERY_FAILED,
    ),
    Defect(
        "a warning mutes a critical alert",
        SLOW_DATABASE,
        (
            replaced(
                "alertmanager.yml",
                "inhibit_rules:\n",
                "inhibit_rules:\n"
                "  - source_matchers: ['alertname=\"DatabaseConnectionPoolExhausted\"']\n"
                "    target_matchers: ['alertname=\"HighErrorRate\"']\n",
            ),
        ),
        Reason.UNEXPECTED_INHIBITION,
    ),
    # No drill fires the two together: only what the project says of them can tell.
    Defect(
        "a warning that fires in another drill mutes every page",
        REFUSED,
        (
            replaced(
                "alertmanager.yml",
                "inhibit_rules:\n",
                "inhibit_rules:\n"
                "  - source_matchers: ['alertname=\"TargetMissing\"']\n"
                "    target_matchers: ['severity=\"critical\"']\n",
            ),
        ),
        Reason.UNEXPECTED_INHIBITION,
    ),
    Defect(
        "every rule looks at what was two minutes ago",
        KILLED,
        (replaced("prometheus.yml", "global:\n", "global:\n  rule_query_offset: 2m\n"),),
        Reason.PROMISE_NOT_KEPT,
    ),
    # --- alerts that lie ---
    Defect(
        "an alert that blames the wrong upstream",
        HALF_5XX,
        (_relabelled("UpstreamUnavailable"),),
        Reason.WRONG_LABELS,
    ),
    Defect(
        "an alert that silences itself",
        REFUSED,
        (
            rule(
                "HighErrorRate",
                expr=(
                    '(sum(rate(sync_operations_total{status="error"}[5m])) / '
                    "sum(rate(sync_operations_total[5m])) > 0.05) unless on() "
                    '(ALERTS{alertname="HighErrorRate", alertstate="firing"} offset 4m)'
                ),
            ),
        ),
        Reason.ALERT_DID_NOT_HOLD,
    ),
    Defect(
        "an alert that sleeps at night",
        REFUSED,
        (
            rule(
                "HighErrorRate",
                expr=(
                    '(sum(rate(sync_operations_total{status="error"}[5m])) / '
                    "sum(rate(sync_operations_total[5m])) > 0.05) unless on() (hour() < 0)"
                ),
            ),
        ),
        Reason.NOT_ON_THIS_CLOCK,
    ),
    Defect(
        "an alert that sleeps at night, and a recording rule that knows when",
        REFUSED,
        (
            added({"record": "paging_sleeps", "expr": "hour() < 0"}),
            rule(
                "HighErrorRate",
                expr=(
                    '(sum(rate(sync_operations_total{status="error"}[5m])) / '
                    "sum(rate(sync_operations_total[5m])) > 0.05) unless on() paging_sleeps"
                ),
            ),
        ),
        Reason.NOT_ON_THIS_CLOCK,
    ),
    Defect(
        "an alert that pages whenever the hub starts",
        KILLED,
        (
            added(
                {
                    "alert": "HubRestarted",
                    "expr": (
                        'up{job="bakhmach-app"} == 1 unless '
                        'max_over_time(up{job="bakhmach-app"}[4m] offset 1m) == 1'
                    ),
                    "labels": {"severity": "critical"},
                }
            ),
        ),
        Reason.UNEXPECTED_ALERT,
    ),
    Defect(
        "an alert that fires without a fault",
        CONTROL,
        (added({"alert": "Always", "expr": "vector(1)", "labels": {"severity": "warning"}}),),
        Reason.ALERT_WITHOUT_FAULT,
    ),
    Defect(
        "an alert that fires as soon as there is traffic",
        CONTROL,
        (rule("HighErrorRate", expr="sum(rate(sync_operations_total[5m])) > 0.05"),),
        Reason.ALERT_WITHOUT_FAULT,
    ),
    Defect(
        "an alert that never resolves",
        REFUSED,
        (
            rule(
                "HighErrorRate",
                expr=(
                    '(sum(rate(sync_operations_total{status="error"}[5m])) / '
                    "sum(rate(sync_operations_total[5m])) > 0.05) or on() "
                    'count(ALERTS{alertname="HighErrorRate", alertstate="firing"}) > 0'
                ),
            ),
        ),
        Reason.ALERT_DID_NOT_RESOLVE,
    ),
    # --- the heartbeat ---
    Defect(
        "the heartbeat has no rule",
        CONTROL,
        (removed("Watchdog"),),
        Reason.HEARTBEAT_STOPPED,
    ),
    Defect(
        "the heartbeat is delivered to people",
        CONTROL,
        (replaced("alertmanager.yml", 'alertname="Watchdog"', 'alertname="Heartbeat"'),),
        Reason.HEARTBEAT_STOPPED,
    ),
    Defect(
        "the heartbeat is told once and not again",
        CONTROL,
        (replaced("alertmanager.yml", "repeat_interval: 30s", "repeat_interval: 4h"),),
        Reason.HEARTBEAT_STOPPED,
    ),
    # --- no data ---
    Defect(
        "a scrape job is gone",
        CONTROL,
        (
            replaced(
                "prometheus.yml",
                "  - job_name: node\n    static_configs:\n"
                "      - targets: ['node-exporter:9100']\n",
                "",
            ),
        ),
        Reason.TARGET_DOWN,
    ),
    Defect(
        "Prometheus scrapes the wrong port",
        CONTROL,
        (replaced("prometheus.yml", "hub:8001", "hub:8002"),),
        Reason.TARGET_DOWN,
    ),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=str)
def test_a_defect_in_the_monitoring_is_caught(defect: Defect, laboratory: Laboratory) -> None:
    def run() -> DrillResult:
        with laboratory.broken_by(*defect.edits) as bench:
            return run_one(defect.drill, bench)

    result = undisturbed(run)
    assert (result.verdict, result.reason) == (defect.reason.verdict, defect.reason), (
        result.findings
    )


def test_an_alert_that_is_late_though_nothing_in_its_rule_says_so_is_caught(
    laboratory: Laboratory,
) -> None:
    as_shipped = laboratory.bench.monitoring

    def run() -> DrillResult:
        with laboratory.broken_by(rule("HighErrorRate", **{"for": "30m"})) as bench:
            bench.monitoring = as_shipped  # what deadlines are derived from
            return run_one(REFUSED, bench)

    result = undisturbed(run)
    assert (result.verdict, result.reason) == (Verdict.FAIL, Reason.ALERT_DID_NOT_FIRE)
    assert "HighErrorRate" in result.findings[0].message


TWINS = [
    FEW_ERRORS,
    CONTROL,
    KILLED,
    HUB_HANGS,
    SLOW_API,
    HALF_5XX,
    REFUSED,
    SLOW_DATABASE,
    WRONG_RELEASE,
]


@pytest.mark.parametrize("drill", TWINS, ids=str)
def test_the_clean_twin_passes(drill: Drill, laboratory: Laboratory) -> None:
    result = run_one(drill, laboratory.bench)
    assert result.verdict is Verdict.PASS, result.findings


# --- a dead man's switch that something else keeps quiet ----------------------------------------


@pytest.fixture
def impostor(laboratory: Laboratory) -> Iterator[None]:
    """Heartbeats that don't come through the monitoring."""
    url = laboratory.bench.stack.url("receiver") + "/notify/deadmansswitch"
    stop = threading.Event()

    def beat() -> None:
        with httpx.Client(timeout=5, trust_env=False) as client:
            while not stop.wait(0.5):
                client.post(url, json={"status": "firing", "alerts": []}).raise_for_status()

    thread = threading.Thread(target=beat, name="impostor")
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.usefixtures("impostor")
def test_a_dead_man_s_switch_that_never_fires_is_caught(laboratory: Laboratory) -> None:
    result = run_one(PROMETHEUS_HANGS, laboratory.bench)
    assert (result.verdict, result.reason) == (Verdict.FAIL, Reason.ALERT_DID_NOT_FIRE), (
        result.findings
    )


# --- the experiment itself is sabotaged: nothing is proven, so nothing may pass -----------------


@dataclass(frozen=True)
class NeverApplied(Refuse):
    """Says that it injects, and doesn't."""

    def inject(self, stack: Target) -> None:
        pass


@dataclass(frozen=True)
class GoneTooEarly(Refuse):
    """Heals by itself after ``lasts_s``."""

    lasts_s: float = 3.0

    def inject(self, stack: Target) -> None:
        super().inject(stack)
        threading.Timer(self.lasts_s, super().heal, [stack]).start()


@dataclass(frozen=True)
class HalfApplied(HttpStatus):
    """Meets half of the requests that it says."""

    def inject(self, stack: Target) -> None:
        less = self.config() | {"rate": self.rate / 2}
        http_faults(stack).put(self.identifier, less)


@dataclass(frozen=True)
class HitsTheOther(HttpStatus):
    """Meets the requests to another service than it says."""

    def inject(self, stack: Target) -> None:
        http_faults(stack).put(self.identifier, self.config() | {"service": "ai-studio"})


SABOTAGED = [HalfApplied("github", rate=0.5), HitsTheOther("github", rate=0.5)]


@pytest.mark.parametrize("fault", SABOTAGED, ids=lambda fault: type(fault).__name__)
def test_a_fault_that_is_not_what_it_says_is_unknown(
    fault: HttpStatus, laboratory: Laboratory
) -> None:
    result = run_one(replace(HALF_5XX, fault=fault), laboratory.bench)
    assert (result.verdict, result.reason) == (Verdict.UNKNOWN, Reason.FAULT_NOT_PROVEN)


def test_a_fault_that_was_never_applied_is_unknown(laboratory: Laboratory) -> None:
    result = run_one(
        replace(REFUSED, fault=NeverApplied("postgres", client="hub")), laboratory.bench
    )
    assert (result.verdict, result.reason) == (Verdict.UNKNOWN, Reason.FAULT_NOT_PROVEN)
    assert [f.reason for f in result.findings] == [Reason.FAULT_NOT_PROVEN]


def test_a_fault_that_went_away_before_it_was_healed_is_unknown(laboratory: Laboratory) -> None:
    result = run_one(
        replace(REFUSED, fault=GoneTooEarly("postgres", client="hub")), laboratory.bench
    )
    assert (result.verdict, result.reason) == (Verdict.UNKNOWN, Reason.FAULT_NOT_PROVEN)


def test_a_fault_that_no_traffic_met_is_unknown(laboratory: Laboratory) -> None:
    idle = replace(HALF_5XX, load=api_only(10), clients={}, logs=None)
    result = run_one(idle, laboratory.bench)
    assert (result.verdict, result.reason) == (Verdict.UNKNOWN, Reason.NO_TRAFFIC)


def test_a_release_that_answers_rightly_does_not_pass_for_a_wrong_one(
    laboratory: Laboratory,
) -> None:
    right = BadConfiguration("hub", {"NOBODY_READS": "this"})
    result = run_one(replace(WRONG_RELEASE, fault=right), laboratory.bench)
    assert (result.verdict, result.reason) == (Verdict.UNKNOWN, Reason.NO_TRAFFIC), result.findings


class DyingLoad:
    """The bench's load, whose generator is killed ``after_s`` seconds into the drill."""

    def __init__(self, bench: Bench, after_s: float) -> None:
        self._bench = bench
        self._after_s = after_s
        self.timer: threading.Timer | None = None

    def __call__(self, load: Load, name: str) -> LoadSession:
        session = Bench.load(self._bench, load, name)
        self.timer = threading.Timer(self._after_s, lambda: os.kill(session.pid, signal.SIGKILL))
        self.timer.start()
        return session


@pytest.fixture
def dying_load(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> Iterator[DyingLoad]:
    dying = DyingLoad(laboratory.bench, after_s=12.0)
    monkeypatch.setattr(laboratory.bench, "load", dying)
    yield dying
    assert dying.timer is not None
    dying.timer.cancel()


@pytest.mark.usefixtures("dying_load")
def test_a_load_that_died_is_unknown(laboratory: Laboratory) -> None:
    result: DrillResult = run_one(CONTROL, laboratory.bench)
    assert (result.verdict, result.reason) == (Verdict.UNKNOWN, Reason.LOAD_INVALID)


# --- a machine that is too slow for the clock ---------------------------------------------------


class Squeezed:
    """The bench's load; ``after_s`` seconds after it first begins, the hub has hardly any
    processor for ``lasts_s`` seconds."""

    def __init__(self, bench: Bench, after_s: float, lasts_s: float) -> None:
        self._bench = bench
        self._timers = [
            threading.Timer(after_s, self.allow, [2_000]),
            threading.Timer(after_s + lasts_s, self.allow, [-1]),
        ]

    def __call__(self, load: Load, name: str) -> LoadSession:
        if not any(timer.ident for timer in self._timers):
            for timer in self._timers:
                timer.start()
        return Bench.load(self._bench, load, name)

    def allow(self, quota_us: int) -> None:
        """``quota_us`` of each 100,000 µs; -1 lifts the limit."""
        stack = self._bench.stack
        # One that a drill left squeezed is being replaced.
        with contextlib.suppress(StackError, DockerException):
            stack.container("hub").update(cpu_period=100_000, cpu_quota=quota_us)

    def release(self) -> None:
        for timer in self._timers:
            timer.cancel()
            if timer.ident:
                timer.join()
        self.allow(-1)
        self._bench.stack.wait_ready("hub")


@pytest.fixture
def squeezed(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Squeezed]:
    squeezed = Squeezed(laboratory.bench, after_s=10.0, lasts_s=10.0)
    monkeypatch.setattr(laboratory.bench, "load", squeezed)
    yield squeezed
    squeezed.release()


@pytest.fixture
def no_repeats(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    config = laboratory.bench.config
    gate = config.gate.model_copy(update={"repeats": 0})
    monkeypatch.setattr(laboratory.bench, "config", config.model_copy(update={"gate": gate}))


@pytest.mark.usefixtures("squeezed", "no_repeats")
def test_alerts_of_a_starved_hub_are_unknown(laboratory: Laboratory) -> None:
    result = run_one(CONTROL, laboratory.bench)
    assert (result.verdict, result.reason) == (Verdict.UNKNOWN, Reason.MACHINE_TOO_SLOW), (
        result.findings
    )
    assert "APIUnavailable" in result.findings[0].message


@pytest.mark.usefixtures("squeezed")
def test_a_drill_that_the_machine_was_too_slow_for_is_repeated(laboratory: Laboratory) -> None:
    result = run_one(CONTROL, laboratory.bench)
    assert result.verdict is Verdict.PASS, result.findings
    # The first attempt may have ended before the hub had its processor back.
    reasons = {f.reason for f in result.set_aside}
    assert {Reason.MACHINE_TOO_SLOW} <= reasons <= {Reason.MACHINE_TOO_SLOW, Reason.STACK_BROKEN}


class KillsTheHub:
    """The bench's load; ``after_s`` seconds after it begins, somebody kills the hub."""

    def __init__(self, bench: Bench, after_s: float) -> None:
        self._bench = bench
        self._timer = threading.Timer(after_s, Kill("hub").inject, [bench.stack])

    def __call__(self, load: Load, name: str) -> LoadSession:
        if not self._timer.ident:
            self._timer.start()
        return Bench.load(self._bench, load, name)

    def revive(self) -> None:
        self._timer.cancel()
        self._timer.join()
        Kill("hub").heal(self._bench.stack)
        self._bench.stack.wait_ready("hub")


def test_alerts_of_a_dead_hub_are_no_slowness(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> DrillResult:
        laboratory.mend()
        killer = KillsTheHub(laboratory.bench, after_s=10.0)
        monkeypatch.setattr(laboratory.bench, "load", killer)
        try:
            return run_one(CONTROL, laboratory.bench)
        finally:
            killer.revive()

    result = undisturbed(run)
    assert result.verdict is Verdict.FAIL
    assert Reason.ALERT_WITHOUT_FAULT in {f.reason for f in result.findings}
