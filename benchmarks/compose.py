"""The same stack by docker-compose: its file from the declarations, its life, its readiness."""

from __future__ import annotations

import json
import os
import shutil
import string
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import httpx
from docker.errors import APIError, DockerException
from docker.models.containers import Container

from alertdrill.errors import AlertdrillError, StackError
from alertdrill.stack.component import Component
from alertdrill.stack.engine import connect
from alertdrill.stack.execution import run_in
from alertdrill.stack.leftovers import RUN_LABEL, remove_run
from alertdrill.stack.ports import PortPicker
from alertdrill.stack.reach import EXEC_TIMEOUT_S
from alertdrill.stack.run import LOOPBACK
from alertdrill.wait import eventually
from benchmarks.setting import Setting, run

UP_TIMEOUT_S = 180.0
# A stack of alertdrill is killed; the ten seconds of a default would compare something else.
STOP_GRACE = "1s"
_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"


def find() -> str | None:
    """Where docker-compose is, if it is installed."""
    return shutil.which("docker-compose")


class ComposeProject:
    """One project, started by ``docker-compose up -d``; what ``Readiness`` may ask of a stack.

    A context manager that leaves nothing behind. The project carries the label of ``run_id``, so
    that a reaper of the caller's can remove it even after a SIGKILL.
    """

    def __init__(self, setting: Setting, run_id: str, secrets: Mapping[str, str]) -> None:
        self._setting = setting
        self._run_id = run_id
        self._values = {**setting.values, **secrets}
        self._components = {
            c.name: c for c in setting.spec.components if c.name in setting.components
        }
        picker = PortPicker()
        self._ports = {
            name: {port: picker.pick() for port in component.ports}
            for name, component in self._components.items()
        }
        self._file = setting.scratch / f"compose-{self._run_id}.json"
        self._log = setting.scratch / "compose.log"
        self._client = connect()
        self._cancelled = threading.Event()

    def __enter__(self) -> ComposeProject:
        self._file.write_text(json.dumps(self.document(), indent=2), encoding="utf-8")
        self._file.chmod(0o600)  # it holds the run's secrets
        return self

    def __exit__(self, *_: object) -> None:
        try:
            remove_run(self._client, self._run_id)
        finally:
            self._client.close()

    def up(self) -> float:
        """``docker-compose up -d`` until it has returned and all are ready: the seconds.

        Raises AlertdrillError with the end of its log.
        """
        begun = time.monotonic()
        # Its own client: closing the stream from another thread breaks the connection.
        listener = docker.from_env(timeout=int(UP_TIMEOUT_S))
        label = f"{_PROJECT}={self._run_id}"
        events = listener.events(decode=True, filters={"event": "start", "label": label})
        with ThreadPoolExecutor(max_workers=len(self._components) + 1) as pool:
            ready = pool.submit(self._await_all, events, pool)
            try:
                self._compose("up", "-d")
                ready.result(timeout=UP_TIMEOUT_S)
            finally:
                self._cancelled.set()
                with suppress(OSError, AttributeError, DockerException):
                    events.close()
                listener.close()
        return time.monotonic() - begun

    def down(self) -> float:
        """``docker-compose down``: the seconds."""
        begun = time.monotonic()
        self._compose("down", "--volumes")
        return time.monotonic() - begun

    # --- what readiness probes ask ---------------------------------------------------------

    @property
    def run_id(self) -> str:
        return self._run_id

    def address(self, component: str, port: str) -> tuple[str, int]:
        return LOOPBACK, self._ports[component][port]

    def url(self, component: str, port: str = "http") -> str:
        host, number = self.address(component, port)
        return f"http://{host}:{number}"

    def container(self, component: str) -> Container:
        labels = [f"{_PROJECT}={self._run_id}", f"{_SERVICE}={component}"]
        found = self._client.containers.list(filters={"label": labels}, ignore_removed=True)
        if not found:
            raise StackError(f"{component} does not run")
        return found[0]

    def exec(self, component: str, argv: list[str]) -> tuple[int, str]:
        try:
            return run_in(self.container(component), argv, timeout_s=EXEC_TIMEOUT_S)
        except APIError as error:
            raise StackError(f"{component} can't run {argv[0]}: {error.explanation}") from error

    # --- inside ----------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """The compose file: what is declared, and nothing else."""
        labels = {RUN_LABEL: self._run_id}
        return {
            "version": "2.4",
            "services": {c.name: self._service(c) for c in self._components.values()},
            "networks": {"default": {"labels": labels}},
            "volumes": {
                name: {
                    "labels": labels,
                    "driver": "local",
                    "driver_opts": {
                        "type": "tmpfs",
                        "device": "tmpfs",
                        "o": f"size={self._setting.spec.volumes[name]},mode=1777",
                    },
                }
                for name in {v for c in self._components.values() for v in c.volumes.values()}
            },
        }

    def _service(self, component: Component) -> dict[str, Any]:
        component = component.among(self._components)
        service: dict[str, Any] = {
            "image": self._setting.images[component.image],
            "hostname": component.name,
            "labels": {RUN_LABEL: self._run_id},
            "environment": {k: self._fill_in(v) for k, v in component.environment.items()},
            "ports": [
                f"{LOOPBACK}:{self._ports[component.name][name]}:{number}"
                for name, number in component.ports.items()
            ],
            "volumes": [
                f"{self._setting.source(source)}:{path}:ro"
                for path, source in component.files.items()
            ]
            + [f"{volume}:{path}" for path, volume in component.volumes.items()],
            "tmpfs": [f"{path}:size={size}" for path, size in component.tmpfs.items()],
            "depends_on": list(component.depends_on),
            "extra_hosts": [f"{name}:{ip}" for name, ip in component.extra_hosts.items()],
            "stop_grace_period": STOP_GRACE,
        }
        if component.command is not None:
            service["command"] = [self._fill_in(word) for word in component.command]
        if component.entrypoint is not None:
            service["entrypoint"] = list(component.entrypoint)
        if component.memory_mb is not None:
            service["mem_limit"] = f"{component.memory_mb}m"
        if component.user is not None:
            service["user"] = component.user
        return {key: value for key, value in service.items() if value}

    def _fill_in(self, text: str) -> str:
        # Compose has variables of its own, which a dollar sign would begin.
        return string.Template(text).substitute(self._values).replace("$", "$$")

    def _await_all(self, events: Any, pool: ThreadPoolExecutor) -> None:
        """Ask each component from the moment its container runs, as a stack does."""
        asked: dict[str, Future[None]] = {}
        for event in events:
            service = event["Actor"]["Attributes"][_SERVICE]
            asked[service] = pool.submit(self._await_ready, self._components[service])
            if asked.keys() == self._components.keys():
                break
        for future in asked.values():
            future.result()
        if missing := sorted(self._components.keys() - asked.keys()):
            raise StackError(f"docker-compose did not start {', '.join(missing)}")

    def _await_ready(self, component: Component) -> None:
        def probe() -> bool:
            try:
                return component.ready.probe(self, component.name).holds
            except (httpx.HTTPError, StackError):
                return False

        eventually(
            probe,
            timeout_s=component.ready.timeout_s,
            what=f"{component.name}: {component.ready.awaits}",
            interval_s=0.1,
            cancelled=self._cancelled,
        )

    def _compose(self, *arguments: str) -> None:
        command = find()
        if command is None:
            raise AlertdrillError("docker-compose is not installed")
        # The environment may hold settings for somebody else's project.
        clean = [f"--unset={name}" for name in os.environ if name.startswith("COMPOSE_")]
        words = ["env", *clean, command, "-f", str(self._file), "-p", self._run_id, *arguments]
        if run(words, cwd=self._setting.scratch, timeout_s=UP_TIMEOUT_S, log=self._log).code:
            end = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            raise AlertdrillError(
                f"`docker-compose {' '.join(arguments)}` failed:\n" + "\n".join(end)
            )


def version(folder: Path) -> tuple[str, float]:
    """The version of docker-compose, and the seconds it takes to say so."""
    command = find()
    if command is None:
        raise AlertdrillError("docker-compose is not installed")
    ran = run([command, "version", "--short"], cwd=folder, timeout_s=30.0)
    return ran.output.strip(), ran.wall_s
