"""Is the stack whole? Looks for anything that a fault of any kind may have left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from alertdrill.errors import AlertdrillError, FaultError, StackError
from alertdrill.faults import http, network
from alertdrill.faults.contract import Target


@runtime_checkable
class Inhabited(Target, Protocol):
    """A stack that can name its components."""

    @property
    def component_names(self) -> tuple[str, ...]: ...


def leftovers(stack: Target) -> list[str]:
    """One sentence for each toxic, disabled proxy, HTTP fault and container that isn't running.

    Empty: nothing is broken. What can't be asked is a leftover too: it isn't known to be whole.
    Raises FaultError when the stack can't name its components.
    """
    if not isinstance(stack, Inhabited):
        raise FaultError("this stack can't name its components, so it can't be searched")
    found = []
    for component in stack.component_names:
        found += _container(stack, component)
    if network.PROXY in stack.component_names:
        found += _told(network.PROXY, _network_faults, stack)
    if http.PROXY in stack.component_names:
        found += _told(http.PROXY, _http_faults, stack)
    return found


def _told(proxy: str, ask: Callable[[Target], list[str]], stack: Target) -> list[str]:
    try:
        return ask(stack)
    except AlertdrillError as error:
        return [f"{proxy} can't be asked for its faults: {error}"]


def _container(stack: Target, component: str) -> list[str]:
    try:
        state = stack.container(component).attrs["State"]
    except StackError as error:
        return [str(error)]
    running = state["Running"] and not state["Paused"]
    return [] if running else [f"{component} is {state['Status']}"]


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
