"""A stack of what faults stand between: services, proxies, and a container that uses them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alertdrill.assemble import CACHE, images_of
from alertdrill.stack.engine import connect
from alertdrill.stack.images import ImageStore
from alertdrill.stack.progress import Progress
from alertdrill.stack.run import Stack
from fixtures.stack import STACK

ROOT = Path(__file__).parents[2]
NAMES = (
    *("postgres", "postgres-replica", "redis", "github", "ai-studio"),
    *("toxiproxy", "http-faults", "receiver"),
)


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """Without hub and monitoring: here the receiver's container plays the client."""
    with started(NAMES) as running:
        yield running


@contextmanager
def started(names: tuple[str, ...]) -> Iterator[Stack]:
    store = ImageStore(connect(), ROOT, ROOT / CACHE, STACK.images)
    images = store.resolve(images_of(STACK, names), Progress())
    references = {name: image.reference for name, image in images.items()}
    with Stack(STACK, names, images=references, project_root=ROOT) as running:
        yield running
