"""The images that a project declares: each by its name, and tagged by what it is built from."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from alertdrill.errors import UsageError
from alertdrill.stack.build import content_hash, context_files
from alertdrill.stack.component import Image


class Catalogue:
    """``images`` of the project whose root folder holds ``images/``. Thread-safe."""

    def __init__(self, images: Iterable[Image], project_root: Path) -> None:
        self._images = {image.name: image for image in images}
        self._root = project_root
        self._tags: dict[str, str] = {}
        self._lock = threading.Lock()

    def __contains__(self, name: str) -> bool:
        return name in self._images

    def image(self, name: str) -> Image:
        """The declared image. Raises UsageError."""
        if name not in self._images:
            raise UsageError(f"no image {name!r} is declared; there are {sorted(self._images)}")
        return self._images[name]

    def parents(self, image: Image) -> list[Image]:
        """What ``image`` is built from. Raises UsageError when one isn't declared."""
        return [self.image(name) for name in image.needs]

    def tag(self, image: Image) -> str:
        """``alertdrill/<name>:<hash>`` of what ``image`` is built from, its parents included.

        The same content gives the same tag anywhere. Read once per catalogue. Raises UsageError:
        a folder is missing, a parent isn't declared, an image needs itself.
        """
        with self._lock:
            return self._tag(image, ())

    def _tag(self, image: Image, children: tuple[str, ...]) -> str:
        if image.name in children:
            raise UsageError(f"image {image.name} needs itself: {' needs '.join(children)}")
        if image.name not in self._tags:
            path = (*children, image.name)
            parents = [self._tag(parent, path) for parent in self.parents(image)]
            digits = content_hash(context_files(self._root, image), parents)
            self._tags[image.name] = f"alertdrill/{image.name}:{digits}"
        return self._tags[image.name]
