"""What faults, signals and readiness probes may ask of a stack, and how they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from docker.models.containers import Container


class Target(Protocol):
    """A running stack, as seen by what works on it."""

    @property
    def run_id(self) -> str: ...

    def url(self, component: str, port: str = "http") -> str:
        """``http://127.0.0.1:PORT`` of a published port. Raises StackError when there is none."""
        ...

    def address(self, component: str, port: str) -> tuple[str, int]:
        """Host and port on loopback of a published port."""
        ...

    def container(self, component: str) -> Container:
        """The container of this run, freshly read from the engine."""
        ...

    def exec(self, component: str, argv: list[str]) -> tuple[int, str]:
        """Run ``argv`` in a container: its exit code and its output."""
        ...


@runtime_checkable
class Inhabited(Target, Protocol):
    """A stack that can name its components."""

    @property
    def component_names(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Evidence:
    """Whether something was seen to hold, and what was seen."""

    holds: bool
    seen: str
