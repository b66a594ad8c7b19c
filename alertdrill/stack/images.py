"""Where a stack's images come from: present, pulled from the official one, or built."""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from alertdrill.errors import AlertdrillError, DeadlineExceeded, ImageUnavailable, UsageError
from alertdrill.stack import debian
from alertdrill.stack.build import (
    BUILD_TIMEOUT_S,
    LABEL,
    Build,
    content_hash,
    context_files,
    context_tar,
    disk_full,
)
from alertdrill.stack.component import Image
from alertdrill.stack.engine import connect
from alertdrill.stack.progress import Progress, Task
from alertdrill.wait import eventually

PARALLEL_BUILDS = 3
PULL_SILENCE_S = 300
REGISTRY_TIMEOUT_S = 20
ENGINE_TIMEOUT_S = 60
IMPORT_TIMEOUT_S = 300
SUITE = "trixie"
# The base image starts from one of these, whichever is there first.
ROOTFS_OFFICIAL = f"debian:{SUITE}-slim"
ROOTFS_BUILT = f"alertdrill/rootfs:{SUITE}"
BASE = "base"
_CA_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_CA_DEFAULT = "/etc/ssl/certs/ca-certificates.crt"
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

Source = Literal["local", "pulled", "built"]


@dataclass(frozen=True)
class ResolvedImage:
    """An image that the engine has.

    ``digest``  the registry's digest of a pulled image; of a built one, the engine's image id
    """

    name: str
    reference: str
    source: Source
    digest: str | None
    version: str


class Outlook(StrEnum):
    """How an image would be obtained."""

    PRESENT = "present"
    PULLABLE = "pullable"
    BUILDABLE = "buildable"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class Prospect:
    """One row of a plan: how ``image`` would be obtained, which version, and why so."""

    image: Image
    outlook: Outlook
    version: str
    why: str


class ImageStore:
    """Obtains the images of ``catalogue`` on one engine.

    ``project_root`` holds ``images/``; ``cache_dir`` gets logs and locks. Two processes with the
    same cache never build the same image at once. One store remembers which registries don't
    answer, so each is asked once.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        project_root: Path,
        cache_dir: Path,
        catalogue: Iterable[Image],
    ) -> None:
        self._client = client
        self._root = project_root
        self._cache = cache_dir
        self._catalogue = {image.name: image for image in catalogue}
        self._tags: dict[str, str] = {}
        self._tags_lock = threading.Lock()
        self._registries: dict[str, str | None] = {}
        self._registries_lock = threading.Lock()
        self._cancelled = threading.Event()
        self._builds: set[Build] = set()
        self._builds_lock = threading.Lock()

    def image(self, name: str) -> Image:
        """The declared image. Raises UsageError."""
        if name not in self._catalogue:
            raise UsageError(f"no image {name!r} is declared; there are {sorted(self._catalogue)}")
        return self._catalogue[name]

    def tag(self, image: Image) -> str:
        """``alertdrill/<name>:<hash>`` of what ``image`` is built from, its parents included.

        The same content gives the same tag anywhere. Read once per store. Raises UsageError.
        """
        with self._tags_lock:
            return self._tag(image, ())

    def _tag(self, image: Image, children: tuple[str, ...]) -> str:
        if image.name in children:
            raise UsageError(f"image {image.name} needs itself: {' needs '.join(children)}")
        if image.name not in self._tags:
            path = (*children, image.name)
            parents = [self._tag(self.image(name), path) for name in image.needs]
            digits = content_hash(context_files(self._root, image), parents)
            self._tags[image.name] = f"alertdrill/{image.name}:{digits}"
        return self._tags[image.name]

    # --- obtaining -------------------------------------------------------------------------

    def resolve(self, images: Iterable[Image], progress: Progress) -> dict[str, ResolvedImage]:
        """Obtain every one of ``images`` (and what building them needs), by name.

        Raises ImageUnavailable for the first that can't be had; builds under way are ended.
        """
        wanted = {image.name: image for image in images}
        have: dict[str, ResolvedImage] = {}
        for image in wanted.values():
            found = self._local(image) or self._pulled(image, progress)
            if found is not None:
                have[image.name] = found
        missing = [image for name, image in wanted.items() if name not in have]
        for image in missing:
            if not image.buildable:
                raise ImageUnavailable(self._unavailable(image))
        if missing:
            self._build_all(missing, have, progress)
        return {name: have[name] for name in wanted}

    def plan(self, images: Iterable[Image]) -> list[Prospect]:
        """How each of ``images`` would be obtained now. Changes nothing; asks the registries."""
        return [self._prospect(image) for image in images]

    def cancel(self) -> None:
        """End all builds from another thread; their ``resolve`` raises ImageUnavailable."""
        self._cancelled.set()
        with self._builds_lock:
            for build in self._builds:
                build.cancel()

    def _prospect(self, image: Image) -> Prospect:
        found = self._local(image)
        if found is not None:
            return Prospect(image, Outlook.PRESENT, found.version, found.reference)
        if image.official is not None:
            trouble = self._registry_trouble(image.official)
            if trouble is None:
                version = official_version(image.official)
                return Prospect(image, Outlook.PULLABLE, version, image.official)
        if image.buildable:
            trouble = self._build_trouble()
            if trouble is None:
                return Prospect(image, Outlook.BUILDABLE, image.version, f"images/{image.name}/")
            return Prospect(image, Outlook.UNAVAILABLE, image.version, trouble)
        return Prospect(image, Outlook.UNAVAILABLE, image.version, self._unavailable(image))

    def _build_trouble(self) -> str | None:
        if BASE in self._catalogue and self._inspect(self.tag(self.image(BASE))) is not None:
            return None
        for reference in (ROOTFS_OFFICIAL, ROOTFS_BUILT):
            if self._inspect(reference) is not None:
                return None
        trouble = self._registry_trouble(ROOTFS_OFFICIAL)
        if debian.is_root_here() or trouble is None:
            return None
        return _no_rootfs(trouble)

    def _unavailable(self, image: Image) -> str:
        if image.official is None:
            return f"image {image.name} has no official image and nothing to build it from"
        trouble = self._registry_trouble(image.official)
        return f"image {image.official} can't be pulled ({trouble}) and can't be built here"

    # --- present ---------------------------------------------------------------------------

    def _local(self, image: Image) -> ResolvedImage | None:
        if image.buildable:
            tag = self.tag(image)
            identifier = self._inspect(tag)
            if identifier is not None:
                return ResolvedImage(image.name, tag, "local", identifier, image.version)
        if image.official is not None:
            return self._official(image, image.official, "local")
        return None

    def _official(self, image: Image, reference: str, source: Source) -> ResolvedImage | None:
        try:
            digests = self._client.images.get(reference).attrs.get("RepoDigests") or [None]
        except ImageNotFound:
            return None
        digest = None if digests[0] is None else str(digests[0]).rpartition("@")[2]
        version = official_version(reference)
        return ResolvedImage(image.name, reference, source, digest, version)

    def _inspect(self, reference: str) -> str | None:
        try:
            return str(self._client.images.get(reference).id)
        except ImageNotFound:
            return None

    # --- pulled ----------------------------------------------------------------------------

    def _pulled(self, image: Image, progress: Progress) -> ResolvedImage | None:
        if image.official is None or self._registry_trouble(image.official) is not None:
            return None
        with progress.task(f"image {image.name}") as task:
            if not self._pull(image.official, task):
                return None
            return self._official(image, image.official, "pulled")

    def _pull(self, reference: str, task: Task) -> bool:
        repository, tag = _split(reference)
        client = connect(PULL_SILENCE_S)
        try:
            for event in client.api.pull(repository, tag=tag, stream=True, decode=True):
                if "error" in event:
                    raise APIError(str(event["error"]))
                task.update(f"pull {event.get('status', '')} {event.get('progress', '')}")
        except (APIError, RequestException, HTTPError) as error:
            if "no space left on device" in str(error).lower():
                raise disk_full(self._client, f"pulling {reference} stopped") from error
            task.finish(f"can't be pulled: {_reason(error)}")
            with self._registries_lock:
                self._registries[_registry(reference)] = _reason(error)
            return False
        finally:
            client.close()
        task.finish(f"pulled {reference}")
        return True

    def _registry_trouble(self, reference: str) -> str | None:
        """Why ``reference`` can't be pulled, asked of the engine; a silent registry only once."""
        registry = _registry(reference)
        with self._registries_lock:
            if self._registries.get(registry) is not None:
                return self._registries[registry]
            client = connect(REGISTRY_TIMEOUT_S)
            try:
                client.api.inspect_distribution(reference)  # type: ignore[no-untyped-call]
            except (DockerException, RequestException, HTTPError) as error:
                reason = _reason(error)
                if not _is_about_the_image(reason):
                    self._registries[registry] = reason
                return reason
            finally:
                client.close()
            self._registries[registry] = None
            return None

    # --- built -----------------------------------------------------------------------------

    def _build_all(
        self, missing: Iterable[Image], have: dict[str, ResolvedImage], progress: Progress
    ) -> None:
        waiting = self._with_parents(missing, have)
        futures: dict[Future[ResolvedImage], str] = {}
        pool = ThreadPoolExecutor(max_workers=PARALLEL_BUILDS, thread_name_prefix="build")
        try:
            while waiting or futures:
                for name, image in list(waiting.items()):
                    if len(futures) < PARALLEL_BUILDS and have.keys() >= set(image.needs):
                        futures[pool.submit(self._obtain, image, have, progress)] = name
                        del waiting[name]
                finished, _ = wait(futures, return_when=FIRST_COMPLETED)
                for future in finished:
                    have[futures.pop(future)] = future.result()
        except BaseException:
            self.cancel()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _with_parents(
        self, missing: Iterable[Image], have: dict[str, ResolvedImage]
    ) -> dict[str, Image]:
        """All that must be built; what compiles comes first, because it takes longest."""
        found: dict[str, Image] = {}
        todo = list(missing)
        while todo:
            image = todo.pop()
            if image.name in found or image.name in have:
                continue
            local = self._local(image)
            if local is not None:
                have[image.name] = local
                continue
            found[image.name] = image
            todo.extend(self.image(name) for name in image.needs)
        compiled = {name for name, image in found.items() if "go" in (*image.needs, name)}
        return dict(sorted(found.items(), key=lambda pair: pair[0] not in compiled))

    def _obtain(
        self, image: Image, have: Mapping[str, ResolvedImage], progress: Progress
    ) -> ResolvedImage:
        tag = self.tag(image)
        with progress.task(f"image {image.name}") as task, self._locked(image.name, task):
            found = self._local(image)  # someone else may have built it while we waited
            if found is not None:
                task.finish(f"built by another process: {found.reference}")
                return found
            self._build(image, tag, have, task)
            identifier = self._inspect(tag)
            if identifier is None:
                raise ImageUnavailable(f"image {image.name} was built, but {tag} isn't there")
            task.finish(f"built {tag}")
        return ResolvedImage(image.name, tag, "built", identifier, image.version)

    def _build(self, image: Image, tag: str, have: Mapping[str, ResolvedImage], task: Task) -> None:
        arguments = {argument_name(name): have[name].reference for name in image.needs}
        extra: dict[str, bytes] = {}
        if image.name == BASE:
            arguments["ROOTFS"] = self._rootfs(task)
            extra["ca-certificates.crt"] = ca_bundle().read_bytes()
        for variable in _PROXY_VARIABLES:
            value = os.environ.get(variable, os.environ.get(variable.lower()))
            if value:
                arguments[variable] = value
                arguments[variable.lower()] = value
        client = connect(ENGINE_TIMEOUT_S)
        build = Build(client, image, tag, self._cache / "logs" / f"image-{image.name}.log")
        with self._builds_lock:
            if self._cancelled.is_set():
                raise ImageUnavailable(f"image {image.name} was not built: cancelled")
            self._builds.add(build)
        try:
            files = context_files(self._root, image)
            with context_tar(files, extra) as context:
                # Its tag was taken earlier, and must not name what was edited since.
                digits = content_hash(files, [self.tag(self.image(name)) for name in image.needs])
                if not tag.endswith(f":{digits}"):
                    raise ImageUnavailable(
                        f"image {image.name} was not built: its files changed in the meantime; "
                        "run it again"
                    )
                build.run(context, arguments, task)
        finally:
            with self._builds_lock:
                self._builds.discard(build)
            client.close()

    def _rootfs(self, task: Task) -> str:
        for reference in (ROOTFS_OFFICIAL, ROOTFS_BUILT):
            if self._inspect(reference) is not None:
                return reference
        trouble = self._registry_trouble(ROOTFS_OFFICIAL)
        if trouble is None and self._pull(ROOTFS_OFFICIAL, task):
            return ROOTFS_OFFICIAL
        if not debian.is_root_here():
            raise ImageUnavailable(_no_rootfs(trouble))
        with tempfile.TemporaryDirectory(prefix="alertdrill-rootfs-") as folder:
            tar = Path(folder, "rootfs.tar")
            try:
                debian.make_rootfs(SUITE, tar, task)
                self._import(tar, task)
            except (AlertdrillError, DockerException, RequestException) as error:
                if "no space left on device" in str(error).lower():
                    raise disk_full(self._client, f"{ROOTFS_BUILT} was being made") from error
                raise ImageUnavailable(f"{ROOTFS_BUILT} can't be made: {error}") from error
        return ROOTFS_BUILT

    def _import(self, tar: Path, task: Task) -> None:
        task.update(f"import {ROOTFS_BUILT}")
        repository, tag = _split(ROOTFS_BUILT)
        client = connect(IMPORT_TIMEOUT_S)
        try:
            client.api.import_image_from_file(
                str(tar), repository, tag, changes=[f"LABEL {LABEL}=rootfs"]
            )
        finally:
            client.close()

    @contextmanager
    def _locked(self, name: str, task: Task) -> Iterator[None]:
        """One builder per image name among all processes that share the cache."""
        folder = self._cache / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"image-{name}.lock").open("a") as lock:
            if not _try_lock(lock.fileno()):
                task.update("another process is building it")
                try:
                    eventually(
                        lambda: _try_lock(lock.fileno()),
                        timeout_s=BUILD_TIMEOUT_S,
                        what=f"another process that builds image {name}",
                        interval_s=0.5,
                        cancelled=self._cancelled,
                    )
                except DeadlineExceeded as error:
                    raise ImageUnavailable(f"image {name} was not built: {error}") from error
            yield


def remove_built(client: docker.DockerClient) -> int:
    """Remove every image that was built here and that no container uses: how many went.

    Children go before the parents that they keep.
    """
    removed = 0
    while True:
        gone = 0
        for image in client.images.list(filters={"label": LABEL}):
            for reference in image.tags or [str(image.id)]:
                # In use, or still a parent: the next round tries it again.
                with suppress(APIError):
                    client.images.remove(reference)
                    gone += 1
        if gone == 0:
            return removed
        removed += gone


def argument_name(image: str) -> str:
    """The build argument that carries a parent's tag: ``http-faults`` is ``HTTP_FAULTS``."""
    return image.upper().replace("-", "_")


def ca_bundle(environment: Mapping[str, str] = os.environ) -> Path:
    """The host's certificate authorities. Raises ImageUnavailable."""
    candidates = [environment[name] for name in _CA_BUNDLES if environment.get(name)]
    for candidate in (*candidates, _CA_DEFAULT):
        if Path(candidate).is_file():
            return Path(candidate)
    raise ImageUnavailable(
        "the host has no bundle of certificate authorities: install ca-certificates, or let "
        "SSL_CERT_FILE name one"
    )


def official_version(reference: str) -> str:
    """What the tag says: ``prom/prometheus:v3.5.0`` is 3.5.0, ``redis:8-bookworm`` is 8."""
    tag = _split(reference)[1]
    return tag.removeprefix("v").partition("-")[0]


def _split(reference: str) -> tuple[str, str]:
    name = reference.partition("@")[0]
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "latest")


def _registry(reference: str) -> str:
    first, slash, _ = reference.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker"


def _reason(error: Exception) -> str:
    text = getattr(error, "explanation", None) or str(error)
    return str(text).strip().splitlines()[0][:200] if str(text).strip() else type(error).__name__


def _is_about_the_image(reason: str) -> bool:
    """The registry answered, and doesn't have this one (or not for everybody)."""
    words = ("not found", "manifest unknown", "access denied", "unauthorized", "name unknown")
    return any(word in reason.lower() for word in words)


def _no_rootfs(trouble: str | None) -> str:
    return (
        f"nothing can be built: {ROOTFS_OFFICIAL} is not present and can't be pulled "
        f"({trouble or 'the pull failed'}), and making it needs root on Debian or Ubuntu"
    )


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
