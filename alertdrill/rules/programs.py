"""Programs that judge rules, each from PATH, else copied once out of an image into a cache."""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException, NotFound
from docker.models.containers import Container
from requests.exceptions import RequestException

from alertdrill.errors import AlertdrillError

# The official images and Debian's packages put programs in different places.
_FOLDERS = ("/bin", "/usr/bin", "/usr/local/bin")
_ENGINE_TIMEOUT_S = 60


class ProgramUnavailable(AlertdrillError):
    """A program is neither on PATH nor in an image that can be had."""


@dataclass(frozen=True)
class Assets:
    """Files that a build of a program reads from a fixed ``folder`` of its image.

    Its copy finds them in the folder ``beside`` itself, whose name is shorter.
    """

    folder: str
    files: tuple[str, ...]
    beside: str


@dataclass(frozen=True)
class ProgramSpec:
    """What is known of a program before it is found.

    ``title``         what people call it
    ``names``         what its file is called; the copy's name first
    ``image``         what stacks call the image that has it, and the folder of its copies
    ``repositories``  where a local engine may have it, the official one first
    ``remedy``        what to do without it, e.g. "install it"
    ``assets``        what has to come along, where the program needs it
    """

    title: str
    names: tuple[str, ...]
    image: str
    repositories: tuple[str, ...]
    remedy: str
    assets: Assets | None = None


def _of_prometheus(name: str) -> ProgramSpec:
    return ProgramSpec(
        name, (name,), "prometheus", ("prom/prometheus",), remedy="install Prometheus 3"
    )


PROMTOOL = _of_prometheus("promtool")
PROMETHEUS = _of_prometheus("prometheus")
ALERTMANAGER = ProgramSpec(
    "Alertmanager",
    ("alertmanager", "prometheus-alertmanager"),
    "alertmanager",
    # Whichever the local engine has: the official image, or the one that alertdrill builds.
    ("prom/alertmanager", "alertdrill/alertmanager"),
    remedy="install it",
    # Debian's build reads its default templates from there; upstream's carries them inside.
    assets=Assets(
        "/usr/share/prometheus/alertmanager", ("default.tmpl", "email.tmpl"), "alertmanager.d"
    ),
)


@dataclass(frozen=True)
class ProgramImage:
    """Where a program is copied from.

    ``references``  every image that would do, in the order in which they are tried; each names a
                    content, so a copy out of one need not be made again
    ``obtain``      has one of them (found, pulled or built) and returns its reference
    """

    references: tuple[str, ...]
    obtain: Callable[[], str]


@dataclass(frozen=True)
class Program:
    """``path`` is to be run in ``folder``, where a copied program finds its files."""

    path: Path
    folder: Path


def on_path(spec: ProgramSpec) -> Program | None:
    """The program that PATH has, if any."""
    for name in spec.names:
        found = shutil.which(name)
        if found is not None:
            return Program(Path(found).absolute(), Path("/"))
    return None


def find(spec: ProgramSpec, cache: Path, image: ProgramImage | None = None) -> Program:
    """The program from PATH, else copied once out of ``image`` into ``cache``.

    Without ``image``, out of the newest one that the local engine has of the spec's repositories.
    Raises ProgramUnavailable, and what ``image.obtain`` raises.
    """
    found = on_path(spec)
    if found is not None:
        return found
    try:
        source = image or _local_image(spec)
        homes = [cache / spec.image / _as_folder(reference) for reference in source.references]
        home = next((home for home in homes if (home / spec.names[0]).exists()), None)
        if home is None:
            reference = source.obtain()
            home = cache / spec.image / _as_folder(reference)
            with contextlib.closing(docker.from_env(timeout=_ENGINE_TIMEOUT_S)) as client:
                _copy_out(client, spec, reference, home)
    except (DockerException, RequestException) as error:
        raise ProgramUnavailable(
            f"{spec.title} is not on PATH, and no Docker engine could give it ({error}); "
            f"{spec.remedy}, or start Docker"
        ) from error
    return Program((home / spec.names[0]).resolve(), home.resolve())


def _local_image(spec: ProgramSpec) -> ProgramImage:
    with contextlib.closing(docker.from_env(timeout=_ENGINE_TIMEOUT_S)) as client:
        for repository in spec.repositories:
            images = client.images.list(repository)
            if images:
                newest = max(images, key=lambda image: str(image.attrs.get("Created", "")))
                return present(str(newest.id))
    official = spec.repositories[0]
    raise ProgramUnavailable(
        f"{spec.title} is not on PATH, and the Docker engine has no image {official}; "
        f"{spec.remedy}, or `docker pull {official}`"
    )


def present(reference: str) -> ProgramImage:
    """The image called ``reference``, which the local engine has."""
    return ProgramImage((reference,), lambda: reference)


def _as_folder(reference: str) -> str:
    return "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in reference)


def _copy_out(client: docker.DockerClient, spec: ProgramSpec, reference: str, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    places = [f"{folder}/{name}" for name in spec.names for folder in _FOLDERS]
    container = client.containers.create(reference, network_disabled=True)
    try:
        with tempfile.TemporaryDirectory(dir=home) as folder:
            scratch = Path(folder)
            taken = (_take(container, place, scratch) for place in places)
            program = next((path for path in taken if path is not None), None)
            if program is None:
                raise ProgramUnavailable(
                    f"the image {reference} has no {spec.names[0]}; {spec.remedy}"
                )
            if spec.assets is not None:
                _bring(spec.assets, container, program, scratch, home)
            # Two commands may do this at once: each puts a whole file in place, the program last.
            program.replace(home / spec.names[0])
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
    taken = scratch / Path(place).name
    with tarfile.open(packed) as archive:
        # Nothing else of an archive is trusted; `extract` has filters for that since 3.11.4 only.
        member = archive.getmember(taken.name)
        content = archive.extractfile(member)
        if content is None:
            return None
        with content, taken.open("wb") as out:
            shutil.copyfileobj(content, out)
    taken.chmod(member.mode & 0o755)
    return taken


def _bring(assets: Assets, container: Container, program: Path, scratch: Path, home: Path) -> None:
    """Let the copy of a build that reads assets find them beside itself.

    The folder's name is replaced by a relative one of the same length, and the copy is run where
    that leads to the assets. Nothing else in it changes. Other builds are left as they are.
    """
    content = program.read_bytes()
    if assets.folder.encode() not in content:
        return
    relative = "." + assets.beside.rjust(len(assets.folder) - 1, "/")
    program.write_bytes(content.replace(assets.folder.encode(), relative.encode()))
    (home / assets.beside).mkdir(exist_ok=True)
    for name in assets.files:
        taken = _take(container, f"{assets.folder}/{name}", scratch)
        if taken is not None:
            taken.replace(home / assets.beside / name)
