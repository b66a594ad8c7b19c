"""A service is released again: another container takes the place of its own, until it is healed.

The replacement has the command, files, names and ports of the container whose place it takes, which
is kept under another name. Both facts stand in the engine: the replacement is the fault's note, and
its name is the service's, by which the stack finds it. So whoever asks the stack for the service's
container meanwhile gets what runs now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Protocol, runtime_checkable

from docker.client import DockerClient
from docker.models.containers import Container

from alertdrill.errors import FaultError
from alertdrill.faults import ledger
from alertdrill.faults.beside import address_of, looked_up
from alertdrill.faults.container import Kill
from alertdrill.faults.contract import Evidence, Fault, Target
from alertdrill.stack.declared import RELEASES_LABEL

# Configuration that a replacement has in common with the container whose place it takes, by the
# engine's names; of the host configuration, it is all.
_SAME = ("Cmd", "Entrypoint", "User", "WorkingDir", "StopSignal", "ExposedPorts", "Hostname")


@runtime_checkable
class Furnished(Protocol):
    """A stack that copies files into its containers."""

    def files(self, component: str) -> Mapping[str, str]:
        """By their paths in the container."""
        ...


@dataclass(frozen=True)
class Release(Fault):
    """What the faults share that release ``service`` again.

    The container is killed, not asked to end: how a service drains is what ``Stop`` is about.
    Healing brings it back as it was, what it had written and its memory excepted. A release that
    ends at once has been deployed all the same.

    ``seen_from``  the container beside which it is proven; its image needs python3
    """

    layer = "deploy"

    service: str
    seen_from: str = field(default="http-faults", kw_only=True)

    @property
    def _image(self) -> str | None:
        """The image that it is released from; None: its own."""
        return None

    @property
    def _changed(self) -> Mapping[str, str]:
        """Of its environment: name -> value."""
        return {}

    @property
    def answers(self) -> bool:
        return True

    @property
    def breaks(self) -> frozenset[str]:
        return frozenset({self.service})

    def inject(self, stack: Target) -> None:
        self.heal(stack)
        original = stack.container(self.service)
        with ledger.refusals(self.name):
            replacement = self._create(stack, original)
            if original.attrs["State"]["Running"]:
                original.kill()
            original.rename(f"{replacement.name}-aside")
            replacement.rename(str(original.name))
            replacement.start()

    def is_effective(self, stack: Target) -> Evidence:
        replacement = self._replacement(stack)
        if replacement is None:
            return Evidence(False, f"{self.service} has no replacement")
        state = replacement.attrs["State"]
        if state["Status"] == "created":
            return Evidence(False, f"the replacement of {self.service} wasn't started")
        if stack.container(self.service).id != replacement.id:
            return Evidence(False, f"{self.service} isn't its replacement")
        differs = self._differs(stack, replacement)
        if differs:
            return Evidence(False, f"the replacement has another {differs}")
        if not state["Running"]:
            return Evidence(
                True, f"the replacement of {self.service} ended with code {state['ExitCode']}"
            )
        address = address_of(replacement)
        found = self._found(stack)
        return Evidence(
            found == address,
            f"{self.service} leads to {found}, its replacement is at {address}",
        )

    def heal(self, stack: Target) -> None:
        replacement = self._replacement(stack)
        if replacement is None:
            return
        before = ledger.note_of(replacement).before
        with ledger.refusals(self.name):
            original = self._client(stack).containers.get(before["instead_of"])
            if replacement.attrs["State"]["Running"]:
                replacement.kill()  # it has the ports
            if replacement.name == before["name"]:
                replacement.rename(ledger.note_name(stack, self.name))
            if original.name != before["name"]:
                original.rename(before["name"])
            if not original.attrs["State"]["Running"]:
                original.start()
            replacement.remove(force=True, v=True)

    def is_healed(self, stack: Target) -> Evidence:
        """Running and ready: may wait as long as the component's own readiness allows."""
        if self._replacement(stack) is not None:
            return Evidence(False, f"{self.service} has a replacement")
        original = stack.container(self.service)
        if not original.attrs["State"]["Running"]:
            return Evidence(False, f"{self.service} is {original.attrs['State']['Status']}")
        address, found = address_of(original), self._found(stack)
        if found != address:
            return Evidence(False, f"{self.service} leads to {found}, it is at {address}")
        return Kill(self.service).is_healed(stack)  # running and ready

    def _found(self, stack: Target) -> str | None:
        return looked_up(stack, self.seen_from, self.service, python_of=self.seen_from)

    def _client(self, stack: Target) -> DockerClient:
        # Between two renames nothing has the service's name.
        return ledger.client_of(stack.container(self.seen_from))

    def _replacement(self, stack: Target) -> Container | None:
        return ledger.labelled(self._client(stack), stack.run_id, self.name)

    def _differs(self, stack: Target, replacement: Container) -> str:
        """What of ``replacement`` isn't as it was asked for; empty: nothing."""
        given = _pairs(replacement.attrs["Config"]["Env"])
        names = sorted(name for name, value in self._changed.items() if given.get(name) != value)
        if self._image is not None:
            wanted = self._reference(replacement, self._image)
            names += ["image"] if replacement.attrs["Config"]["Image"] != wanted else []
        return ", ".join(names)

    def _reference(self, container: Container, image: str) -> str:
        """What the engine calls ``image``. Raises FaultError."""
        known: dict[str, str] = json.loads(container.labels.get(RELEASES_LABEL, "{}"))
        if image not in known:
            raise FaultError(
                f"{self.name}: {self.service} can't be released from {image!r}: its component "
                f"names {', '.join(known) or 'nothing'}"
            )
        return known[image]

    def _create(self, stack: Target, original: Container) -> Container:
        """Created, furnished, not started."""
        config, host = original.attrs["Config"], original.attrs["HostConfig"]
        client = self._client(stack)
        image = original.attrs["Image"]
        # What the component declares; the rest of its environment is the image's own.
        from_image = client.images.get(image).attrs["Config"]["Env"] or ()
        declared = _pairs(entry for entry in config["Env"] if entry not in from_image)
        before = {"instead_of": original.id, "name": original.name}
        asked: dict[str, Any] = {name: config.get(name) for name in _SAME} | {
            "Image": image if self._image is None else self._reference(original, self._image),
            "Env": [f"{name}={value}" for name, value in {**declared, **self._changed}.items()],
            "Labels": config["Labels"] | ledger.labels(stack, self.name, before),
            "HostConfig": host,
            "NetworkingConfig": {
                "EndpointsConfig": {host["NetworkMode"]: {"Aliases": [self.service]}}
            },
        }
        api: Any = client.api  # its types leave this method out
        created = api.create_container_from_config(asked, name=ledger.note_name(stack, self.name))
        replacement = client.containers.get(created["Id"])
        for path in stack.files(self.service) if isinstance(stack, Furnished) else ():
            content, _ = original.get_archive(path)
            replacement.put_archive(str(PurePosixPath(path).parent), b"".join(content))
        return replacement


def _pairs(environment: Any) -> dict[str, str]:
    return dict(entry.partition("=")[::2] for entry in environment)
