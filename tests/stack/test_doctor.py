"""The doctor: what is missing is named with its reason, and decides whether the gate can run."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from alertdrill.doctor import Diagnosis, diagnose
from alertdrill.faults.contract import Evidence
from alertdrill.stack import debian
from alertdrill.stack.component import Component, Image, Readiness, StackSpec
from alertdrill.stack.images import Outlook
from fixtures.images import IMAGES

PROJECT = Path(__file__).parents[2]
READY = Readiness("nothing", lambda *_: Evidence(True, ""))


def spec(*images: Image) -> StackSpec:
    components = tuple(Component(image.name, image.name, READY) for image in images[:1])
    return StackSpec(images, components, {"core": (images[0].name,)})


HAD = Image("redis", "8")
GHOST = Image("ghost", "1", "registry.invalid/ghost:1", buildable=False)


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")


@pytest.mark.usefixtures("no_engine")
def test_without_an_engine_the_gate_cannot_run(tmp_path: Path) -> None:
    found = diagnose(spec(HAD), PROJECT, tmp_path)
    assert not found.can_gate
    assert "none.sock" in found.engine


@pytest.mark.docker
@pytest.mark.parametrize(
    ("images", "can_gate", "ghost_is_core"),
    [((HAD, GHOST), True, False), ((GHOST, HAD), False, True)],
    ids=["a missing extra", "a missing core image"],
)
def test_only_what_is_core_decides(
    tmp_path: Path, images: tuple[Image, ...], can_gate: bool, ghost_is_core: bool
) -> None:
    redis = next(image for image in IMAGES if image.name == "redis")
    parent = next(image for image in IMAGES if image.name == "base")
    images = tuple(redis if image is HAD else image for image in images)
    found = diagnose(spec(*images, parent), PROJECT, tmp_path)
    ghost = next(row for row in found.rows if row.component == "ghost")
    assert (ghost.state, ghost.core) == (Outlook.UNAVAILABLE, ghost_is_core)
    assert found.can_gate is can_gate
    assert [what for what, _ in found.not_verified] == ["everything that needs ghost"]
    assert all("registry.invalid" in why for _, why in found.not_verified)
    assert {row.component for row in found.rows} == {"redis", "ghost"}  # parents aren't told


def test_the_table_and_the_json_say_the_same(
    tmp_path: Path, no_engine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "is_root_here", lambda: False)
    found: Diagnosis = diagnose(spec(HAD), PROJECT, tmp_path)
    stream = io.StringIO()
    found.print(Console(file=stream, width=120))
    assert "unavailable" in stream.getvalue()
    assert "not verified: everything that needs redis: no Docker engine" in stream.getvalue()
    assert "the gate can NOT run here" in stream.getvalue()
    document = json.loads(found.json())
    assert document["can_gate"] is False
    assert document["components"][0]["state"] == "unavailable"
    assert document["not_verified"][0]["what"] == "everything that needs redis"
