"""A laboratory: one running bench whose monitoring files can be swapped for broken ones."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from alertdrill.bench import Bench
from alertdrill.errors import DeadlineExceeded
from alertdrill.reload import reload_monitoring
from alertdrill.report.folder import RunFolder
from alertdrill.wait import eventually

Edit = Callable[[Path], None]


@dataclass
class Laboratory:
    """``bench`` with the monitoring as shipped; ``broken_by(edit)`` for the length of a block."""

    bench: Bench
    folder: Path
    shipped: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextlib.contextmanager
    def broken_by(self, *edits: Edit) -> Iterator[Bench]:
        source = self.folder / f"broken-{next(self._numbers)}"
        shutil.copytree(self.shipped, source)
        for edit in edits:
            edit(source)
        try:
            self._load(source)
            yield self.bench
        finally:
            self._load(self.shipped)

    def _load(self, source: Path) -> None:
        reload_monitoring(self.bench, source, self.folder / f"overlay-{next(self._numbers)}")


@pytest.fixture(scope="session")
def laboratory(
    bench: Bench, run_folder: RunFolder, tmp_path_factory: pytest.TempPathFactory
) -> Laboratory:
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    # A stack that is starting takes all that a small machine has. A worker without a laboratory
    # test starts none: then it was in vain.
    with contextlib.suppress(DeadlineExceeded):
        eventually(
            lambda: run_folder.settled_workers() >= workers, timeout_s=45, what="the other stacks"
        )
    config = bench.config
    return Laboratory(
        bench,
        tmp_path_factory.mktemp("laboratory"),
        config.path(config.monitoring.prometheus).parent,
    )
