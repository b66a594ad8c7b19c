"""A laboratory: one running bench whose monitoring files can be swapped for broken ones."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from alertdrill.bench import Bench
from alertdrill.drill import DrillResult
from alertdrill.reload import reload_monitoring
from alertdrill.verdict import Reason

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
        self.mend()
        source = self.folder / f"broken-{next(self._numbers)}"
        shutil.copytree(self.shipped, source)
        for edit in edits:
            edit(source)
        try:
            self._load(source)
            yield self.bench
        finally:
            self._load(self.shipped)

    def mend(self) -> None:
        """A drill would replace a stack that is not whole, and what is planted with it."""
        if not self.bench.is_whole:
            self.bench.renew(self.bench.profile)

    def _load(self, source: Path) -> None:
        reload_monitoring(self.bench, source, self.folder / f"overlay-{next(self._numbers)}")


def undisturbed(run: Callable[[], DrillResult]) -> DrillResult:
    """The result of the first of three runs that no slowness of the machine took anything from."""
    for _ in range(3):
        result = run()
        if Reason.MACHINE_TOO_SLOW not in {f.reason for f in (*result.findings, *result.set_aside)}:
            break
    return result


@pytest.fixture(scope="session")
def laboratory_of_all(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    config = bench.config
    return Laboratory(
        bench,
        tmp_path_factory.mktemp("laboratory"),
        config.path(config.monitoring.prometheus).parent,
    )


@pytest.fixture
def laboratory(laboratory_of_all: Laboratory) -> Laboratory:
    """On a stack that is whole."""
    laboratory_of_all.mend()
    return laboratory_of_all
