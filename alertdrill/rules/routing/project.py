"""Where Alertmanager comes from: PATH, the project's own image, or any that the engine has."""

from __future__ import annotations

import shutil
from pathlib import Path

from alertdrill.config import find_root, load_config
from alertdrill.errors import AlertdrillError, UsageError
from alertdrill.rules.routing.binary import (
    NAMES,
    AlertmanagerUnavailable,
    Program,
    SourceImage,
    find_alertmanager,
)
from alertdrill.rules.testing.project import cache_folder

_IMAGE = "alertmanager"


def alertmanager() -> Program:
    """Raises AlertmanagerUnavailable, whatever the reason; for a broken project, UsageError."""
    image = None if any(map(shutil.which, NAMES)) else _image()
    try:
        return find_alertmanager(cache_folder(), image)
    except UsageError:
        raise
    except AlertdrillError as error:
        raise AlertmanagerUnavailable(str(error)) from error


def _image() -> SourceImage | None:
    try:
        root = find_root(Path.cwd())
    except UsageError:
        return None  # that there is no project is no error here
    spec = load_config(root).load_stack()
    declared = {image.name: image for image in spec.images}.get(_IMAGE)
    if declared is None:
        return None

    def obtain() -> str:
        # Only here, so that nothing of the stack is loaded once the program is in the cache.
        from alertdrill.stack.engine import connect
        from alertdrill.stack.images import ImageStore
        from alertdrill.stack.progress import Progress

        store = ImageStore(connect(), root, cache_folder(), spec.images)
        return store.resolve([declared], Progress())[_IMAGE].reference

    return SourceImage(f"{declared.official or _IMAGE}-{declared.version}", obtain)
