"""A project of a test's own: this one's stack, drills and monitoring, free to be broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def copy_project(folder: Path) -> Path:
    """What a run reads, copied; code and images stay where they are."""
    for name in ("alertdrill.toml", "monitoring", "chaos", "loadtests"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    for name in ("images", "hub", "fixtures"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def run(
    folder: Path, *argv: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """``alertdrill`` (or, with a first word of ``pytest``, pytest) in ``folder``."""
    module = ["pytest"] if argv[0] == "pytest" else ["alertdrill"]
    rest = argv[1:] if argv[0] == "pytest" else argv
    return subprocess.run(
        [sys.executable, "-m", *module, *rest],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
