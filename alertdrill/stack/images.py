"""Where a stack's images come from: present, pulled from the official one, or built."""

from __future__ import annotations

import fcntl
import io
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from alertdrill.errors import AlertdrillError, DeadlineExceeded, ImageUnavailable
from alertdrill.shield import first_finished, signals_deferred
from alertdrill.stack import debian
from alertdrill.stack.build import (
    BUILD_TIMEOUT_S,
    LABEL,
    Build,
    argument_name,
    ca_bundle,
    content_hash,
    context_files,
    context_tar,
    disk_full,
    proxy_arguments,
)
from alertdrill.stack.catalogue import Catalogue
from alertdrill.stack.component import Image
from alertdrill.stack.engine import HangUp, connect
from alertdrill.stack.progress import Progress, Task
from alertdrill.stack.registries import (
    Registries,
    official_version,
    reason_of,
    repository_and_tag,
)
from alertdrill.wait import eventually

PARALLEL_BUILDS = 3
PULL_SILENCE_S = 300
ENGINE_TIMEOUT_S = 60
IMPORT_TIMEOUT_S = 300
SUITE = "trixie"
# The base image starts from one of these, whichever is there first.
ROOTFS_OFFICIAL = f"debian:{SUITE}-slim"
ROOTFS_BUILT = f"alertdrill/rootfs:{SUITE}"
BASE = "base"

Source = Literal["local", "pulled", "built"]


@dataclass(frozen=True)
class ResolvedImage:
    """An image that the engine has.

    ``digest``      the registry's digest of a pulled image; of a built one, the engine's image id
    ``unverified``  what isn't verified with it, because a stand-in was built
    """

    name: str
    reference: str
    source: Source
    digest: str | None
    version: str
    unverified: str | None = None


class Outlook(StrEnum):
    """How an image would be obtained."""

    PRESENT = "present"
    PULLABLE = "pullable"
    BUILDABLE = "buildable"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class Prospect:
    """One row of a plan: how ``image`` would be obtained, which version, and why so.

    ``trouble``     the part of ``why`` that the registry answered, which other images may share
    ``unverified``  what would not be verified with it, because a stand-in is what is built
    """

    image: Image
    outlook: Outlook
    version: str
    why: str
    trouble: str | None = None
    unverified: str | None = None


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
        self._catalogue = Catalogue(catalogue, project_root)
        self._registries = Registries()
        self._cancelled = threading.Event()
        self._calls: set[HangUp] = set()
        self._calls_lock = threading.Lock()

    def image(self, name: str) -> Image:
        """The declared image. Raises UsageError."""
        return self._catalogue.image(name)

    def tag(self, image: Image) -> str:
        """What ``image`` is called when it is built: see ``Catalogue.tag``."""
        return self._catalogue.tag(image)

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
        """End all that is under way, from another thread: ``resolve`` raises ImageUnavailable."""
        self._cancelled.set()
        with self._calls_lock:
            for call in self._calls:
                call.cancel()

    @contextmanager
    def _calling(self, timeout_s: int, what: str) -> Iterator[tuple[docker.DockerClient, HangUp]]:
        """A client of its own for a call that ``cancel`` ends; ``what`` was not done, then.

        Raises ImageUnavailable when it was cancelled already.
        """
        client = connect(timeout_s)
        line = HangUp(client)
        try:
            with self._calls_lock:
                self._refuse_cancelled(what)
                self._calls.add(line)
            yield client, line
        finally:
            with self._calls_lock:
                self._calls.discard(line)
            client.close()

    def _refuse_cancelled(self, what: str) -> None:
        if self._cancelled.is_set():
            raise ImageUnavailable(f"{what}: cancelled")

    def _prospect(self, image: Image) -> Prospect:
        found = self._local(image)
        if found is not None:
            where, version = found.reference, found.version
            return Prospect(image, Outlook.PRESENT, version, where, unverified=found.unverified)
        trouble = None
        if image.official is not None:
            trouble = self._registries.trouble(image.official)
            if trouble is None:
                version = official_version(image.official)
                return Prospect(image, Outlook.PULLABLE, version, image.official)
        if image.buildable:
            if self._can_build():
                return buildable(image)
            trouble = self._registries.trouble(ROOTFS_OFFICIAL)
            why = _no_rootfs(trouble)
        else:
            why = self._unavailable(image)
        return Prospect(image, Outlook.UNAVAILABLE, image.version, why, trouble)

    def _can_build(self) -> bool:
        if BASE in self._catalogue and self._inspect(self.tag(self.image(BASE))) is not None:
            return True
        if any(self._inspect(reference) for reference in (ROOTFS_OFFICIAL, ROOTFS_BUILT)):
            return True
        return self._registries.trouble(ROOTFS_OFFICIAL) is None or debian.is_root_here()

    def _unavailable(self, image: Image) -> str:
        if image.official is None:
            return f"image {image.name} has no official image and nothing to build it from"
        trouble = self._registries.trouble(image.official)
        return f"image {image.official} can't be pulled ({trouble}) and can't be built here"

    # --- present ---------------------------------------------------------------------------

    def _local(self, image: Image) -> ResolvedImage | None:
        if image.buildable:
            tag = self.tag(image)
            identifier = self._inspect(tag)
            if identifier is not None:
                return _built(image, tag, "local", identifier)
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
        if image.official is None or self._registries.trouble(image.official) is not None:
            return None
        with progress.task(f"image {image.name}") as task:
            if not self._pull(image.official, task):
                return None
            return self._official(image, image.official, "pulled")

    def _pull(self, reference: str, task: Task) -> bool:
        repository, tag = repository_and_tag(reference)
        what = f"{reference} was not pulled"
        try:
            with self._calling(PULL_SILENCE_S, what) as (client, _):
                for event in client.api.pull(repository, tag=tag, stream=True, decode=True):
                    if "error" in event:
                        raise APIError(str(event["error"]))
                    task.update(f"pull {event.get('status', '')} {event.get('progress', '')}")
        except (APIError, RequestException, HTTPError) as error:
            self._refuse_cancelled(what)
            if "no space left on device" in str(error).lower():
                raise disk_full(self._client, f"pulling {reference} stopped") from error
            task.finish(f"can't be pulled: {reason_of(error)}")
            self._registries.failed(reference, reason_of(error))
            return False
        self._refuse_cancelled(what)
        task.finish(f"pulled {reference}")
        return True

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
                        with signals_deferred():
                            futures[pool.submit(self._obtain, image, have, progress)] = name
                        del waiting[name]
                for future in first_finished(futures):
                    have[futures.pop(future)] = future.result()
        except BaseException:
            with signals_deferred():
                self.cancel()
                pool.shutdown(wait=True, cancel_futures=True)
            raise
        pool.shutdown()

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
            todo.extend(self._catalogue.parents(image))
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
        return _built(image, tag, "built", identifier)

    def _build(self, image: Image, tag: str, have: Mapping[str, ResolvedImage], task: Task) -> None:
        arguments = {argument_name(name): have[name].reference for name in image.needs}
        extra: dict[str, bytes] = {}
        if image.name == BASE:
            arguments["ROOTFS"] = self._rootfs(task)
            extra["ca-certificates.crt"] = ca_bundle().read_bytes()
        arguments |= proxy_arguments()
        log = self._cache / "logs" / f"image-{image.name}.log"
        not_built = f"image {image.name} was not built"
        with self._calling(ENGINE_TIMEOUT_S, not_built) as (client, line):
            files = context_files(self._root, image)
            with context_tar(files, extra) as context:
                # Its tag was taken earlier, and must not name what was edited since.
                parents = [self.tag(parent) for parent in self._catalogue.parents(image)]
                if not tag.endswith(f":{content_hash(files, parents)}"):
                    raise ImageUnavailable(
                        f"{not_built}: its files changed in the meantime; run it again"
                    )
                Build(client, line, image, tag, log).run(context, arguments, task)

    def _rootfs(self, task: Task) -> str:
        for reference in (ROOTFS_OFFICIAL, ROOTFS_BUILT):
            if self._inspect(reference) is not None:
                return reference
        trouble = self._registries.trouble(ROOTFS_OFFICIAL)
        if trouble is None and self._pull(ROOTFS_OFFICIAL, task):
            return ROOTFS_OFFICIAL
        if not debian.is_root_here():
            raise ImageUnavailable(_no_rootfs(trouble))
        with tempfile.TemporaryDirectory(prefix="alertdrill-rootfs-") as folder:
            tar = Path(folder, "rootfs.tar")
            try:
                debian.make_rootfs(SUITE, tar, task, self._cancelled)
                self._import(tar, task)
            except (AlertdrillError, DockerException, RequestException) as error:
                if "no space left on device" in str(error).lower():
                    raise disk_full(self._client, f"{ROOTFS_BUILT} was being made") from error
                raise ImageUnavailable(f"{ROOTFS_BUILT} can't be made: {error}") from error
        return ROOTFS_BUILT

    def _import(self, tar: Path, task: Task) -> None:
        task.update(f"import {ROOTFS_BUILT}")
        repository, tag = repository_and_tag(ROOTFS_BUILT)
        what = f"{ROOTFS_BUILT} was not imported"
        with self._calling(IMPORT_TIMEOUT_S, what) as (client, line), _Upload(tar, line) as upload:
            client.api.import_image(upload, repository, tag, changes=[f"LABEL {LABEL}=rootfs"])
        self._refuse_cancelled(what)

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


class _Upload(io.FileIO):
    """A file that can't be read any more once its ``line`` is cancelled: the engine, which gets
    half of it, then makes nothing of it."""

    def __init__(self, path: Path, line: HangUp) -> None:
        super().__init__(path)
        self._line = line

    def read(self, size: int | None = -1, /) -> bytes:
        if self._line.is_cancelled:
            raise ImageUnavailable(f"{self.name} was not sent to the end: cancelled")
        return super().read(-1 if size is None else size)


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


def buildable(image: Image) -> Prospect:
    """That ``image`` would be built."""
    where = f"images/{image.name}/"
    return Prospect(image, Outlook.BUILDABLE, image.version, where, unverified=image.stand_in)


def _built(image: Image, tag: str, source: Source, identifier: str) -> ResolvedImage:
    return ResolvedImage(image.name, tag, source, identifier, image.version, image.stand_in)
