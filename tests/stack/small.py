"""The smallest stack that is worth the name: a receiver and a Redis, ready in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alertdrill.assemble import CACHE
from alertdrill.stack.component import Component, StackSpec
from alertdrill.stack.engine import connect
from alertdrill.stack.images import ImageStore
from alertdrill.stack.progress import Progress
from alertdrill.stack.run import Stack
from fixtures.stack import STACK

ROOT = Path(__file__).parents[2]
NAMES = ("receiver", "redis")


def references(names: Sequence[str]) -> dict[str, str]:
    """What the engine calls these images."""
    store = ImageStore(connect(), ROOT, ROOT / CACHE, STACK.images)
    images = [image for image in STACK.images if image.name in names]
    return {n: image.reference for n, image in store.resolve(images, Progress()).items()}


def small_stack(*more: Component, names: Sequence[str] = NAMES, **options: Any) -> Stack:
    """Not started yet. ``more`` components beside those called ``names`` run images of the hub's
    stack."""
    spec = StackSpec(
        images=STACK.images,
        components=STACK.components + more,
        profiles={},
        secrets=STACK.secrets,
        durations=STACK.durations,
        volumes=STACK.volumes,
    )
    names = (*names, *(component.name for component in more))
    images = {c.image for c in spec.components if c.name in names}
    return Stack(spec, names, images=references(sorted(images)), project_root=ROOT, **options)
