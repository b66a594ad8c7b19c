"""A small bench for each test, and an experiment that doesn't wait long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alertdrill import experiment
from tests.experiment.small import SmallBench, small_bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallBench]:
    for name in ("EFFECTIVE_S", "STILL_S", "HEALED_S", "STEADY_S", "STEADY_AGAIN_S"):
        monkeypatch.setattr(experiment, name, 0.15)
    monkeypatch.setattr(experiment, "STEADY_WINDOW_S", 0.1)
    yield from small_bench(tmp_path)
