"""A set-up to be interrupted: one long step in a process of its own, as the command runs it."""

from __future__ import annotations

import faulthandler
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from docker.errors import ImageNotFound

from alertdrill.cli import _guarded
from alertdrill.stack import debian
from alertdrill.stack.component import Image
from alertdrill.stack.engine import connect
from alertdrill.stack.images import ImageStore
from alertdrill.stack.progress import Progress
from alertdrill.stack.registries import Registries


class NoImages:
    """An engine that has no image."""

    def __init__(self) -> None:
        self.images = self

    def get(self, reference: str) -> None:
        raise ImageNotFound(reference)


def install(root: Path) -> None:
    with Progress().task("packages") as task:
        debian.install(["one"], task)


def rootfs(root: Path) -> None:
    """What the base image starts from, made in one of the threads that build."""
    debian.is_root_here = lambda: True
    Registries.trouble = lambda self, reference: "planted: no registry"  # type: ignore[method-assign]
    base = Image("base", "1")
    client: Any = NoImages()
    ImageStore(client, root, root / ".cache", (base,)).resolve([base], Progress())


def build(root: Path) -> None:
    """The one image of ``root``, by the real engine."""
    (folder,) = (root / "images").iterdir()
    image = Image(folder.name, "1")
    ImageStore(connect(), root, root / ".cache", (image,)).resolve([image], Progress())


STEPS: Mapping[str, Callable[[Path], None]] = {"install": install, "rootfs": rootfs, "build": build}


def main(step: str, root: str) -> int:
    faulthandler.register(signal.SIGUSR1)
    # A test run in the background has it ignored, and a child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return _guarded(lambda **_: STEPS[step](Path(root)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
