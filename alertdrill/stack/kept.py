"""A stack that ``alertdrill up`` left running, reached from another process.

It is another run's. What could be told from outside this machine is none of ours, so a stack with
a container in any network but its own, or with a port that isn't on loopback, is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

import docker
from docker.models.containers import Container

from alertdrill.errors import StackError, UsageError
from alertdrill.stack.component import Component, StackSpec
from alertdrill.stack.declared import name_in
from alertdrill.stack.engine import engine_errors
from alertdrill.stack.explore import running
from alertdrill.stack.leftovers import COMPONENT_LABEL, RUN_LABEL
from alertdrill.stack.reach import Reach
from alertdrill.stack.run import PORTS_LABEL

UNSPECIFIED = "0.0.0.0"


class KeptStack(Reach):
    """The components of run ``run_id``, as the engine has them when this is made.

    Raises UsageError when something of it may be seen from outside, or isn't declared in ``spec``.
    """

    def __init__(self, client: docker.DockerClient, spec: StackSpec, run_id: str) -> None:
        with engine_errors(f"the stack {run_id} can't be looked at"):
            label: dict[str, str | list[str] | bool] = {"label": f"{RUN_LABEL}={run_id}"}
            found = client.containers.list(all=True, filters=label, ignore_removed=True)
            networks = {str(network.name) for network in client.networks.list(filters=label)}
        declared = {component.name: component for component in spec.components}
        self._ports: dict[str, dict[str, int]] = {}
        components: dict[str, Component] = {}
        for container in found:
            name = container.labels.get(COMPONENT_LABEL)
            if name is None:  # a note of a fault, or a program that looks at one
                continue
            refuse_public(container, networks)
            # A replacement has all labels of the container whose place it takes, and its name.
            if container.name != name_in(run_id, name):
                continue
            if name not in declared:
                raise UsageError(f"{name} of run {run_id} isn't declared in this project's stack")
            components[name] = declared[name]
            self._ports[name] = dict(_ports(container))
        super().__init__(run_id, client, components)

    def _identifier(self, component: str) -> str:
        if component not in self._ports:
            raise StackError(
                f"no component {component!r} runs here; there are {sorted(self._ports)}"
            )
        return name_in(self.run_id, component)

    def _published(self, component: str) -> Mapping[str, int]:
        self._identifier(component)
        return self._ports[component]


def kept_run(client: docker.DockerClient, wanted: str | None) -> str:
    """The id of the kept run, or of the one that is ``wanted``.

    Raises UsageError when there is none, or several and none was named.
    """
    runs = sorted({component.run_id for component in running(client, kept_only=True)})
    if wanted is not None and wanted not in runs:
        raise UsageError(f"`alertdrill up` left no run {wanted}; it left {_listed(runs)}")
    if not runs:
        raise UsageError("nothing runs here that may be broken; `alertdrill up` starts a stack")
    if wanted is None and len(runs) > 1:
        raise UsageError(f"several stacks run here, so say which by --run: {_listed(runs)}")
    return wanted or runs[0]


def refuse_public(container: Container, networks: set[str]) -> None:
    """Raise UsageError unless ``container`` is in ``networks`` alone and its ports on loopback."""
    attached = set(container.attrs["NetworkSettings"]["Networks"])
    strange = sorted(attached - networks)
    if strange:
        raise UsageError(
            f"{container.name} is in the network {', '.join(strange)}, which isn't its run's own: "
            "who else is there isn't known, so nothing of this run is broken"
        )
    for bindings in (container.attrs["HostConfig"]["PortBindings"] or {}).values():
        for binding in bindings or ():
            host = binding["HostIp"] or UNSPECIFIED
            if not ipaddress.ip_address(host).is_loopback:
                raise UsageError(
                    f"{container.name} publishes a port at {host}:{binding['HostPort']}, which "
                    "others can reach: nothing of this run is broken"
                )


def _ports(container: Container) -> Mapping[str, int]:
    """Host ports by name."""
    bindings = container.attrs["HostConfig"]["PortBindings"] or {}
    pairs = (p.split("=") for p in container.labels.get(PORTS_LABEL, "").split(",") if p)
    return {
        name: int(binding["HostPort"])
        for name, number in pairs
        for binding in bindings.get(f"{number}/tcp") or ()
    }


def _listed(runs: list[str]) -> str:
    return ", ".join(runs) or "none"
