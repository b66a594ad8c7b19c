"""Faults of a deploy: a release that was given the wrong configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Protocol, runtime_checkable

from docker.models.containers import Container

from alertdrill.errors import UsageError
from alertdrill.faults import ledger
from alertdrill.faults.beside import address_of, looked_up
from alertdrill.faults.container import GRACE_S, Kill
from alertdrill.faults.contract import Evidence, Fault, Target

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
class BadConfiguration(Fault):
    """``service`` is released again with ``environment`` changed: name -> value.

    A replacement takes the place of its container: same image, command, files, names and ports.
    The container itself is stopped and kept; healing brings it back as it was. So what asks the
    stack for the service's container meanwhile finds it stopped. A release that ends at once,
    since its configuration is refused, has been deployed all the same.

    ``seen_from``  the container beside which it is proven; its image needs python3

    Proven by: from beside ``seen_from``, the name of the service leads to the replacement, which
    has the changed environment; or the replacement has ended.
    """

    layer = "deploy"

    service: str
    environment: Mapping[str, str] = field(hash=False)
    seen_from: str = field(default="http-faults", kw_only=True)

    def __post_init__(self) -> None:
        if not self.environment:
            raise UsageError("a bad configuration changes at least one variable")

    @property
    def name(self) -> str:
        # Values may be secret.
        return f"badconfiguration({self.service}:{'+'.join(sorted(self.environment))})"

    @property
    def breaks(self) -> frozenset[str]:
        return frozenset({self.service})

    def inject(self, stack: Target) -> None:
        if ledger.container_of(stack, self.name, self.service) is not None:
            self.heal(stack)
        original = stack.container(self.service)
        with ledger.refusals(self.name):
            replacement = self._replacement(stack, original)
            original.stop(timeout=GRACE_S)
            replacement.start()

    def is_effective(self, stack: Target) -> Evidence:
        replacement = ledger.container_of(stack, self.name, self.service)
        if replacement is None:
            return Evidence(False, f"{self.service} has no replacement")
        if stack.container(self.service).attrs["State"]["Running"]:
            return Evidence(False, f"{self.service} runs beside its replacement")
        state = replacement.attrs["State"]
        if state["Status"] == "created":
            return Evidence(False, f"the replacement of {self.service} wasn't started")
        if not state["Running"]:
            return Evidence(
                True, f"the replacement of {self.service} ended with code {state['ExitCode']}"
            )
        given = dict(entry.partition("=")[::2] for entry in replacement.attrs["Config"]["Env"])
        missing = sorted(k for k, v in self.environment.items() if given.get(k) != v)
        if missing:
            return Evidence(False, f"the replacement has another {', '.join(missing)}")
        address = address_of(replacement)
        found = self._found(stack)
        return Evidence(
            found == address,
            f"{self.service} leads to {found}, its replacement is at {address}",
        )

    def heal(self, stack: Target) -> None:
        # The replacement first: it has the ports.
        ledger.erase(stack, self.name, self.service)
        original = stack.container(self.service)
        if not original.attrs["State"]["Running"]:
            with ledger.refusals(self.name):
                original.start()

    def is_healed(self, stack: Target) -> Evidence:
        """Running and ready: may wait as long as the component's own readiness allows."""
        if ledger.container_of(stack, self.name, self.service) is not None:
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

    def _replacement(self, stack: Target, original: Container) -> Container:
        """Created, furnished, not started."""
        config, host = original.attrs["Config"], original.attrs["HostConfig"]
        before = dict(entry.partition("=")[::2] for entry in config["Env"])
        client = ledger.client_of(original)
        asked: dict[str, Any] = {name: config.get(name) for name in _SAME} | {
            "Image": original.attrs["Image"],
            "Env": [f"{name}={value}" for name, value in {**before, **self.environment}.items()],
            "Labels": config["Labels"] | ledger.labels(stack, self.name, {}),
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
