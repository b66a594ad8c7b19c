"""What every benchmark needs: the project, its images, stacks of it, and commands to time."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

from alertdrill.assemble import (
    CACHE,
    clock_values,
    compress_into,
    load_compressed,
    resolve_images,
)
from alertdrill.config import Config, find_root, load_config
from alertdrill.errors import AlertdrillError
from alertdrill.profiles import components_of
from alertdrill.stack.component import StackSpec
from alertdrill.stack.engine import ensure_engine
from alertdrill.stack.progress import Progress
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually

GIB = 1024**3
MIB = 1024**2


def project() -> Config:
    """The project that the current folder belongs to. Raises UsageError."""
    return load_config(find_root(Path.cwd()))


@dataclass(frozen=True)
class Setting:
    """Everything that must be there before a clock starts: images, compressed monitoring.

    ``scratch``  a folder that is gone at the end
    ``machine``  where this is measured, and what else ran there before: a line for the report
    """

    config: Config
    spec: StackSpec
    components: tuple[str, ...]
    images: Mapping[str, str]
    overlay: Path
    values: Mapping[str, str]
    scratch: Path
    progress: Progress
    machine: str

    def stack(self, run_id: str | None = None) -> Stack:
        """A new stack, not started yet; its logs are saved as the gate's are."""
        return Stack(
            self.spec,
            self.components,
            images=self.images,
            project_root=self.config.root,
            run_id=run_id,
            overlay=self.overlay,
            values=self.values,
            log_dir=self.scratch / "containers",
        )

    def source(self, path: str) -> Path:
        """The file that a component's ``path`` stands for: the compressed one, if there is."""
        compressed = self.overlay / path
        return compressed if compressed.exists() else self.config.root / path


@contextlib.contextmanager
def prepare(
    config: Config,
    *,
    profile: str = "core",
    without: Sequence[str] = (),
    spec: StackSpec | None = None,
) -> Iterator[Setting]:
    """Have the engine, the images of a profile and the monitoring on the gate's clock.

    Raises UsageError, EngineUnavailable, ImageUnavailable.
    """
    spec = spec or config.load_stack()
    components = tuple(c for c in components_of(spec, profile) if c not in without)
    progress = Progress()
    client = ensure_engine(progress, config.root / CACHE)
    images = resolve_images(config, spec, components, progress)
    with tempfile.TemporaryDirectory(prefix="alertdrill-benchmark-") as folder:
        scratch = Path(folder)
        overlay = scratch / "config"
        compressed = compress_into(config, overlay)
        load_compressed(config, overlay)
        yield Setting(
            config=config,
            spec=spec,
            components=components,
            images={name: image.reference for name, image in images.items()},
            overlay=overlay,
            values=clock_values(spec, compressed),
            scratch=scratch,
            progress=progress,
            machine=machine(client),
        )


def machine(client: docker.DockerClient) -> str:
    """Cores, memory, versions, and what runs there now."""
    engine = str(client.version()["Version"]).partition("+")[0]
    others = len(client.containers.list(ignore_removed=True))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')} · {os.cpu_count()} cores, {memory:.1f} GiB"
        f" · Linux {platform.release().partition('-')[0]} · Docker {engine}"
        f" · Python {platform.python_version()}"
        f" · before: load average {os.getloadavg()[0]:.2f}, {others} containers"
    )


def stats(container: Container) -> Mapping[str, Any]:
    """What ``docker stats`` is made from, without its wait for a second sample. The engine may
    take a second to answer."""
    seen = container.stats(stream=False, one_shot=True)
    assert isinstance(seen, dict)
    return seen


@dataclass(frozen=True)
class Ran:
    """A command that ended by itself. ``output`` is empty unless it was captured."""

    code: int
    output: str
    wall_s: float


def run(words: Sequence[str], *, cwd: Path, timeout_s: float, log: Path | None = None) -> Ran:
    """Run a command and time it. Its standard output is captured; standard error is shown, or
    goes to ``log``.

    Ctrl-C ends the command first, which may take its time, and then the benchmark. Raises
    AlertdrillError when it is not done after ``timeout_s`` seconds.
    """
    begun = time.monotonic()
    with contextlib.ExitStack() as files:
        errors = None if log is None else files.enter_context(log.open("ab"))
        process = subprocess.Popen(
            words,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # a Ctrl-C reaches it once, through this process
        )
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except BaseException as error:
            process.send_signal(signal.SIGINT)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise AlertdrillError(
                    f"`{' '.join(words[:3])} …` was not done after {timeout_s:.0f} s"
                ) from error
            raise
    return Ran(process.returncode, output, time.monotonic() - begun)


def alertdrill(*arguments: str) -> list[str]:
    """The ``alertdrill`` command of this environment."""
    return [str(Path(sys.executable).with_name("alertdrill")), *arguments]


def for_seconds(seconds: float, step: Callable[[], None], interval_s: float = 0.25) -> None:
    """Call ``step`` every ``interval_s`` seconds until ``seconds`` have passed."""
    end = time.monotonic() + seconds

    def done() -> bool:
        step()
        return time.monotonic() >= end

    eventually(
        done, timeout_s=2 * seconds + 60.0, what=f"{seconds:.0f} s to pass", interval_s=interval_s
    )
