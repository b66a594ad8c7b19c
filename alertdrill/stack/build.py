"""One image build: its context as a tar, its hash, its steps, its failure in words."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import tarfile
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import docker
from docker.errors import APIError, DockerException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from alertdrill.errors import ImageUnavailable, UsageError
from alertdrill.stack.component import Image
from alertdrill.stack.engine import HangUp
from alertdrill.stack.progress import Task

SILENCE_TIMEOUT_S = 900
BUILD_TIMEOUT_S = 1_800.0
LOG_LINES_SHOWN = 30
LABEL = "alertdrill.image"
# Not zero: mitmproxy loads an addon when its file is newer than the epoch. 1 January 2020, UTC.
FILE_TIME = 1_577_836_800
_CA_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_CA_DEFAULT = "/etc/ssl/certs/ca-certificates.crt"
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_IGNORED_FOLDERS = frozenset(
    {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".git"}
)
_STEP = re.compile(r"^Step (\d+)/(\d+) : (.*)$")
_LAYER = re.compile(r"^ ---> ([0-9a-f]{12,64})$")
_NOISE = (" ---> ", "Removing intermediate container ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class ContextFile:
    """A file of a build context: where it is, and where the Dockerfile sees it."""

    source: Path
    name: str

    @property
    def mode(self) -> int:
        """Only the x bit is the project's; the rest is the umask of whoever cloned it."""
        return 0o755 if self.source.stat().st_mode & stat.S_IXUSR else 0o644


def context_files(project_root: Path, image: Image) -> list[ContextFile]:
    """What the build of ``image`` gets: its folder's content at the root, ``context`` by its path.

    Raises UsageError when a folder or file is missing.
    """
    folder = project_root / "images" / image.name
    if not (folder / "Dockerfile").is_file():
        raise UsageError(f"image {image.name}: there is no {folder / 'Dockerfile'}")
    found = {name: path for name, path in _walk(folder, folder)}
    for extra in image.context:
        path = project_root / extra
        if not path.exists():
            raise UsageError(f"image {image.name}: its context {extra!r} is not in {project_root}")
        found |= {name: path for name, path in _walk(path, project_root)}
    return [ContextFile(path, name) for name, path in sorted(found.items())]


def content_hash(files: Iterable[ContextFile], parents: Iterable[str]) -> str:
    """12 hexadecimal digits over names, x bits and bytes of ``files`` and the parents' tags."""
    total = hashlib.sha256()
    for parent in parents:
        total.update(f"parent {parent}\n".encode())
    for file in files:
        digest = hashlib.sha256(file.source.read_bytes()).hexdigest()
        total.update(f"file {file.name} {file.mode:o} {digest}\n".encode())
    return total.hexdigest()[:12]


def context_tar(files: Iterable[ContextFile], extra: Mapping[str, bytes]) -> IO[bytes]:
    """The context as a tar without owners and times, so that the engine's cache can match it."""
    spool = tempfile.SpooledTemporaryFile(max_size=16 * 1024 * 1024)  # noqa: SIM115
    with tarfile.open(fileobj=spool, mode="w") as tar:
        for file in files:
            _add(tar, file.name, file.source.read_bytes(), file.mode)
        for name, content in extra.items():
            _add(tar, name, content, 0o644)
    spool.seek(0)
    return spool


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


def proxy_arguments(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Build arguments for the proxies that the host uses, under both spellings of their names."""
    found: dict[str, str] = {}
    for name in _PROXY_VARIABLES:
        value = environment.get(name, environment.get(name.lower()))
        if value:
            found |= {name: value, name.lower(): value}
    return found


class Build:
    """One run of the engine's builder by ``client``, which ``line`` ends from another thread."""

    def __init__(
        self, client: docker.DockerClient, line: HangUp, image: Image, tag: str, log: Path
    ) -> None:
        self._client = client
        self._line = line
        self._image = image
        self._tag = tag
        self._log = log
        self._step = "before the first step"
        self._last: deque[str] = deque(maxlen=LOG_LINES_SHOWN)
        self._layer: str | None = None
        self._stages: list[str] = []

    def run(self, context: IO[bytes], arguments: Mapping[str, str], task: Task) -> None:
        """Build and tag. Raises ImageUnavailable: the failing step, the last lines, the log."""
        deadline = time.monotonic() + BUILD_TIMEOUT_S
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("w", encoding="utf-8") as log:
            try:
                for line in self._lines(context, arguments):
                    log.write(line + "\n")
                    log.flush()
                    self._note(line, task)
                    if time.monotonic() > deadline:
                        self._line.cancel()
                        raise self._failed(f"it was stopped after {BUILD_TIMEOUT_S:.0f} s")
            except (DockerException, RequestException, HTTPError, OSError) as error:
                log.write(f"{error}\n")
                raise self._failed(str(error)) from error
        if self._line.is_cancelled:
            raise self._failed("it was cancelled")
        self._drop_stages()

    def _lines(self, context: IO[bytes], arguments: Mapping[str, str]) -> Iterator[str]:
        events = self._client.api.build(
            fileobj=context,
            custom_context=True,
            tag=self._tag,
            buildargs=dict(arguments),
            labels={LABEL: self._image.name},
            rm=True,
            forcerm=True,
            decode=True,
            timeout=SILENCE_TIMEOUT_S,
        )
        rest = ""
        for event in events:
            if "error" in event:
                raise APIError(str(event["error"]))
            rest += str(event.get("stream", ""))
            *whole, rest = rest.split("\n")
            yield from (clean for line in whole if (clean := _COLOUR.sub("", line).rstrip()))

    def _note(self, line: str, task: Task) -> None:
        step = _STEP.match(line)
        if step is not None:
            number, count, words = step.groups()
            if words.startswith("FROM") and self._layer is not None:
                self._stages.append(self._layer)
            self._step = f"step {number}/{count} {' '.join(words.split())}"
            self._last.clear()
            task.update(self._step)
            return
        layer = _LAYER.match(line)
        if layer is not None:
            self._layer = layer.group(1)
        elif not line.startswith(_NOISE):
            self._last.append(line)

    def _drop_stages(self) -> None:
        """Remove what earlier stages left: gigabytes that no tag names."""
        for identifier in self._stages:
            # It may be a parent that others use, or be cached for a build beside this one.
            with suppress(APIError):
                if not self._client.images.get(identifier).tags:
                    self._client.images.remove(identifier)

    def _failed(self, why: str) -> ImageUnavailable:
        name = self._image.name
        if "no space left on device" in f"{why} {' '.join(self._last)}".lower():
            return disk_full(self._client, f"image {name} stopped at {self._step}")
        lines = "\n".join(f"    {line}" for line in self._last) or "    (it printed nothing)"
        return ImageUnavailable(
            f"image {name} can't be built: {why}\n"
            f"  failed in  {self._step[:200]}\n"
            f"  its last lines\n{lines}\n"
            f"  full log   {self._log}"
        )


# Compiling Prometheus and Jaeger side by side takes most of it, and gives it back at the end.
NEEDED_GIB = 10.0


def disk_full(client: docker.DockerClient, what: str) -> ImageUnavailable:
    """The sentence for a full disk: how much is free, how much is needed, how to free some."""
    root = "the engine's folder"
    free = "an unknown amount"
    with suppress(DockerException, RequestException, OSError, KeyError):
        root = str(client.info()["DockerRootDir"])
        status = os.statvfs(root)
        free = f"{status.f_bavail * status.f_frsize / 1024**3:.1f} GiB"
    return ImageUnavailable(
        f"the disk is full: {what}; {root} has {free} free and building all images needs about "
        f"{NEEDED_GIB:.0f} GiB; `docker image prune` or `make clean-images` frees some"
    )


def _walk(path: Path, root: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        if path.suffix != ".pyc":
            yield path.relative_to(root).as_posix(), path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(set(folders) - _IGNORED_FOLDERS)
        for name in sorted(names):
            yield from _walk(Path(folder, name), root)


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = mode
    info.mtime = FILE_TIME
    tar.addfile(info, io.BytesIO(content))
