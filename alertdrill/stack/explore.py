"""Stacks that were left running to explore: what runs where, and how to remove it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import docker

from alertdrill.stack.leftovers import COMPONENT_LABEL, RUN_LABEL, remove_run
from alertdrill.stack.run import KEPT_LABEL, PORTS_LABEL


@dataclass(frozen=True)
class RunningComponent:
    """One container: its state as the engine says, and its ports on loopback by name."""

    run_id: str
    component: str
    state: str
    urls: Mapping[str, str]


def running(client: docker.DockerClient, *, kept_only: bool = False) -> list[RunningComponent]:
    """Every component of every run on this engine, by run and name."""
    label = f"{KEPT_LABEL}=true" if kept_only else RUN_LABEL
    found = []
    for container in client.containers.list(
        all=True, filters={"label": label}, ignore_removed=True
    ):
        labels = container.labels
        bindings = container.attrs["HostConfig"]["PortBindings"] or {}
        urls = {}
        for pair in filter(None, labels.get(PORTS_LABEL, "").split(",")):
            name, _, number = pair.partition("=")
            for binding in bindings.get(f"{number}/tcp") or []:
                urls[name] = f"{binding['HostIp']}:{binding['HostPort']}"
        found.append(
            RunningComponent(
                labels[RUN_LABEL], labels.get(COMPONENT_LABEL, ""), container.status, urls
            )
        )
    return sorted(found, key=lambda c: (c.run_id, c.component))


def remove_kept(client: docker.DockerClient, only: str | None = None) -> list[str]:
    """Remove every stack that ``alertdrill up`` left: the ids of the runs that are gone.

    Stacks of a gate or a test are not touched, unless ``only`` names one. Raises
    DeadlineExceeded when one can't be removed.
    """
    label = RUN_LABEL if only else f"{KEPT_LABEL}=true"
    networks = client.networks.list(filters={"label": label})
    runs = {component.run_id for component in running(client, kept_only=only is None)}
    runs |= {network.attrs["Labels"][RUN_LABEL] for network in networks}
    chosen = sorted(runs if only is None else runs & {only})
    for run_id in chosen:
        remove_run(client, run_id)
    return chosen
