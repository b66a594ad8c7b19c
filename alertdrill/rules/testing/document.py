"""promtool test files: how they are recognised, which rule files they load, what they test."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from alertdrill.errors import UsageError
from alertdrill.rules.document import Place, parse_document, read_text

_SUFFIXES = (".yml", ".yaml")
# Folders that hold other people's files, or copies.
_SKIPPED = frozenset({"node_modules", "vendor", "site-packages", "__pycache__"})


@dataclass(frozen=True)
class Case:
    """An entry of ``tests:``. ``name`` is as promtool calls it; ``line`` (from 1) is its first."""

    name: str
    line: int
    place: Place


@dataclass(frozen=True)
class TestFile:
    """A promtool test file. ``rule_files`` are those that its patterns find, resolved."""

    __test__ = False

    path: Path
    place: Place
    cases: tuple[Case, ...]

    @property
    def patterns(self) -> tuple[str, ...]:
        return tuple(self.place.entries()["rule_files"].texts())

    @cached_property
    def rule_files(self) -> tuple[Path, ...]:
        found: list[Path] = []
        for pattern in self.patterns:
            full = str(self.path.parent / pattern)
            found.extend(Path(match).resolve() for match in sorted(glob.glob(full)))
        return tuple(found)


def read_test_file(path: Path) -> TestFile | None:
    """The test file at ``path``; None when it is some other YAML document.

    Raises UsageError for what can't be read as YAML and for a test file without a case.
    """
    text = read_text(path)
    if "rule_files" not in text or "tests" not in text:
        return None
    place = parse_document(text, path)
    top = place.entries()
    if "rule_files" not in top or "tests" not in top:
        return None
    cases = tuple(_case(index, item) for index, item in enumerate(top["tests"].items()))
    if not cases:
        raise top["tests"].error("tests is empty: nothing would be tested")
    return TestFile(path, place, cases)


def _case(index: int, place: Place) -> Case:
    entries = place.entries()
    name = entries["name"].text() if "name" in entries else ""
    return Case(name or f"unnamed#{index}", place.line, place)


def refuse_what_cannot_fail(test_file: TestFile) -> None:
    """Raises UsageError for a test that promtool would pass whatever the rules say: no rule file
    is loaded, nothing is asserted, or silence is expected of an alert that doesn't exist."""
    if test_file.patterns and not test_file.rule_files:
        patterns = test_file.place.entries()["rule_files"]
        found_none = ", ".join(test_file.patterns)
        raise patterns.error(f"rule_files finds no file ({found_none}): no rule would be tested")
    loaded = [read_text(path) for path in test_file.rule_files]
    for case in test_file.cases:
        entries = case.place.entries()
        asserted = [
            item
            for key in ("alert_rule_test", "promql_expr_test")
            if key in entries
            for item in entries[key].items()
        ]
        if not asserted:
            raise case.place.error(f"{case.name} has neither alert_rule_test nor promql_expr_test")
        for item in asserted:
            said = item.entries()
            alert = said["alertname"].text() if "alertname" in said else ""
            word = re.compile(rf"(?<!\w){re.escape(alert)}(?!\w)")
            if alert and not any(word.search(text) for text in loaded):
                raise item.error(f"no rule file of this test defines the alert {alert!r}")


def discover(paths: Sequence[Path]) -> tuple[tuple[TestFile, ...], tuple[UsageError, ...]]:
    """Every test file among ``paths`` (files, and folders with all that is below them), and
    what is wrong with those that can't be run.

    Raises UsageError for a path that doesn't exist, for a file named on its own that is no test
    file, and when nothing is found.
    """
    found: dict[Path, TestFile] = {}
    broken: dict[Path, UsageError] = {}
    for path in paths:
        if not path.exists():
            raise UsageError("there is no such file or folder", file=path)
        for file in yaml_files(path) if path.is_dir() else [path]:
            try:
                test_file = read_test_file(file)
                if test_file is not None:
                    refuse_what_cannot_fail(test_file)
                    found.setdefault(file.resolve(), test_file)
            except UsageError as error:
                broken.setdefault(file.resolve(), error)
                continue
            if test_file is None and file == path:
                raise UsageError(
                    "is no promtool test file: it needs rule_files and tests", file=path
                )
    if not found and not broken:
        where = ", ".join(map(str, paths))
        raise UsageError(f"no promtool test file (rule_files and tests) in {where}")
    return tuple(found.values()), tuple(broken.values())


def yaml_files(folder: Path) -> Iterator[Path]:
    """YAML files below ``folder`` in a stable order, without hidden and installed ones."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name not in _SKIPPED
        )
        yield from (Path(root) / name for name in sorted(files) if name.endswith(_SUFFIXES))


def that_load(rule_file: Path, test_files: Iterable[TestFile]) -> tuple[TestFile, ...]:
    """Those of ``test_files`` that load ``rule_file``."""
    wanted = rule_file.resolve()
    return tuple(test for test in test_files if wanted in test.rule_files)
