"""promtool test cases as pytest items. Collects nothing unless ``promtool_tests`` names files."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alertdrill.errors import AlertdrillError, UsageError
from alertdrill.rules.project import promtool
from alertdrill.rules.testing.document import Case, read_test_file, refuse_what_cannot_fail
from alertdrill.rules.testing.runner import CaseRunner

INI = "promtool_tests"
_RUNNER = pytest.StashKey[CaseRunner]()


class CaseFailed(AssertionError):
    """A test case failed; the message is promtool's."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        INI,
        "globs of promtool test files that are collected, relative to the root folder",
        type="linelist",
        default=[],
    )
    group = parser.getgroup("alertdrill", "break a system and prove that its alerts say so")
    group.addoption("--promtool", metavar="PATH", help="the promtool that judges rule tests")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    globs: list[str] = parent.config.getini(INI)
    if not globs:
        return None
    try:
        relative = file_path.relative_to(parent.config.rootpath).as_posix()
    except ValueError:
        relative = file_path.as_posix()
    if not any(fnmatch.fnmatch(relative, pattern) for pattern in globs):
        return None
    return PromtoolFile.from_parent(parent, path=file_path)


class PromtoolFile(pytest.File):
    """A promtool test file; its cases are the items."""

    def collect(self) -> Iterator[PromtoolItem]:
        try:
            test_file = read_test_file(self.path)
            if test_file is not None:
                refuse_what_cannot_fail(test_file)
        except UsageError as error:
            raise self.CollectError(str(error)) from error
        if test_file is None:
            raise self.CollectError(f"{self.path}: is no promtool test file")
        names: dict[str, int] = {}
        for index, case in enumerate(test_file.cases):
            count = names[case.name] = names.get(case.name, 0) + 1
            name = case.name if count == 1 else f"{case.name} ({count})"
            yield PromtoolItem.from_parent(self, name=name, case=case, index=index)


class PromtoolItem(pytest.Item):
    """One test case: it passes when promtool says so."""

    def __init__(self, *, case: Case, index: int, **others: Any) -> None:
        super().__init__(**others)
        self.case = case
        self.index = index

    def runtest(self) -> None:
        result = _runner(self.config).result(
            self.path, self.index, self.case.name, self._together()
        )
        if result.name != self.case.name:
            raise AlertdrillError(f"promtool calls this case {result.name!r}; which one is it?")
        if not result.passed:
            raise CaseFailed("\n".join(result.failures))

    def _together(self) -> set[Path]:
        """All that this process was asked to run. A worker of pytest-xdist is given one item
        after the other and does not know which are its own: there it is the file."""
        if os.environ.get("PYTEST_XDIST_WORKER"):
            return {self.path}
        return {item.path for item in self.session.items if isinstance(item, PromtoolItem)}

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        below = self.path.is_relative_to(self.config.rootpath)
        path = self.path.relative_to(self.config.rootpath) if below else self.path
        where = f"{path}:{self.case.line}"
        if isinstance(excinfo.value, (CaseFailed, AlertdrillError)):
            return f"{where}: {self.case.name}\n{excinfo.value}"
        return str(super().repr_failure(excinfo, style))

    def reportinfo(self) -> tuple[Path, int, str]:
        # Did it end like the node id, pytest would print every dot of it as two colons.
        return self.path, self.case.line - 1, f"{self.name} (line {self.case.line})"


def _runner(config: pytest.Config) -> CaseRunner:
    if _RUNNER not in config.stash:
        given = config.getoption("promtool")
        config.stash[_RUNNER] = CaseRunner(Path(given) if given else promtool())
    return config.stash[_RUNNER]
