"""Which stack a drill gets, and what is beyond all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from alertdrill.config import Config, load_config
from alertdrill.drill import Drill, Span
from alertdrill.errors import UsageError
from alertdrill.faults.container import Pause
from alertdrill.faults.contract import Evidence
from alertdrill.faults.nothing import Nothing
from alertdrill.load.plan import Load
from alertdrill.profiles import Profiles
from alertdrill.stack.component import Component, Image, Readiness, StackSpec

READY = Readiness("nothing", lambda *_: Evidence(True, ""))
NAMES = ("hub", "store", "traces", "extra")
SPEC = StackSpec(
    images=tuple(Image(name, "1", buildable=name != "extra") for name in NAMES),
    components=tuple(Component(name, name, READY) for name in NAMES),
    profiles={"small": ("hub",), "logs": ("hub", "store"), "traces": ("hub", "traces")},
)
PROJECT = """
name = "x"
stack = "nothing:NOTHING"
[monitoring]
prometheus = "prometheus.yml"
alertmanager = "alertmanager.yml"
jobs = ["app"]
[target]
component = "hub"
port = "http"
[alerts.High]
receiver = "oncall"
within = "5m"
resolved_within = "5m"
[alerts.Lost]
receiver = "oncall"
within = "5m"
resolved_within = "5m"
needs = "store"
[log_store]
component = "store"
index = "hub-*"
logger = "hub"
[traces]
component = "traces"
[gate]
profiles = [{profiles}]
"""


def config_of(tmp_path: Path, *profiles: str) -> Config:
    file = tmp_path / "alertdrill.toml"
    file.write_text(PROJECT.replace("{profiles}", ", ".join(f'"{name}"' for name in profiles)))
    return load_config(tmp_path)


LOAD = Load("loadtests.py", {"User": 1.0})
CONTROL = Drill("no fault", fault=Nothing(), load=LOAD)
HUB_HANGS = Drill("the hub hangs", fault=Pause("hub"), load=LOAD, fires={"High"})


@pytest.mark.parametrize(
    ("drill", "of"),
    [
        (HUB_HANGS, "small"),
        (replace(HUB_HANGS, fires={"Lost"}), "logs"),
        (replace(HUB_HANGS, inhibited={"Lost"}), "logs"),
        (replace(HUB_HANGS, may_fire={"Lost"}), "small"),
        (replace(HUB_HANGS, fault=Pause("store")), "logs"),
        (replace(HUB_HANGS, fault=Pause("traces")), "traces"),
        (replace(HUB_HANGS, fault=Pause("traces"), fires={"Lost"}), None),
        (CONTROL, "logs"),
        (replace(HUB_HANGS, stays_quiet={"High"}), "small"),
        (replace(HUB_HANGS, stays_quiet={"Lost"}), "logs"),
        (replace(HUB_HANGS, logs_arrive=True), "logs"),
        (replace(HUB_HANGS, blames=Span("hub", "GET*")), "traces"),
        (replace(HUB_HANGS, fires={"Lost"}, blames=Span("hub", "GET*")), "logs"),
    ],
    ids=[
        *("what all run", "an alert's need", "one inhibited", "one that only may fire"),
        *("what is broken", "by another", "both at once", "every alert can fire under no fault"),
        *("a silence", "one that could be broken", "logs", "traces", "a need before a wish"),
    ],
)
def test_a_drill_gets_the_first_profile_that_has_what_it_needs(
    tmp_path: Path, drill: Drill, of: str | None
) -> None:
    profiles = Profiles(config_of(tmp_path, "small", "logs", "traces"), SPEC)
    assert profiles.profile_of(drill) == of


def test_the_control_makes_do_with_what_there_is(tmp_path: Path) -> None:
    assert Profiles(config_of(tmp_path, "small", "traces"), SPEC).profile_of(CONTROL) == "small"


@pytest.mark.parametrize(
    ("names", "needs_of", "why"),
    [
        (["small"], {"store"}, "profile small runs no store"),
        (["small", "traces"], {"store"}, "none of the profiles small, traces runs store"),
        (
            ["logs", "traces"],
            {"store", "traces"},
            "none of the profiles logs, traces runs all of store, traces",
        ),
    ],
)
def test_why_a_drill_gets_none(
    tmp_path: Path, names: list[str], needs_of: set[str], why: str
) -> None:
    profiles = Profiles(config_of(tmp_path, *names), SPEC)
    fires = {"Lost"} if "store" in needs_of else set()
    hit = "traces" if "traces" in needs_of else "hub"
    drill = replace(HUB_HANGS, fault=Pause(hit), fires=fires)
    assert profiles.profile_of(drill) is None
    assert profiles.why_none(drill) == why


def test_an_alert_is_beyond_profiles_that_run_nothing_of_its_need(tmp_path: Path) -> None:
    assert Profiles(config_of(tmp_path, "small", "logs"), SPEC).beyond() == {}
    beyond = Profiles(config_of(tmp_path, "small"), SPEC).beyond()
    assert beyond == {"Lost": "profile small runs no store"}


def test_what_no_profile_runs_is_not_verified(tmp_path: Path) -> None:
    assert Profiles(config_of(tmp_path, "small", "logs"), SPEC).not_verified() == [
        {"what": "traces", "why": "not part of the profiles small, logs"},
        {"what": "extra", "why": "only its official image has it, and no profile here runs it"},
    ]


def test_a_profile_that_is_not_declared_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no profile 'big'; the stack declares \['logs'"):
        Profiles(config_of(tmp_path, "big"), SPEC)
    with pytest.raises(UsageError, match=r"gate.profiles"):
        config_of(tmp_path)
