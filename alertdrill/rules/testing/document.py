"""promtool test files: how they are recognised, which rule files they load, what they test."""

from __future__ import annotations

import glob
import os
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

    @cached_property
    def rule_files(self) -> tuple[Path, ...]:
        found: list[Path] = []
        for pattern in self.place.entries()["rule_files"].texts():
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


def discover(paths: Sequence[Path]) -> tuple[TestFile, ...]:
    """Every test file among ``paths``: files, and folders with all that is below them.

    Raises UsageError for a path that doesn't exist, for a file named on its own that is no test
    file, and when nothing is found.
    """
    found: dict[Path, TestFile] = {}
    for path in paths:
        if path.is_dir():
            for below in yaml_files(path):
                test_file = read_test_file(below)
                if test_file is not None:
                    found.setdefault(below.resolve(), test_file)
            continue
        if not path.exists():
            raise UsageError("there is no such file or folder", file=path)
        test_file = read_test_file(path)
        if test_file is None:
            raise UsageError("is no promtool test file: it needs rule_files and tests", file=path)
        found.setdefault(path.resolve(), test_file)
    if not found:
        where = ", ".join(map(str, paths))
        raise UsageError(f"no promtool test file (rule_files and tests) in {where}")
    return tuple(found.values())


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
