"""Each program is found: on PATH, else in an image, else it is said what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException

from alertdrill.config import Config
from alertdrill.errors import AlertdrillError
from alertdrill.rules import programs, project
from alertdrill.rules.programs import (
    ALERTMANAGER,
    PROMETHEUS,
    PROMTOOL,
    ProgramImage,
    ProgramSpec,
    ProgramUnavailable,
    find,
    on_path,
    present,
)
from alertdrill.stack.component import Image, StackSpec

EVERY = pytest.mark.parametrize("spec", [PROMTOOL, PROMETHEUS, ALERTMANAGER], ids=lambda s: s.title)


def nobody() -> str:
    raise AssertionError("nobody needs an image")


def local_image(spec: ProgramSpec) -> str:
    """The image of the project's own stack, whatever registry it came from."""
    prefixes = (*spec.repositories, f"alertdrill/{spec.image}")
    images = docker.from_env().images
    # Not all images: somebody may remove one while they are listed.
    tags = [tag for prefix in prefixes for image in images.list(prefix) for tag in image.tags]
    return next(tag for tag in tags if tag.rpartition(":")[0] in prefixes)


@EVERY
def test_the_one_on_path_comes_first(spec, tmp_path, monkeypatch):
    for name in reversed(spec.names):  # the last one is asked for first
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(path.parent))
        assert find(spec, tmp_path, ProgramImage(("a:1",), nobody)).path == path


def test_a_relative_path_holds_wherever_it_is_run(tmp_path, monkeypatch):
    path = tmp_path / "promtool"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ".")
    found = on_path(PROMTOOL)
    assert found is not None
    assert found.path == path


@EVERY
def test_a_copy_needs_no_engine(spec, tmp_path, monkeypatch):
    copy = tmp_path / spec.image / "some-image-1.0" / spec.names[0]
    copy.parent.mkdir(parents=True)
    copy.touch()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(programs.docker, "from_env", nobody)
    found = find(spec, tmp_path, ProgramImage(("other:2", "some/image:1.0"), nobody))
    assert (found.path, found.folder) == (copy, copy.parent)


@EVERY
def test_without_path_and_engine_it_says_what_to_do(spec, tmp_path, monkeypatch):
    def refuse(timeout: int) -> None:
        raise DockerException("connection refused")

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(programs.docker, "from_env", refuse)
    with pytest.raises(ProgramUnavailable, match=f"{spec.title}.*{spec.remedy}, or start Docker"):
        find(spec, tmp_path)


@pytest.mark.docker
@EVERY
def test_it_is_copied_out_of_the_image_once(spec, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    asked: list[str] = []

    def obtain() -> str:
        asked.append("")
        return local_image(spec)

    image = ProgramImage(("not/to:be-had", local_image(spec)), obtain)
    found = find(spec, tmp_path, image)
    assert found == find(spec, tmp_path, image)
    assert len(asked) == 1
    said = subprocess.run(
        [found.path, "--version"], capture_output=True, timeout=20, check=True, cwd=found.folder
    )
    assert said.stdout.startswith(spec.names[0].encode())
    beside = {path.name for path in found.folder.iterdir()} - {found.path.name}
    assert beside <= ({spec.assets.beside} if spec.assets is not None else set())


@pytest.mark.docker
def test_an_image_without_the_program_is_said(tmp_path, monkeypatch):
    reference = local_image(ALERTMANAGER)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ProgramUnavailable, match="has no promtool; install Prometheus 3"):
        find(PROMTOOL, tmp_path, present(reference))


def test_outside_of_any_project_there_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/x/cache")
    assert project.project_root() is None
    assert project.cache_folder() == Path("/home/x/cache/alertdrill")


def test_in_a_project_its_cache_is_used(tmp_path, monkeypatch):
    (tmp_path / "alertdrill.toml").touch()
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert project.project_root() == tmp_path
    assert project.cache_folder() == tmp_path / ".cache"


@EVERY
def test_a_copy_is_of_what_the_image_is_built_from(spec, tmp_path, monkeypatch):
    folder = tmp_path / "images" / spec.image
    folder.mkdir(parents=True)
    (tmp_path / "alertdrill.toml").touch()
    monkeypatch.chdir(tmp_path)
    image = Image(spec.image, "1.0", official="some/image:1.0", buildable=True)
    monkeypatch.setattr(Config, "load_stack", lambda self: StackSpec((image,), (), {}))
    monkeypatch.setattr(project, "load_config", lambda root: Config.model_construct(root=root))

    def references(dockerfile: str) -> tuple[str, ...]:
        (folder / "Dockerfile").write_text(dockerfile)
        found = project._image(spec)
        assert found is not None
        return found.references

    built, official = references("FROM a\n")
    other, same = references("FROM b\n")
    assert built == references("FROM a\n")[0] != other
    assert official == same == "some/image:1.0"


@EVERY
def test_a_stack_without_its_image_leaves_what_the_engine_has(spec, tmp_path, monkeypatch):
    def refuse(timeout: int) -> None:
        raise DockerException("connection refused")

    (tmp_path / "alertdrill.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(Config, "load_stack", lambda self: StackSpec((), (), {}))
    monkeypatch.setattr(project, "load_config", lambda root: Config.model_construct(root=root))
    monkeypatch.setattr(programs.docker, "from_env", refuse)
    with pytest.raises(ProgramUnavailable, match="no Docker engine could give it"):
        project._find(spec)


def test_what_is_on_path_needs_no_sound_project(tmp_path, monkeypatch):
    (tmp_path / "alertdrill.toml").write_text("nonsense")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "promtool"
    path.write_text(f"#!{sys.executable}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert project.promtool() == path
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AlertdrillError, match="not valid TOML"):
        project.promtool()
