"""A stack, declared as data: images, components, profiles."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

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
    ``stand_in``  what is built is another program than the official image has: a sentence that
                  says what, therefore, isn't verified
    """

    name: str
    version: str
    official: str | None = None
    needs: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    buildable: bool = True
    stand_in: str | None = None


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
    ``files_beside``  component -> files that are copied as well when that runs too
    ``tmpfs``        container path -> size, e.g. ``"64m"``; gone when the container stops; root's,
                     with the mode that the folder has in the image (1777 where it has none)
    ``volumes``      container path -> volume of the stack
    ``releases``     images that a fault may release in its place
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
    files_beside: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    releases: tuple[str, ...] = ()
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    memory_mb: int | None = None
    user: str | None = None

    def among(self, names: Collection[str]) -> Component:
        """The same with what it has beside ``names`` as part of its environment and files."""
        peers = [name for name in (*self.environment_beside, *self.files_beside) if name in names]
        environment, files = dict(self.environment), dict(self.files)
        for peer in peers:
            environment |= self.environment_beside.get(peer, {})
            files |= self.files_beside.get(peer, {})
        return replace(
            self, environment=environment, environment_beside={}, files=files, files_beside={}
        )


@dataclass(frozen=True)
class StackSpec:
    """Everything that can be started: images, components, named profiles and secret names.

    ``durations``  name -> seconds on the real clock; in commands and environments ``${name}`` is
                   what is left of them on the run's
    ``volumes``  name -> size of a file system in memory, e.g. ``"64m"``; it lasts as long as any
                 container that has it runs, so one that must outlive a restart belongs to two
    """

    images: tuple[Image, ...]
    components: tuple[Component, ...]
    profiles: Mapping[str, tuple[str, ...]]
    secrets: tuple[str, ...] = ()
    volumes: Mapping[str, str] = field(default_factory=dict)
    durations: Mapping[str, float] = field(default_factory=dict)

    def durations_on(self, factor: float) -> dict[str, str]:
        """What ``durations`` are on a clock that is ``factor`` times as fast."""
        return {name: f"{seconds / factor:g}" for name, seconds in self.durations.items()}
