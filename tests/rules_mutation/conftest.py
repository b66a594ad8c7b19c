"""A rule file and its tests in a folder, and promtool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from alertdrill.rules import project


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file below the test's folder; returns its path."""

    def to(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return to


@pytest.fixture(scope="session")
def promtool() -> Path:
    return project.promtool()
