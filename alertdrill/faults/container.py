"""Faults of whole containers: killed, stopped, paused."""

from __future__ import annotations

import socket
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import requests
from docker.errors import APIError, DockerException

from alertdrill.errors import ComponentNotReady, FaultError
from alertdrill.faults.contract import Evidence, Fault, Target

CONNECT_TIMEOUT_S = 1.0
GRACE_S = 10


@runtime_checkable
class Awaitable(Protocol):
    """A stack that can tell when a component is ready again."""

    def wait_ready(self, component: str) -> object:
        """Raises ComponentNotReady."""
        ...


@dataclass(frozen=True)
class _ContainerFault(Fault):
    """What the faults of one container share: ``service`` is the component's name."""

    layer = "container"

    service: str

    @property
    def name(self) -> str:
        return f"{type(self).__name__.lower()}({self.service})"

    @property
    def breaks(self) -> frozenset[str]:
        return frozenset({self.service})

    def inject(self, stack: Target) -> None:
        self._do(stack, self._break)

    def heal(self, stack: Target) -> None:
        self._do(stack, _start)

    def is_healed(self, stack: Target) -> Evidence:
        """Running, not paused, and ready where the stack can tell: may wait as long as the
        component's own readiness allows."""
        state = _state(stack, self.service)
        if not state["Running"] or state["Paused"]:
            return Evidence(False, f"{self.service} is {state['Status']}")
        if not isinstance(stack, Awaitable):
            return Evidence(True, f"{self.service} is running; whether it is ready can't be asked")
        try:
            stack.wait_ready(self.service)
        except ComponentNotReady as error:
            return Evidence(False, str(error))
        return Evidence(True, f"{self.service} is running and ready")

    @staticmethod
    @abstractmethod
    def _break(container: Any) -> None:
        """Do it to a docker Container."""

    def _do(self, stack: Target, action: Any) -> None:
        try:
            action(stack.container(self.service))
        except (DockerException, requests.RequestException) as error:
            raise FaultError(f"{self.name}: the engine refused: {error}") from error


@dataclass(frozen=True)
class Kill(_ContainerFault):
    """The container gets SIGKILL and stays down. Healed by starting it again, at the same ports.

    Proven by: the engine says that it isn't running, and its published ports refuse connections.
    """

    @staticmethod
    def _break(container: Any) -> None:
        if _is_up(container):
            container.kill()

    def is_effective(self, stack: Target) -> Evidence:
        container = stack.container(self.service)
        state = container.attrs["State"]
        if state["Running"]:
            return Evidence(False, f"{self.service} is {state['Status']}")
        answering = [port for port in _published(container) if _accepts(*port)]
        seen = f"{self.service} is {state['Status']} with code {state['ExitCode']}"
        if answering:
            return Evidence(False, f"{seen}, but {answering[0][0]}:{answering[0][1]} accepts")
        return Evidence(True, f"{seen}, none of its {len(_published(container))} ports accepts")


@dataclass(frozen=True)
class Stop(Kill):
    """As ``Kill``, but asked to end: SIGTERM, and SIGKILL only after 10 seconds."""

    @staticmethod
    def _break(container: Any) -> None:
        if _is_up(container):
            container.stop(timeout=GRACE_S)


@dataclass(frozen=True)
class Pause(_ContainerFault):
    """Every process of the container is frozen; its connections stay open and silent.

    Proven by: the engine says so, and refuses to run a program in it.
    """

    @staticmethod
    def _break(container: Any) -> None:
        if not container.attrs["State"]["Paused"]:
            container.pause()

    def is_effective(self, stack: Target) -> Evidence:
        container = stack.container(self.service)
        if not container.attrs["State"]["Paused"]:
            return Evidence(False, f"{self.service} is {container.attrs['State']['Status']}")
        try:
            container.exec_run(["true"])
        except APIError as error:
            return Evidence(True, f"{self.service} is paused: {error.explanation}")
        return Evidence(False, f"{self.service} is said to be paused, but runs programs")


def _start(container: Any) -> None:
    state = container.attrs["State"]
    if state["Paused"]:
        container.unpause()
    elif not state["Running"]:
        container.start()


def _is_up(container: Any) -> bool:
    return bool(container.attrs["State"]["Running"])


def _state(stack: Target, service: str) -> dict[str, Any]:
    state: dict[str, Any] = stack.container(service).attrs["State"]
    return state


def _published(container: Any) -> list[tuple[str, int]]:
    """Host and port of what the container publishes, whether it runs or not."""
    bindings = container.attrs["HostConfig"]["PortBindings"] or {}
    return [
        (host["HostIp"] or "127.0.0.1", int(host["HostPort"]))
        for hosts in bindings.values()
        for host in hosts or ()
        if host["HostPort"]
    ]


def _accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False
