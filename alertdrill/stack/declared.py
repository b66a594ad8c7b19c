"""From declarations to containers: which components belong together, and each one's options."""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from alertdrill.errors import StackError, UsageError
from alertdrill.stack.component import Component, StackSpec
from alertdrill.stack.leftovers import COMPONENT_LABEL

LOOPBACK = "127.0.0.1"
PORTS_LABEL = "alertdrill.ports"
RELEASES_LABEL = "alertdrill.releases"


def name_in(run_id: str, what: str) -> str:
    """What the engine calls a component, or a volume, of a run."""
    return f"alertdrill-{run_id}-{what}"


def selected(spec: StackSpec, names: Iterable[str]) -> dict[str, Component]:
    """The components called ``names`` and all that they depend on, in declared order, each with
    what it has beside the others.

    Raises UsageError when one isn't declared, or when they depend on each other in a circle.
    """
    known = {component.name: component for component in spec.components}
    chosen: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in known:
            raise UsageError(f"no component {name!r} is declared; there are {sorted(known)}")
        if name not in chosen:
            chosen.add(name)
            todo.extend(known[name].depends_on)
    components = {name: c.among(chosen) for name, c in known.items() if name in chosen}
    _refuse_cycles(components)
    return components


def _refuse_cycles(components: Mapping[str, Component]) -> None:
    done: set[str] = set()
    left = set(components)
    while left:
        free = {name for name in left if done.issuperset(components[name].depends_on)}
        if not free:
            raise UsageError(f"these components depend on each other in a circle: {sorted(left)}")
        done |= free
        left -= free


@dataclass(frozen=True)
class Blueprint:
    """What every container of one run has in common; ``container`` gives one that isn't started.

    ``images``     image name -> reference that the engine has
    ``labels``     of every container
    ``roots``      folders in which files for containers are looked for, in this order
    ``values``     what ``${name}`` in commands and environments stands for
    ``timeout_s``  of every call to the engine
    """

    run_id: str
    images: Mapping[str, str]
    labels: Mapping[str, str]
    roots: tuple[Path, ...]
    values: Mapping[str, str]
    timeout_s: int

    def container(
        self, component: Component, network: Network | None, ports: Mapping[str, int]
    ) -> DockerContainer:
        """``component`` with its published ``ports``: name -> number on loopback.

        Raises UsageError when a file or a value is missing, StackError without an image.
        """
        if component.image not in self.images:
            raise StackError(
                f"{component.name} needs image {component.image!r}, which wasn't resolved"
            )
        container = DockerContainer(
            self.images[component.image],
            docker_client_kw={"timeout": self.timeout_s},
            name=name_in(self.run_id, component.name),
            env={k: self._fill_in(v) for k, v in component.environment.items()},
            network=network,
            network_aliases=[component.name],
        )
        # Its typing knows host ports only; the engine takes an address with each as well.
        bindings: dict[str, Any] = {
            f"{component.ports[name]}/tcp": (LOOPBACK, number) for name, number in ports.items()
        }
        container.ports = bindings
        if component.command is not None:
            container.with_command([self._fill_in(word) for word in component.command])
        for path, size in component.tmpfs.items():
            container.with_tmpfs_mount(path, f"size={size}")
        for path, volume in component.volumes.items():
            container.with_volume_mapping(name_in(self.run_id, volume), path, "rw")
        for path, source in component.files.items():
            container.with_copy_into_container(self._source(source), path)
        return container.with_kwargs(**self._options(component))

    def _options(self, component: Component) -> dict[str, Any]:
        options: dict[str, Any] = {
            "labels": {
                **self.labels,
                COMPONENT_LABEL: component.name,
                PORTS_LABEL: ",".join(f"{n}={p}" for n, p in component.ports.items()),
                RELEASES_LABEL: json.dumps(
                    {name: self.images[name] for name in component.releases if name in self.images}
                ),
            },
            "hostname": component.name,
            "extra_hosts": dict(component.extra_hosts),
        }
        if component.entrypoint is not None:
            options["entrypoint"] = list(component.entrypoint)
        if component.memory_mb is not None:
            options["mem_limit"] = f"{component.memory_mb}m"
        if component.user is not None:
            options["user"] = component.user
        return options

    def _fill_in(self, text: str) -> str:
        try:
            return string.Template(text).substitute(self.values)
        except (KeyError, ValueError) as error:
            raise UsageError(f"{text!r} names a value that the stack hasn't: {error}") from error

    def _source(self, path: str) -> Path:
        for root in self.roots:
            if (root / path).exists():
                return root / path
        raise UsageError(f"the stack copies {path!r} into a container, but there is no such file")
