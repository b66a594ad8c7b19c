"""How pytest schedules drills: in which order, on which stack, and with what the gate passes on."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alertdrill.config import load_config
from alertdrill.drill import Drill
from alertdrill.durations import Durations
from alertdrill.faults.container import Pause
from alertdrill.faults.nothing import Nothing
from alertdrill.load.plan import Load
from alertdrill.profiles import Profiles
from alertdrill.pytest_plugin import _turn
from tests.cli.project import ROOT, copy_project, run

# --- the order ----------------------------------------------------------------------------------

LOAD = Load("loadtests.py", {"User": 1.0})


def item(name: str, component: str | None) -> Any:
    """A test of one drill, which breaks ``component``."""
    fault = Pause(component) if component else Nothing()
    drill = Drill(name, fault=fault, load=LOAD)
    return SimpleNamespace(
        name=name,
        callspec=SimpleNamespace(params={"drill": drill}),
        fixturenames=["drill", "run_drill"],
    )


ITEMS = [
    item("short", "hub"),
    item("new", "hub"),
    item("long", "redis"),
    item("logs, short", "elasticsearch"),
    item("logs, long", "logstash"),
    item("logs, new", "elasticsearch"),
    SimpleNamespace(name="no drill", fixturenames=[]),
]
TOOK = {"short": 5.0, "long": 50.0, "logs-short": 6.0, "logs-long": 20.0}


def test_drills_of_larger_profiles_come_first_then_new_ones_then_the_longest() -> None:
    config = load_config(ROOT)
    session = SimpleNamespace(profiles=Profiles(config, config.load_stack()), worker="gw0")
    assert session.profiles.names == ("core", "logging")
    durations = Durations(Path("unread"), TOOK)
    turn = functools.partial(_turn, session, durations)  # type: ignore[arg-type]
    assert [i.name for i in sorted(ITEMS, key=turn)] == [
        *("logs, new", "logs, long", "logs, short"),
        *("new", "long", "short"),
        "no drill",
    ]
    session.worker = ""  # one stack: as they stand in the table
    assert [i.name for i in sorted(ITEMS, key=turn)] == [
        *("logs, short", "logs, long", "logs, new"),
        *("short", "new", "long", "no drill"),
    ]


# --- the stack, and what the gate passes on -----------------------------------------------------

STORE = "elasticsearch"
TABLE = f"""
import pytest
from alertdrill.drill import Drill
from alertdrill.faults.container import Pause
from alertdrill.faults.http import HttpStatus
from loadtests import api_only

DRILLS = [
    Drill("plain", fault=HttpStatus("github", status=503, rate=0.5), load=api_only(5)),
    Drill("of the store", fault=Pause("{STORE}"), load=api_only(5)),
    Drill("plain again", fault=HttpStatus("github", status=500, rate=0.5), load=api_only(5)),
]

@pytest.mark.parametrize("drill", DRILLS, ids=str)
def test_all(drill, run_drill):
    assert run_drill(drill).verdict.word == "pass"
"""
# In this order, whatever each needs.
IN_ORDER = """
@pytest.mark.parametrize(("first", "second", "third"), [DRILLS])
def test_all(first, second, third, run_drill):
    for drill in (first, second, third):
        run_drill(drill)
"""
# Everything but the engine and the experiment is real; each attempt and each fresh stack leaves
# a line in the file ``seen``, and an attempt ends as the file ``ends`` says.
CONFTEST = """
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import alertdrill.experiment
from alertdrill.aftermath import is_broken
from alertdrill.drill import DrillResult, Traffic
from alertdrill.verdict import Finding, Reason

ROOT = Path(__file__).parents[1]


def told(event, profile, seed=None):
    with (ROOT / "seen").open("a") as seen:
        seen.write(json.dumps([event, profile, seed]) + "\\n")


class Attempt:
    def __init__(self, drill, bench):
        self.drill, self.bench = drill, bench

    def run(self):
        title = self.drill.title
        told(title, self.bench.profile, getattr(self.drill.fault, "seed", None))
        ends = json.loads((ROOT / "ends").read_text())
        found = [Finding(Reason(ends[title]), "planted")] if title in ends else []
        self.bench.is_whole = not is_broken(found)
        return DrillResult(
            id=self.drill.id, title=title, fault=self.drill.fault.name,
            findings=tuple(found), traffic=Traffic(9, 9), alerts=(), heal_s=5.0, healed_s=5.5,
            wall_s=9.0, stack="none",
        )


class Bench(SimpleNamespace):
    def renew(self, profile):
        told("fresh", profile)
        self.profile, self.is_whole = profile, True


alertdrill.experiment._Experiment = Attempt


@pytest.fixture(scope="session")
def bench(alertdrill_session):
    config = alertdrill_session.config
    profile = alertdrill_session.profile
    told("fresh", profile)
    return Bench(
        config=config, drillable=config.alerts, profile=profile, is_whole=True,
        tell=lambda _: None,
    )
"""
# The command line, where no engine is needed.
GATE = """
import sys
from alertdrill import assemble, cli
cli.ensure_engine = assemble.resolve_images = lambda *_: {}
sys.argv[0] = "alertdrill"
cli.main()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = copy_project(tmp_path)
    (folder / "chaos" / "test_drills.py").write_text(TABLE, encoding="utf-8")
    (folder / "chaos" / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "ends").write_text("{}", encoding="utf-8")
    return folder


def ending(project: Path, ends: dict[str, str]) -> None:
    """From now on these drills end for these reasons."""
    (project / "ends").write_text(json.dumps(ends), encoding="utf-8")


def seen(project: Path) -> list[tuple[Any, ...]]:
    """What has happened since it was last asked."""
    file = project / "seen"
    rows = [tuple(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    file.unlink()
    return rows


def verdict(project: Path) -> Any:
    file = project / "out" / "latest" / "verdict.json"
    return json.loads(file.read_text(encoding="utf-8"))


def drilled(project: Path, *options: str) -> list[tuple[Any, ...]]:
    """What happens when pytest runs all drills in one process: (event, profile)."""
    done = run(project, "pytest", "chaos", "-q", "-p", "no:locust", *options)
    assert (project / "seen").exists(), done.stdout + done.stderr
    return [(event, profile) for event, profile, _ in seen(project)]


def gate(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", GATE, "gate", *options],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(project), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def in_order(project: Path) -> Path:
    """The same drills, one after the other in one test."""
    table = TABLE[: TABLE.index("@pytest.mark")] + IN_ORDER
    (project / "chaos" / "test_drills.py").write_text(table, encoding="utf-8")
    return project


def test_a_stack_without_what_a_drill_needs_is_replaced_and_goes_on(in_order: Path) -> None:
    assert drilled(in_order) == [
        *(("fresh", "core"), ("plain", "core")),
        *(("fresh", "logging"), ("of the store", "logging"), ("plain again", "logging")),
    ]


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["one process", "a worker"])
def test_what_needs_the_largest_stack_comes_first(project: Path, options: tuple[str, ...]) -> None:
    assert drilled(project, *options) == [
        ("fresh", "logging"),
        ("of the store", "logging"),
        ("plain", "logging"),
        ("plain again", "logging"),
    ]


def test_a_stack_that_is_not_whole_is_replaced_once_by_what_the_next_drill_needs(
    in_order: Path,
) -> None:
    ending(in_order, {"plain": "fault_not_healed", "of the store": "stack_broken"})
    assert drilled(in_order) == [
        *(("fresh", "core"), ("plain", "core")),
        *(("fresh", "logging"), ("of the store", "logging")),
        *(("fresh", "logging"), ("plain again", "logging")),
    ]


def test_seed_and_last_failed_of_the_gate_reach_the_faults(project: Path) -> None:
    ending(project, {"plain again": "fault_not_proven"})
    done = gate(project, "--stacks", "2", "--seed", "11")
    assert "seed 11 · 2 stacks" in done.stdout + done.stderr
    assert {(event, seed) for event, _, seed in seen(project) if event != "fresh"} == {
        *(("plain", 11), ("plain again", 11)),
        ("of the store", None),
    }
    assert verdict(project)["seed"] == 11

    ending(project, {})
    gate(project, "--stacks", "1", "--last-failed")
    assert seen(project) == [("fresh", "core", None), ("plain again", "core", 7)]
    assert [(d["title"], d["verdict"]) for d in verdict(project)["drills"]] == [
        ("plain again", "pass")
    ]
    assert verdict(project)["seed"] == 7
