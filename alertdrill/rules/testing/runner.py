"""The results of test cases, promtool run once for all files that are asked for together."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from alertdrill.rules.promtool import CaseResult, FileResult, open_promtool, run_in_batches


class CaseRunner:
    """Runs test files as they are asked for, each at most once."""

    def __init__(self, promtool: Path, workers: int | None = None) -> None:
        self._promtool = promtool
        self._workers = workers or os.cpu_count() or 1
        self._results: dict[Path, FileResult] = {}

    def result(self, path: Path, index: int, name: str, together: Iterable[Path]) -> CaseResult:
        """What promtool says of the case ``index`` (from 0) of ``path``.

        If that has not been run yet, it is run now, and all of ``together`` with it. Raises
        PromtoolFailed.
        """
        if path not in self._results:
            files = sorted({path, *together} - self._results.keys())
            with open_promtool(self._promtool) as promtool:
                results = run_in_batches(promtool, files, self._workers)
            self._results.update({result.path: result for result in results})
        found = self._results[path]
        if found.error is not None:
            return CaseResult(name, (found.error,))
        return found.cases[index]
