"""Reaching what runs: the containers and ports of one run, and never anybody else's."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping

import docker
import httpx
from docker.models.containers import Container
from testcontainers.core.transferable import build_transfer_tar

from alertdrill.errors import AlertdrillError, ComponentNotReady, DeadlineExceeded, StackError
from alertdrill.stack.component import Component
from alertdrill.stack.declared import LOOPBACK
from alertdrill.stack.engine import engine_errors
from alertdrill.stack.execution import TIMED_OUT, run_in
from alertdrill.stack.leftovers import RUN_LABEL
from alertdrill.wait import eventually

LOG_LINES_SHOWN = 30
EXEC_TIMEOUT_S = 20


class Reach(ABC):
    """What faults, signals and readiness probes ask of a stack, answered by the engine.

    ``components``  what is declared of the run's components, by name
    """

    def __init__(
        self, run_id: str, client: docker.DockerClient, components: Mapping[str, Component]
    ) -> None:
        self._run_id = run_id
        self._client = client
        self._components = components
        self._cancelled = threading.Event()

    @abstractmethod
    def _identifier(self, component: str) -> str:
        """Of the container that has the component's place, for the engine. Raises StackError when
        nothing was started there."""

    @abstractmethod
    def _published(self, component: str) -> Mapping[str, int]:
        """The component's ports on loopback, by name. Raises StackError when it isn't there."""

    @property
    def run_id(self) -> str:
        return self._run_id

    @property
    def component_names(self) -> tuple[str, ...]:
        return tuple(self._components)

    def address(self, component: str, port: str) -> tuple[str, int]:
        """Host and port on loopback. Raises StackError when it isn't published."""
        ports = self._published(component)
        if port not in ports:
            raise StackError(
                f"{component} publishes no port {port!r}; it has {sorted(ports) or 'none'}"
            )
        return LOOPBACK, ports[port]

    def url(self, component: str, port: str = "http") -> str:
        host, number = self.address(component, port)
        return f"http://{host}:{number}"

    def container(self, component: str) -> Container:
        """The container as the engine sees it now.

        Whatever is done to a container passes here. Raises StackError when it is gone or another
        run's.
        """
        identifier = self._identifier(component)
        with engine_errors(f"{component} of run {self._run_id} can't be looked at"):
            found = self._client.containers.get(identifier)
        owner = found.labels.get(RUN_LABEL)
        if owner != self._run_id:
            raise StackError(
                f"{found.name} is of {f'run {owner}' if owner else 'no run'}, "
                f"not of run {self._run_id}: it is left alone"
            )
        return found

    def exec(self, component: str, argv: list[str]) -> tuple[int, str]:
        """Exit code and output (both streams) of ``argv`` in the container.

        Raises StackError when it can't be run or takes longer than ``EXEC_TIMEOUT_S``.
        """
        with engine_errors(f"{component} can't run {argv[0]}"):
            code, output = run_in(self.container(component), argv, timeout_s=EXEC_TIMEOUT_S)
        if code == TIMED_OUT:
            raise StackError(f"{component}: {argv[0]} took longer than {EXEC_TIMEOUT_S} s")
        return code, output

    def files(self, component: str) -> Mapping[str, str]:
        """Container path -> project path of every file that was copied into ``component``."""
        self._identifier(component)
        return self._components[component].files

    def put(self, component: str, path: str, content: bytes) -> None:
        """Write a file into the running container."""
        with engine_errors(f"{path} can't be written into {component}"):
            self.container(component).put_archive("/", build_transfer_tar(content, path))

    def log(self, component: str, since: float) -> bytes:
        """What ``component`` printed since a Unix time. Raises StackError."""
        with engine_errors(f"the log of {component} can't be read"):
            return bytes(self.container(component).logs(since=float(since)))

    def wait_ready(self, component: str) -> float:
        """Wait until ``component`` says that it is ready: the seconds that took.

        Raises ComponentNotReady with its last log lines.
        """
        self._identifier(component)
        begun = time.monotonic()
        ready = self._components[component].ready
        seen = "nothing yet"

        def probe() -> bool:
            nonlocal seen
            try:
                evidence = ready.probe(self, component)
            except (httpx.HTTPError, StackError) as error:
                seen = str(error) or type(error).__name__
                state = self.container(component).attrs["State"]
                if not state["Running"]:
                    seen = f"it exited with code {state['ExitCode']}"
                    raise self._not_ready(component, seen, begun) from error
                return False
            seen = evidence.seen
            return evidence.holds

        try:
            eventually(
                probe,
                timeout_s=ready.timeout_s,
                what=f"{component}: {ready.awaits}",
                interval_s=0.1,
                cancelled=self._cancelled,
            )
        except DeadlineExceeded as error:
            raise self._not_ready(component, seen, begun) from error
        return time.monotonic() - begun

    def _not_ready(self, component: str, seen: str, begun: float) -> AlertdrillError:
        ready = self._components[component].ready
        waited = time.monotonic() - begun
        if self._cancelled.is_set():
            return StackError(f"{component} was not awaited: the stack is being stopped")
        return ComponentNotReady(
            f"{component} did not get ready: awaited {ready.awaits} for {waited:.1f} s, "
            f"saw: {seen}\n--- its last {LOG_LINES_SHOWN} log lines\n"
            + self._log_tail(component, LOG_LINES_SHOWN)
        )

    def _log_tail(self, component: str, lines: int) -> str:
        try:
            with engine_errors("its log can't be read"):
                return str(self.container(component).logs(tail=lines).decode(errors="replace"))
        except StackError as error:
            return f"(no log: {error})"
