"""The project around the current folder, and the programs that its images have.

The one module of ``rules/`` that knows of stacks. It looks at them only for programs that are not
on PATH, so rule files and programs are enough.
"""

from __future__ import annotations

import os
from pathlib import Path

from alertdrill.config import find_root, load_config
from alertdrill.errors import UsageError
from alertdrill.rules.programs import (
    ALERTMANAGER,
    PROMETHEUS,
    PROMTOOL,
    Program,
    ProgramImage,
    ProgramSpec,
    find,
    on_path,
)


def project_root() -> Path | None:
    """The project's folder; None where there is no project, which is no error here."""
    try:
        return find_root(Path.cwd())
    except UsageError:
        return None


def cache_folder() -> Path:
    """The project's cache, or the user's outside of any project."""
    root = project_root()
    if root is not None:
        return root / ".cache"
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "alertdrill"


def promtool() -> Path:
    """promtool from PATH, else from the project's Prometheus image, else from an official one.

    Raises ProgramUnavailable; for a broken project, UsageError; for an image that can't be had,
    EngineUnavailable or ImageUnavailable.
    """
    return _find(PROMTOOL).path


def prometheus() -> Path:
    """``promtool``, for the server."""
    return _find(PROMETHEUS).path


def alertmanager() -> Program:
    """``promtool``, for Alertmanager, which may need the files beside it."""
    return _find(ALERTMANAGER)


def _find(spec: ProgramSpec) -> Program:
    return on_path(spec) or find(spec, cache_folder(), _image(spec))


def _image(spec: ProgramSpec) -> ProgramImage | None:
    """The image that the project's stack declares for it."""
    root = project_root()
    if root is None:
        return None
    from alertdrill.stack.catalogue import Catalogue

    stack = load_config(root).load_stack()
    declared = {image.name: image for image in stack.images}.get(spec.image)
    if declared is None:
        return None
    # In the order of ImageStore, and as it calls them: a built one by its content.
    built = (Catalogue(stack.images, root).tag(declared),) if declared.buildable else ()
    official = (declared.official,) if declared.official is not None else ()

    def obtain() -> str:
        # Only here, so that nothing of the stack is loaded once the program is in the cache.
        from alertdrill.stack.engine import connect
        from alertdrill.stack.images import ImageStore
        from alertdrill.stack.progress import Progress

        store = ImageStore(connect(), root, cache_folder(), stack.images)
        return store.resolve([declared], Progress())[declared.name].reference

    return ProgramImage((*built, *official), obtain)
