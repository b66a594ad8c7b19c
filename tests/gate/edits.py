"""Ways to break monitoring files: each edit changes one thing, and fails if it changed nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

Edit = Callable[[Path], None]
GUIDE = Path(__file__).parents[1] / "data" / "guide"


def replaced(file: str, old: str, new: str) -> Edit:
    """``old``, which must stand exactly once in ``file``, becomes ``new``."""

    def edit(folder: Path) -> None:
        text = (folder / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")

    return edit


def rule(name: str, **changes: Any) -> Edit:
    """Keys of the alert ``name`` get other values; None removes a key, a function is applied."""

    def edit(folder: Path) -> None:
        with _alerts(folder) as rules:
            (found,) = (r for r in rules if r.get("alert") == name)
            for key, value in changes.items():
                if value is None:
                    del found[key]
                else:
                    new = value(found[key]) if callable(value) else value
                    assert found.get(key) != new
                    found[key] = new

    return edit


def removed(name: str) -> Edit:
    """The alert ``name`` is gone."""

    def edit(folder: Path) -> None:
        with _alerts(folder) as rules:
            (found,) = (r for r in rules if r.get("alert") == name)
            rules.remove(found)

    return edit


def as_the_guide_writes_it(name: str) -> Edit:
    """The alert ``name`` word for word from the guide: no severity, no runbook."""

    def edit(folder: Path) -> None:
        guide = YAML().load(GUIDE / "alerts.yml")
        (original,) = (r for r in guide["groups"][0]["rules"] if r.get("alert") == name)
        with _alerts(folder) as rules:
            (index,) = (n for n, r in enumerate(rules) if r.get("alert") == name)
            rules[index] = original

    return edit


def added(alert: dict[str, Any]) -> Edit:
    """A further alert at the end of the group."""

    def edit(folder: Path) -> None:
        with _alerts(folder) as rules:
            rules.append(alert)

    return edit


class _alerts:
    """The rules of alerts.yml, written back at the end of the block."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "alerts.yml"
        self._yaml = YAML()

    def __enter__(self) -> Any:
        self._document = self._yaml.load(self._path)
        return self._document["groups"][0]["rules"]

    def __exit__(self, *_: object) -> None:
        self._yaml.dump(self._document, self._path)
