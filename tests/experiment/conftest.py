"""A small bench for each test, and an experiment that doesn't wait long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alertdrill import experiment
from tests.experiment.small import SmallBench, small_bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallBench]:
    for name in ("EFFECTIVE_S", "HEALED_S", "STEADY_S", "STEADY_AGAIN_S", "STEADY_WINDOW_S"):
        monkeypatch.setattr(experiment, name, 0.15)
    yield from small_bench(tmp_path)
