"""A running stack: started in parallel along its dependencies, and gone without a trace."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import docker
from docker.errors import APIError, NotFound
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from alertdrill.errors import StackError, UsageError
from alertdrill.shield import first_finished, signals_deferred
from alertdrill.stack.component import Component, StackSpec
from alertdrill.stack.declared import LOOPBACK, PORTS_LABEL, Blueprint, name_in, selected
from alertdrill.stack.engine import engine_errors
from alertdrill.stack.leftovers import RUN_LABEL, remove_run
from alertdrill.stack.ports import PortPicker
from alertdrill.stack.reach import Reach
from alertdrill.stack.reaper import Reaper

__all__ = ["KEPT_LABEL", "LOOPBACK", "PORTS_LABEL", "Stack", "Started", "new_run_id"]

KEPT_LABEL = "alertdrill.kept"
ENGINE_TIMEOUT_S = 30
PORT_TRIES = 4


def new_run_id() -> str:
    """Sortable by time, unique by chance: ``20260131-154500-3fa9c1``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


@dataclass(frozen=True)
class Started:
    """One component that became ready, ``ready_s`` seconds after the stack began to start."""

    component: str
    image: str
    ready_s: float


@dataclass
class _Running:
    component: Component
    container: DockerContainer
    ports: dict[str, int] = field(default_factory=dict)


class Stack(Reach):
    """The containers of one run, on their own network, under one label.

    ``images``   image name -> reference that the engine has
    ``overlay``  a folder whose files take the place of the project's when copied into containers
    ``values``   what ``${name}`` in commands and environments stands for, beside the secrets
    ``keep``     once started, leave the containers behind (``alertdrill up``)

    Use as a context manager, or call ``start`` and ``stop``. ``stop`` may be called at any time
    and more than once.
    """

    def __init__(
        self,
        spec: StackSpec,
        components: Iterable[str],
        *,
        images: Mapping[str, str],
        project_root: Path,
        run_id: str | None = None,
        overlay: Path | None = None,
        values: Mapping[str, str] | None = None,
        log_dir: Path | None = None,
        keep: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        chosen = selected(spec, components)
        client = docker.from_env(timeout=ENGINE_TIMEOUT_S)
        super().__init__(run_id or new_run_id(), client, chosen)
        self._images = images
        self._volumes = spec.volumes
        self._log_dir = log_dir
        self._keep = keep
        self._tell = tell
        self._ports = PortPicker()
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()
        self._network: Network | None = None
        self._reaper: Reaper | None = None
        self._stopped = False
        self.secrets = {name: secrets.token_urlsafe(24) for name in spec.secrets}
        self._blueprint = Blueprint(
            run_id=self._run_id,
            images=images,
            labels=self._labels(),
            roots=tuple(root for root in (overlay, project_root) if root is not None),
            values=spec.durations_on(1) | dict(values or {}) | self.secrets,
            timeout_s=ENGINE_TIMEOUT_S,
        )
        self.started: list[Started] = []
        testcontainers_config.ryuk_disabled = True  # the reaper needs no image of its own

    @property
    def reaper_pid(self) -> int | None:
        """The process that cleans up after this one's death; None for a kept stack."""
        return None if self._reaper is None else self._reaper.pid

    # --- life ------------------------------------------------------------------------------

    def __enter__(self) -> Stack:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> Stack:
        """Start everything; on any failure take it all down again and raise the first one."""
        begun = time.monotonic()
        try:
            self._reaper = Reaper(self._run_id)
            with engine_errors(f"the stack {self._run_id} can't be started"):
                with signals_deferred():  # the engine would make it after the removal of all
                    self._network = self._create_network()
                self._create_volumes()
                self._start_all(begun)
            if self._keep:
                self._reaper.release()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Save the logs, remove containers and network, dismiss the reaper."""
        if self._stopped:
            return
        self._stopped = True
        self._cancelled.set()
        with signals_deferred():
            try:
                if self._log_dir is not None:
                    self.save_logs(self._log_dir)
                with engine_errors(f"the stack {self._run_id} can't be removed"):
                    remove_run(self._client, self._run_id)
            finally:
                if self._reaper is not None:
                    self._reaper.dismiss()
                for running in self._running.values():
                    running.container.get_docker_client().client.close()
                self._client.close()

    def save_logs(self, folder: Path) -> None:
        """Write every container's log to ``folder``/<component>.log."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in list(self._running):
            (folder / f"{name}.log").write_text(self._log_tail(name, 10_000), encoding="utf-8")

    # --- inside ----------------------------------------------------------------------------

    def _get(self, component: str) -> _Running:
        with self._lock:
            if component not in self._running:
                raise StackError(
                    f"no component {component!r} runs here; there are {sorted(self._running)}"
                )
            return self._running[component]

    def _identifier(self, component: str) -> str:
        # Not what was started: another container may have taken its place.
        return name_in(self._run_id, self._get(component).component.name)

    def _published(self, component: str) -> Mapping[str, int]:
        return self._get(component).ports

    def _labels(self) -> dict[str, str]:
        labels = {RUN_LABEL: self._run_id}
        return labels | {KEPT_LABEL: "true"} if self._keep else labels

    def _create_network(self) -> Network:
        network = Network(docker_network_kw={"labels": self._labels()})
        network.name = f"alertdrill-{self._run_id}"
        return network.create()

    def _create_volumes(self) -> None:
        used = {name for c in self._components.values() for name in c.volumes.values()}
        for name in sorted(used):
            if name not in self._volumes:
                raise UsageError(f"no volume {name!r}; the stack declares {sorted(self._volumes)}")
            self._client.volumes.create(
                name_in(self._run_id, name),
                driver="local",
                driver_opts={
                    "type": "tmpfs",
                    "device": "tmpfs",
                    "o": f"size={self._volumes[name]},mode=1777",
                },
                labels=self._labels(),
            )

    def _start_all(self, begun: float) -> None:
        waiting = dict(self._components)
        futures: dict[Future[None], str] = {}
        done: set[str] = set()
        with ThreadPoolExecutor(max_workers=len(waiting), thread_name_prefix="start") as pool:
            try:
                while waiting or futures:
                    for name, component in list(waiting.items()):
                        if done.issuperset(component.depends_on):
                            with signals_deferred():
                                futures[pool.submit(self._start_one, component, begun)] = name
                            del waiting[name]
                    for future in first_finished(futures):
                        future.result()
                        done.add(futures.pop(future))
            except BaseException:
                self._cancelled.set()
                raise

    def _start_one(self, component: Component, begun: float) -> None:
        self._create(component)
        self.wait_ready(component.name)
        ready_s = time.monotonic() - begun
        with self._lock:
            self.started.append(
                Started(component.name, self._images[component.image], round(ready_s, 2))
            )
            count = len(self.started)
        self._tell(f"{component.name} ready ({count}/{len(self._components)})")

    def _create(self, component: Component) -> None:
        for attempt in range(1, PORT_TRIES + 1):
            if self._cancelled.is_set():
                raise StackError(f"{component.name} was not started: the stack is being stopped")
            ports = {name: self._ports.pick() for name in component.ports}
            container = self._blueprint.container(component, self._network, ports)
            with self._lock:
                self._running[component.name] = _Running(component, container, ports)
            try:
                container.start()
                return
            except APIError as error:
                taken = "port is already allocated" in str(error) or "address already" in str(error)
                if not taken or attempt == PORT_TRIES:
                    raise StackError(
                        f"{component.name} can't be started: {error.explanation or error}"
                    ) from error
                with contextlib.suppress(NotFound):
                    container.stop()
