"""Alertmanager as a program: from PATH, else copied once out of an image into the cache."""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException, NotFound
from docker.models.containers import Container
from requests.exceptions import RequestException

from alertdrill.errors import AlertdrillError

NAMES = ("alertmanager", "prometheus-alertmanager")
# Whichever the local engine has: the official image, or the one that alertdrill builds.
REPOSITORIES = ("prom/alertmanager", "alertdrill/alertmanager")
# The official image and Debian's package put it in different places.
_PLACES = tuple(f"{folder}/{name}" for name in NAMES for folder in ("/bin", "/usr/bin"))
# Debian's build reads its default templates from here; upstream's carries them inside.
_ASSETS = "/usr/share/prometheus/alertmanager"
_TEMPLATES = ("default.tmpl", "email.tmpl")
_ENGINE_TIMEOUT_S = 60


class AlertmanagerUnavailable(AlertdrillError):
    """Alertmanager is neither on PATH nor in an image that can be had: nothing can be proven."""


@dataclass(frozen=True)
class SourceImage:
    """An image that has the program.

    ``key``     names its content; equal keys hold equal programs
    ``obtain``  has the image (found, pulled or built) and returns its reference
    """

    key: str
    obtain: Callable[[], str]


@dataclass(frozen=True)
class Program:
    """``path`` is to be run in ``folder``, where a copied program finds its files."""

    path: Path
    folder: Path


def find_alertmanager(cache: Path, image: SourceImage | None = None) -> Program:
    """Alertmanager from PATH, else copied once out of ``image`` into ``cache``.

    Without ``image``: out of the first of REPOSITORIES that the local engine has. Raises
    AlertmanagerUnavailable.
    """
    for name in NAMES:
        on_path = shutil.which(name)
        if on_path is not None:
            return Program(Path(on_path), Path("/"))
    try:
        source = image or local_image(REPOSITORIES)
        if source is None:
            raise AlertmanagerUnavailable(
                "Alertmanager is not on PATH, and the Docker engine has no image "
                f"{REPOSITORIES[0]}; install it, or `docker pull {REPOSITORIES[0]}`"
            )
        home = cache / "alertmanager" / _as_folder(source.key)
        path = home / NAMES[0]
        if not path.exists():
            with contextlib.closing(docker.from_env(timeout=_ENGINE_TIMEOUT_S)) as engine:
                _copy_out(engine, source.obtain(), home)
    except (DockerException, RequestException) as error:
        raise AlertmanagerUnavailable(
            f"Alertmanager is not on PATH, and no Docker engine could give it ({error}); "
            "install it, or start Docker"
        ) from error
    return Program(path.resolve(), home.resolve())


def local_image(repositories: Sequence[str]) -> SourceImage | None:
    """The newest image of the first of ``repositories`` that the engine has; None: of none.

    Raises DockerException or RequestException when no engine answers.
    """
    with contextlib.closing(docker.from_env(timeout=_ENGINE_TIMEOUT_S)) as client:
        for repository in repositories:
            images = client.images.list(repository)
            if images:
                newest = max(images, key=lambda image: str(image.attrs.get("Created", "")))
                return _present(str(newest.id))
    return None


def _present(reference: str) -> SourceImage:
    return SourceImage(reference.removeprefix("sha256:")[:12], lambda: reference)


def _as_folder(key: str) -> str:
    return "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in key)


def _copy_out(client: docker.DockerClient, reference: str, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    container = client.containers.create(reference, network_disabled=True)
    try:
        with tempfile.TemporaryDirectory(dir=home) as folder:
            scratch = Path(folder)
            program = next(filter(None, (_take(container, p, scratch) for p in _PLACES)), None)
            if program is None:
                raise AlertmanagerUnavailable(f"the image {reference} has no alertmanager")
            _bring_assets(container, program, scratch, home)
            # Two commands may do this at once: each puts a whole file in place, the program last.
            program.replace(home / NAMES[0])
    finally:
        container.remove(force=True)


def _take(container: Container, place: str, scratch: Path) -> Path | None:
    """One file of the image; None when it isn't there or is only a link to another place."""
    try:
        stream, about = container.get_archive(place)
    except NotFound:
        return None
    if about is None or about["linkTarget"]:
        return None
    packed = scratch / "archive.tar"
    with packed.open("wb") as out:
        out.writelines(stream)
    with tarfile.open(packed) as archive:
        archive.extract(Path(place).name, scratch, filter="data")
    return scratch / Path(place).name


def _bring_assets(container: Container, program: Path, scratch: Path, home: Path) -> None:
    """Let a copy of Debian's build find its templates: beside itself, not below /usr/share.

    The folder's name is replaced by a relative one of the same length, and the copy is run where
    that leads to the templates. Nothing else in it changes; without this it doesn't start.
    """
    content = program.read_bytes()
    if _ASSETS.encode() not in content:
        return
    name = "alertmanager.d"
    relative = "." + name.rjust(len(_ASSETS) - 1, "/")
    program.write_bytes(content.replace(_ASSETS.encode(), relative.encode()))
    (home / name).mkdir(exist_ok=True)
    for template in _TEMPLATES:
        taken = _take(container, f"{_ASSETS}/{template}", scratch)
        if taken is not None:
            taken.replace(home / name / template)
