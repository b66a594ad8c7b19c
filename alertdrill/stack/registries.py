"""Image registries, asked through the engine: which one a reference names, and does it answer."""

from __future__ import annotations

import threading

from docker.errors import DockerException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from alertdrill.stack.engine import connect

REGISTRY_TIMEOUT_S = 20
# What the engine calls the registry of a reference that names none.
DEFAULT_REGISTRY = "docker.io"


class Registries:
    """Remembers which registries don't answer, so that each is asked only once. Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}
        self._lock = threading.Lock()

    def trouble(self, reference: str) -> str | None:
        """Why ``reference`` can't be pulled, in the engine's words; None: it can."""
        registry = registry_of(reference)
        with self._lock:
            if self._known.get(registry) is not None:
                return self._known[registry]
            client = connect(REGISTRY_TIMEOUT_S)
            try:
                client.api.inspect_distribution(reference)  # type: ignore[no-untyped-call]
            except (DockerException, RequestException, HTTPError) as error:
                reason = reason_of(error)
                if not _is_about_the_image(reason):
                    self._known[registry] = reason
                return reason
            finally:
                client.close()
            self._known[registry] = None
            return None

    def failed(self, reference: str, reason: str) -> None:
        """A pull from the registry of ``reference`` failed: don't ask it again."""
        with self._lock:
            self._known[registry_of(reference)] = reason


def repository_and_tag(reference: str) -> tuple[str, str]:
    """``prom/prometheus:v3.5.0`` is (``prom/prometheus``, ``v3.5.0``); no tag is ``latest``."""
    name = reference.partition("@")[0]
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "latest")


def official_version(reference: str) -> str:
    """What the tag says: ``prom/prometheus:v3.5.0`` is 3.5.0, ``redis:8-bookworm`` is 8."""
    tag = repository_and_tag(reference)[1]
    return tag.removeprefix("v").partition("-")[0]


def registry_of(reference: str) -> str:
    """The registry that ``reference`` names: ``ghcr.io/a/b:1`` is ghcr.io."""
    first, slash, _ = reference.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return first if named else DEFAULT_REGISTRY


def reason_of(error: Exception) -> str:
    """The first line of what the engine said, at most 200 characters."""
    text = getattr(error, "explanation", None) or str(error)
    return str(text).strip().splitlines()[0][:200] if str(text).strip() else type(error).__name__


def _is_about_the_image(reason: str) -> bool:
    """The registry answered, and doesn't have this one (or not for everybody)."""
    words = ("not found", "manifest unknown", "access denied", "unauthorized", "name unknown")
    return any(word in reason.lower() for word in words)
