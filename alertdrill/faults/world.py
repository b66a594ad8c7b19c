"""Is the stack whole, and as it was? All that faults of any kind can change, read and compared."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from docker.models.containers import Container

from alertdrill.errors import AlertdrillError, FaultError, StackError
from alertdrill.faults import compose, database, http, ledger
from alertdrill.faults.contract import Inhabited, Target
from alertdrill.faults.toxiproxy import PROXY, toxiproxy

# More than this is how an engine that can't forget a limit says that there is none.
NO_LIMIT = 2**62


@dataclass(frozen=True)
class Sight:
    """One attribute of one thing, as the thing itself says, or the engine of a container.

    ``wrong``: a sentence, if only a fault makes it so.
    """

    thing: str
    attribute: str
    value: str
    wrong: str | None = None


@dataclass(frozen=True)
class World:
    """What was seen at one moment. ``silent``: things that couldn't be asked, and why: they
    aren't known to be whole."""

    sights: tuple[Sight, ...]
    silent: Mapping[str, str]

    @property
    def wrong(self) -> list[str]:
        """One sentence for each thing that is broken or can't be asked."""
        return [*self.silent.values(), *(s.wrong for s in self.sights if s.wrong is not None)]

    def changes(self, after: World) -> list[str]:
        """One sentence for each thing that is wrong in ``after``, or isn't as it was here."""
        now = {(s.thing, s.attribute): s for s in after.sights}
        then = {(s.thing, s.attribute): s for s in self.sights}
        found = after.wrong
        # One that is stopped isn't asked for its settings; that it is stopped says it all.
        mute = set(after.silent) | {s.thing for s in after.sights if s.wrong is not None}
        for thing, attribute in dict.fromkeys((*then, *now)):
            was, is_ = then.get((thing, attribute)), now.get((thing, attribute))
            if (is_ is None and thing in mute) or (is_ is not None and is_.wrong is not None):
                continue
            if _value(was) != _value(is_):
                found.append(f"{thing}: {attribute} was {_value(was)}, is {_value(is_)}")
        return found


def _value(sight: Sight | None) -> str:
    return "absent" if sight is None else sight.value


def leftovers(stack: Target) -> list[str]:
    """One sentence for each toxic, disabled proxy, HTTP fault, container that isn't running or
    is detached from its network, CPU limit, database session of a fault, replica that doesn't
    replay, note of a fault, and fault that is driven in time.

    Empty: nothing is broken. Raises FaultError when the stack can't name its components.
    """
    return survey(stack).wrong


def survey(stack: Target) -> World:
    """Look at every container, proxy and database of the stack, and for notes of faults.

    What a fault writes into a container is not looked for there: its note tells, which is erased
    only when the fault has seen it undone. Raises FaultError when the stack can't name its
    components.
    """
    if not isinstance(stack, Inhabited):
        raise FaultError("this stack can't name its components, so it can't be searched")
    sights: list[Sight] = []
    silent: dict[str, str] = {}

    def look(thing: str, see: Callable[[Target], Iterable[Sight]]) -> None:
        try:
            sights.extend(see(stack))
        except AlertdrillError as error:
            silent[thing] = f"{thing} can't be asked for its faults: {error}"

    seen: list[Container] = []
    for component in stack.component_names:
        try:
            container = stack.container(component)
        except StackError as error:
            silent[component] = str(error)
            continue
        seen.append(container)
        sights += _container(component, container)
        if database.is_database(container) and _is_up(container):
            look(component, partial(_database, service=component))
    if seen:
        look("the engine", partial(_noted, seen=seen[0]))
    if PROXY in stack.component_names:
        look(PROXY, _proxies)
    if http.PROXY in stack.component_names:
        look(http.PROXY, _http_faults)
    driven = [Sight(f, "driver", "alive", f"{f} is being driven") for f in compose.driven(stack)]
    return World((*driven, *sights), silent)


def _container(component: str, container: Container) -> Iterator[Sight]:
    """A container's variables, command and image can't change while its id is the same."""
    state, host = container.attrs["State"], container.attrs["HostConfig"]
    networks = container.attrs["NetworkSettings"]["Networks"]
    yield Sight(component, "container", str(container.short_id))
    yield Sight(
        component,
        "state",
        state["Status"],
        None if _is_up(container) else f"{component} is {state['Status']}",
    )
    detached = _is_up(container) and host["NetworkMode"] not in networks
    named = {name: sorted(network.get("Aliases") or ()) for name, network in networks.items()}
    yield Sight(
        component,
        "networks",
        ", ".join(f"{name} as {'+'.join(named[name])}" for name in sorted(named)) or "none",
        f"{component} is detached from its network" if detached else None,
    )
    yield Sight(component, "restarts", str(container.attrs["RestartCount"]))
    # No component declares one.
    quota = next((n for n in map(host.get, ("CpuQuota", "NanoCpus")) if n and n > 0), None)
    limited = None if quota is None else f"{component} has a CPU limit"
    yield Sight(component, "CPU quota", _limit(quota), limited)
    yield Sight(component, "memory limit", _limit(host.get("Memory")))
    yield Sight(component, "memory and swap limit", _limit(host.get("MemorySwap")))
    yield from _process(component, int(state["Pid"]))


def _limit(value: int | None) -> str:
    return str(value) if value and 0 < value < NO_LIMIT else "none"


def _process(component: str, pid: int) -> Iterator[Sight]:
    """Where the engine's processes are visible from here: anyone may read their limits."""
    with contextlib.suppress(OSError):
        limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
        soft = re.search(r"^Max open files +(\d+|unlimited)", limits, re.MULTILINE)
        if pid and soft:
            yield Sight(component, "limit of open files", soft[1])


def _is_up(container: Container) -> bool:
    state = container.attrs["State"]
    return bool(state["Running"]) and not state["Paused"]


def _database(stack: Target, service: str) -> Iterator[Sight]:
    state = database.state_of(stack, service)
    for application, count in state.sessions.items():
        held = f"{service} has {count} sessions of {application}"
        yield Sight(service, f"sessions of {application}", str(count), held)
    for setting, value in state.settings.items():
        paused = setting == database.REPLAY and value != "not paused"
        wrong = f"{service} doesn't replay: it is {value}" if paused else None
        yield Sight(service, f"setting {setting}", value, wrong)


def _noted(stack: Target, seen: Container) -> Iterator[Sight]:
    for fault in ledger.faults_noted(ledger.client_of(seen), stack.run_id):
        yield Sight(
            "the engine", f"note of {fault}", "there", f"{fault} was injected and isn't undone"
        )


def _proxies(stack: Target) -> Iterator[Sight]:
    for name, proxy in toxiproxy(stack).proxies().items():
        which = f"the proxy {name}"
        state = "enabled" if proxy.enabled else "disabled"
        wrong = None if proxy.enabled else f"{which} is disabled"
        yield Sight(PROXY, which, f"{state}, {proxy.listen} to {proxy.upstream}", wrong)
        for toxic, attributes in proxy.toxics.items():
            told = json.dumps(attributes, sort_keys=True)
            yield Sight(PROXY, f"{which}, {toxic}", told, f"{which} has the toxic {toxic}")


def _http_faults(stack: Target) -> Iterator[Sight]:
    for fault in http.http_faults(stack).active().values():
        wrong = f"requests to {fault['service']} meet the fault {fault['id']}"
        yield Sight(http.PROXY, f"fault {fault['id']}", "in force", wrong)
