"""Which files there are below the paths that were given, and what each of them is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from alertdrill.errors import UsageError
from alertdrill.rules.document import is_readable


class Kind(StrEnum):
    RULES = "rules"
    PROMETHEUS = "prometheus"
    ALERTMANAGER = "alertmanager"
    # promtool's, which name rule files and may stand among them.
    TESTS = "tests"
    OTHER = "other"


_SUFFIXES = (".yml", ".yaml", ".rules")
_PROMETHEUS = frozenset({"scrape_configs", "scrape_config_files", "alerting", "rule_files"})
_ALERTMANAGER = frozenset({"route", "receivers", "inhibit_rules"})


@dataclass(frozen=True)
class Candidate:
    """A file to look at. ``named``: it was given by name, so it must be something."""

    path: Path
    named: bool


def candidates(paths: Iterable[Path]) -> list[Candidate]:
    """Files as given; of folders, every YAML file below that isn't hidden, each file once.

    Raises UsageError for a path that doesn't exist.
    """
    found: dict[str, Candidate] = {}
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
                if file.suffix in _SUFFIXES and not hidden and file.is_file():
                    found.setdefault(os.path.realpath(file), Candidate(file, named=False))
        elif is_readable(path):
            found[os.path.realpath(path)] = Candidate(path, named=True)
        else:
            raise UsageError("no such file or folder", file=path)
    return list(found.values())


def kind_of(path: Path, roots: list[Node]) -> Kind:
    """By the keys at the top; by the name, where there are none to go by."""
    keys = set(_top_keys(roots))
    if "groups" in keys or ("spec" in keys and _is_rule_resource(roots)):
        return Kind.RULES
    if "tests" in keys:
        return Kind.TESTS
    if keys & _PROMETHEUS or ("alert_rules" in keys):
        return Kind.PROMETHEUS
    if keys & _ALERTMANAGER:
        return Kind.ALERTMANAGER
    return kind_by_name(path) if not keys else Kind.OTHER


def kind_by_name(path: Path) -> Kind:
    """What a file that can't be read is meant to be."""
    name = path.name.lower()
    for kind in (Kind.PROMETHEUS, Kind.ALERTMANAGER):
        if name.startswith(kind.value) and "rule" not in name:
            return kind
    if "rule" in name or "alert" in name or "record" in name:
        return Kind.RULES
    return Kind.OTHER


def _top_keys(roots: list[Node]) -> Iterator[str]:
    for root in roots:
        if isinstance(root, MappingNode):
            yield from (str(key.value) for key, _ in root.value)


def _is_rule_resource(roots: list[Node]) -> bool:
    return any(
        isinstance(value, ScalarNode) and key.value == "kind" and value.value == "PrometheusRule"
        for root in roots
        if isinstance(root, MappingNode)
        for key, value in root.value
    )
