"""A stack, declared as data: images, components, profiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from alertdrill.stack.target import Evidence, Target


@dataclass(frozen=True)
class Image:
    """Where an image comes from: present locally, pulled from ``official``, built from a folder.

    ``name``      the folder below ``images/`` and the repository of the built image
    ``official``  the official image pinned by tag (and digest where known); None: only built
    ``needs``     images that this one is built from; each is passed as build argument ``NAME``
                  (upper case, ``-`` as ``_``) with its tag
    ``context``   further folders or files of the project that the build needs, by their path
    ``version``   what the build gives, for people
    ``buildable`` False: there is no folder; without the official image it can't be had
    """

    name: str
    version: str
    official: str | None = None
    needs: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    buildable: bool = True


Probe = Callable[[Target, str], Evidence]


@dataclass(frozen=True)
class Readiness:
    """Ready when ``probe(stack, component)`` holds; ``awaits`` says so in words.

    Asked again until it holds or ``timeout_s`` has passed; a probe that raises
    StackError or httpx.HTTPError counts as not yet.
    """

    awaits: str
    probe: Probe
    timeout_s: float = 60.0


@dataclass(frozen=True)
class Component:
    """One container of a stack.

    ``name``         its name in the run's network
    ``ports``        published on random loopback ports, by a name that callers use
    ``command``      words may hold ``${name}``: durations of the run's clock
    ``environment``  values may hold ``${secret}``: the run's generated secrets
    ``environment_beside``  component -> what is added to the environment when that runs too
    ``files``        container path -> path in the project; a file that the run has rewritten
                     (compressed rules) takes the place of the project's
    ``tmpfs``        container path -> size, e.g. ``"64m"``
    ``user``         overrides the image's user
    """

    name: str
    image: str
    ready: Readiness
    ports: Mapping[str, int] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    environment_beside: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    memory_mb: int | None = None
    user: str | None = None


@dataclass(frozen=True)
class StackSpec:
    """Everything that can be started: images, components, named profiles and secret names.

    ``durations``  name -> seconds on the real clock; in commands and environments ``${name}`` is
                   what is left of them on the run's
    """

    images: tuple[Image, ...]
    components: tuple[Component, ...]
    profiles: Mapping[str, tuple[str, ...]]
    secrets: tuple[str, ...] = ()
    durations: Mapping[str, float] = field(default_factory=dict)

    def durations_on(self, factor: float) -> dict[str, str]:
        """What ``durations`` are on a clock that is ``factor`` times as fast."""
        return {name: f"{seconds / factor:g}" for name, seconds in self.durations.items()}
