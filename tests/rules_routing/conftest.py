"""The real programs, found once: on PATH, in the cache, or in an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertdrill.rules.programs import Program
from alertdrill.rules.project import alertmanager, promtool

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def program() -> Program:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return alertmanager()


@pytest.fixture(scope="session")
def promtool_path() -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return promtool()
