"""Is the stack whole? Looks for anything that a fault of any kind may have left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol, runtime_checkable

from docker.models.containers import Container

from alertdrill.errors import AlertdrillError, FaultError, StackError
from alertdrill.faults import compose, database, http, ledger, network
from alertdrill.faults.contract import Target


@runtime_checkable
class Inhabited(Target, Protocol):
    """A stack that can name its components."""

    @property
    def component_names(self) -> tuple[str, ...]: ...


def leftovers(stack: Target) -> list[str]:
    """One sentence for each toxic, disabled proxy, HTTP fault, container that isn't running or
    is detached from its network, CPU limit, database session of a fault, note of a fault, and
    fault that is driven in time.

    Empty: nothing is broken. What can't be asked is a leftover too: it isn't known to be whole.
    Raises FaultError when the stack can't name its components.
    """
    if not isinstance(stack, Inhabited):
        raise FaultError("this stack can't name its components, so it can't be searched")
    found = [f"{fault} is being driven" for fault in compose.driven(stack)]
    seen: list[Container] = []
    for component in stack.component_names:
        try:
            container = stack.container(component)
        except StackError as error:
            found.append(str(error))
            continue
        seen.append(container)
        found += _container(component, container)
        if database.is_database(container) and _is_up(container):
            found += _told(component, partial(database.sessions_left, service=component), stack)
    if seen:
        found += _told("the engine", partial(_noted, seen=seen[0]), stack)
    if network.PROXY in stack.component_names:
        found += _told(network.PROXY, _network_faults, stack)
    if http.PROXY in stack.component_names:
        found += _told(http.PROXY, _http_faults, stack)
    return found


def _told(asked: str, ask: Callable[[Target], list[str]], stack: Target) -> list[str]:
    try:
        return ask(stack)
    except AlertdrillError as error:
        return [f"{asked} can't be asked for its faults: {error}"]


def _container(component: str, container: Container) -> Iterator[str]:
    state, host = container.attrs["State"], container.attrs["HostConfig"]
    if not _is_up(container):
        yield f"{component} is {state['Status']}"
    elif host["NetworkMode"] not in container.attrs["NetworkSettings"]["Networks"]:
        yield f"{component} is detached from its network"
    # No component declares one; the engine can't forget a quota, but knows -1.
    if any((host.get(limit) or 0) > 0 for limit in ("CpuQuota", "NanoCpus")):
        yield f"{component} has a CPU limit"


def _is_up(container: Container) -> bool:
    state = container.attrs["State"]
    return bool(state["Running"]) and not state["Paused"]


def _noted(stack: Target, seen: Container) -> list[str]:
    faults = ledger.faults_noted(ledger.client_of(seen), stack.run_id)
    return [f"{fault} was injected and isn't undone" for fault in faults]


def _network_faults(stack: Target) -> list[str]:
    found = []
    for name, proxy in network.toxiproxy(stack).proxies().items():
        if not proxy.enabled:
            found.append(f"the proxy {name} is disabled")
        found += [f"the proxy {name} has the toxic {toxic}" for toxic in proxy.toxics]
    return found


def _http_faults(stack: Target) -> list[str]:
    faults = http.http_faults(stack).active().values()
    return [f"requests to {f['service']} meet the fault {f['id']}" for f in faults]
