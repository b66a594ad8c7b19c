"""The receivers' own templates: which labels and annotations they print."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alertdrill.rules.lint.templates import Action, actions

_OPENING = frozenset(("if", "range", "with", "define", "block"))
_KINDS = ("CommonLabels", "GroupLabels", "CommonAnnotations", "Labels", "Annotations")
_PATH = re.compile(rf"\$?\w*\.(?P<kind>{'|'.join(_KINDS)})\.(?P<name>\w+)")
# Methods of Alertmanager's own type, not names of labels.
_METHODS = frozenset(("SortedPairs", "Remove", "Names", "Values"))


@dataclass(frozen=True)
class Reference:
    """A name that a text prints, e.g. ``CommonLabels`` and ``cluster``."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f".{self.kind}.{self.name}"

    def is_in(self, body: Mapping[str, Any]) -> bool:
        """Whether a notification has it: in common, or in any of its alerts."""
        top = self.kind[0].lower() + self.kind[1:]
        return self.name in body[top] if top in body else self.exists_in(body)

    def exists_in(self, body: Mapping[str, Any]) -> bool:
        """Whether any alert of a notification has it, in common with the others or not."""
        if self.kind == "GroupLabels":
            return self.name in body["groupLabels"]
        own = self.kind.removeprefix("Common").lower()
        return any(self.name in alert[own] for alert in body["alerts"])


def definitions(texts: Iterable[str]) -> dict[str, list[Action]]:
    """The bodies of ``{{ define "name" }}`` in template files."""
    found: dict[str, list[Action]] = {}
    for text in texts:
        depth = 0
        body: list[Action] | None = None
        for action in actions(text):
            if action.keyword == "define" and depth == 0:
                body = found.setdefault(action.words[1].strip('"`'), [])
            elif action.keyword == "end" and depth == 1:
                body = None
            elif body is not None:
                body.append(action)
            depth += (action.keyword in _OPENING) - (action.keyword == "end")
    return found


def references(text: str, defined: Mapping[str, list[Action]]) -> frozenset[Reference]:
    """What ``text`` prints, with the templates that it uses; not what it asks for first."""
    return frozenset(_references(list(actions(text)), defined, frozenset()))


def _references(
    body: list[Action], defined: Mapping[str, list[Action]], inside: frozenset[str]
) -> Iterator[Reference]:
    guards: list[frozenset[Reference]] = []
    for action in body:
        named = frozenset(_named(action))
        if action.keyword == "end":
            if guards:
                guards.pop()
        elif action.keyword in _OPENING:
            guards.append(named)
        elif action.keyword == "template" and len(action.words) > 1:
            name = action.words[1].strip('"`')
            if name in defined and name not in inside:
                below = frozenset(_references(defined[name], defined, inside | {name}))
                yield from below - frozenset().union(*guards)
        elif action.keyword != "else":
            yield from named - frozenset().union(*guards)


def _named(action: Action) -> Iterator[Reference]:
    for word in action.words:
        match = _PATH.fullmatch(word)
        if match and match["name"] not in _METHODS:
            yield Reference(match["kind"], match["name"])
