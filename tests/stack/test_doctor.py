"""The doctor: what is missing is named with its reason, and decides whether the gate can run."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from alertdrill.doctor import Diagnosis, Row, diagnose
from alertdrill.faults.contract import Evidence
from alertdrill.stack import debian
from alertdrill.stack.component import Component, Image, Readiness, StackSpec
from alertdrill.stack.images import Outlook
from fixtures.images import IMAGES

PROJECT = Path(__file__).parents[2]
READY = Readiness("nothing", lambda *_: Evidence(True, ""))


def spec(*images: Image) -> StackSpec:
    components = tuple(Component(image.name, image.name, READY) for image in images[:1])
    return StackSpec(images, components, {"mine": (images[0].name,)})


HAD = Image("redis", "8")
GHOST = Image("ghost", "1", "registry.invalid/ghost:1", buildable=False)


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")


@pytest.mark.usefixtures("no_engine")
def test_without_an_engine_the_gate_cannot_run(tmp_path: Path) -> None:
    found = diagnose(spec(HAD), ("redis",), PROJECT, tmp_path)
    assert not found.can_gate
    assert "none.sock" in found.engine


@pytest.mark.docker
@pytest.mark.parametrize(
    ("images", "can_gate", "ghost_is_needed"),
    [((HAD, GHOST), True, False), ((GHOST, HAD), False, True)],
    ids=["a missing extra", "a missing image of the gate"],
)
def test_only_what_the_gate_runs_decides(
    tmp_path: Path, images: tuple[Image, ...], can_gate: bool, ghost_is_needed: bool
) -> None:
    redis = next(image for image in IMAGES if image.name == "redis")
    parent = next(image for image in IMAGES if image.name == "base")
    images = tuple(redis if image is HAD else image for image in images)
    found = diagnose(spec(*images, parent), (images[0].name,), PROJECT, tmp_path)
    ghost = next(row for row in found.rows if row.component == "ghost")
    assert (ghost.state, ghost.needed) == (Outlook.UNAVAILABLE, ghost_is_needed)
    assert found.can_gate is can_gate
    assert [what for what, _ in found.not_verified] == ["everything that needs ghost"]
    assert all("registry.invalid" in why for _, why in found.not_verified)
    assert {row.component for row in found.rows} == {"redis", "ghost"}  # parents aren't told


@pytest.mark.usefixtures("no_engine")
def test_a_stand_in_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "is_root_here", lambda: True)
    told = diagnose(spec(replace(HAD, stand_in="half of it")), ("redis",), PROJECT, tmp_path)
    assert told.not_verified == (("redis", "half of it"),)
    stream = io.StringIO()
    told.print(Console(file=stream, width=120))
    assert "not verified: redis: half of it" in stream.getvalue()
    own = diagnose(spec(HAD), ("redis",), PROJECT, tmp_path)
    assert own.not_verified == ()


def test_the_table_and_the_json_say_the_same(
    tmp_path: Path, no_engine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "is_root_here", lambda: False)
    found: Diagnosis = diagnose(spec(HAD), ("redis",), PROJECT, tmp_path)
    stream = io.StringIO()
    found.print(Console(file=stream, width=120))
    assert "unavailable" in stream.getvalue()
    assert "not verified: everything that needs redis: no Docker engine" in stream.getvalue()
    assert "the gate can NOT run here" in stream.getvalue()
    document = json.loads(found.json())
    assert document["can_gate"] is False
    assert document["components"][0]["state"] == "unavailable"
    assert document["not_verified"][0]["what"] == "everything that needs redis"


@pytest.mark.usefixtures("no_engine")
def test_what_a_component_depends_on_is_needed_too(tmp_path: Path) -> None:
    a = Component("a", "redis", READY, depends_on=("b",))
    stack = StackSpec((HAD,), (a, Component("b", "redis", READY)), {"mine": ("a",)})
    rows = diagnose(stack, ("a",), PROJECT, tmp_path).rows
    assert {row.component: row.needed for row in rows} == {"a": True, "b": True}


def printed(*rows: Row) -> list[str]:
    stream = io.StringIO()
    Diagnosis("Docker 1", True, rows).print(Console(file=stream, width=40))
    return stream.getvalue().splitlines()


def test_what_can_be_copied_is_on_one_line() -> None:
    reference = "registry.example/team/" + "long-name/" * 10 + "image:1.2.3"
    lines = printed(Row("a", "a", Outlook.PRESENT, "1.2.3", reference, None, None, True))
    assert any(line.rstrip().endswith(reference) for line in lines)


def test_what_a_registry_answered_is_told_once() -> None:
    rows = [
        Row(n, n, Outlook.UNAVAILABLE, "1", f"{n} can't be had ({trouble})", trouble, None, False)
        for n, trouble in (("a", "no such host one"), ("b", "no such host one"), ("c", "other"))
    ]
    lines = [line for line in printed(*rows) if line.startswith("not verified")]
    assert [line.partition("(")[2] for line in lines] == [
        "no such host one)",
        "for the same reason)",
        "other)",
    ]
