"""Where promtool comes from here: the one module of ``rules/`` that knows of projects and stacks.

It looks at them only when promtool is not on PATH, so rule files and promtool are enough.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from alertdrill.config import FILE_NAME, find_root, load_config
from alertdrill.errors import UsageError
from alertdrill.rules.promtool import PrometheusImage, find_prometheus, find_promtool

_IMAGE = "prometheus"


def cache_folder() -> Path:
    """The project's cache, or the user's outside of any project."""
    root = _root()
    if root is not None:
        return root / ".cache"
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "alertdrill"


def promtool() -> Path:
    """promtool from PATH, else from the project's Prometheus image, else from an official one.

    Raises PromtoolUnavailable; for a broken project, UsageError; for an image that can't be had,
    EngineUnavailable or ImageUnavailable.
    """
    if shutil.which("promtool"):
        return find_promtool(cache_folder())
    return find_promtool(cache_folder(), _image())


def prometheus() -> Path:
    """``promtool``, for the server."""
    if shutil.which("prometheus"):
        return find_prometheus(cache_folder())
    return find_prometheus(cache_folder(), _image())


def _root() -> Path | None:
    try:
        return find_root(Path.cwd())
    except UsageError:
        return None  # that there is no project is no error here


def _image() -> PrometheusImage | None:
    root = _root()
    if root is None:
        return None
    config = load_config(root)
    spec = config.load_stack()
    declared = {image.name: image for image in spec.images}.get(_IMAGE)
    if declared is None:
        raise UsageError(
            f"promtool is not on PATH, and the stack declares no image called {_IMAGE!r};"
            " install Prometheus 3",
            file=root / FILE_NAME,
        )

    def obtain() -> str:
        # Only here, so that nothing of the stack is loaded once the program is in the cache.
        from alertdrill.stack.engine import connect
        from alertdrill.stack.images import ImageStore
        from alertdrill.stack.progress import Progress

        store = ImageStore(connect(), root, root / ".cache", spec.images)
        return store.resolve([declared], Progress())[_IMAGE].reference

    return PrometheusImage(f"{declared.official or _IMAGE}-{declared.version}", obtain)
