"""Change single values of a YAML text where they stand; every other byte stays as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from ruamel.yaml.nodes import MappingNode, ScalarNode

from alertdrill.rules.document import Place

_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")


class TextEdits:
    """Replacements and insertions, collected first and made at once by ``apply``."""

    def __init__(self, text: str):
        self._text = text
        self._edits: dict[tuple[int, int], str] = {}

    def set_plain(self, place: Place, value: str) -> None:
        """Give a scalar a new value that needs no quotes (a duration); keeps those it has."""
        start, end, raw = self._slice(place)
        quote = raw[0] if raw[:1] in ("'", '"') else ""
        self._edits[start, end] = f"{quote}{value}{quote}"

    def rewrite(self, place: Place, change: Callable[[str], str]) -> None:
        """Change a scalar's value; ``change`` must be blind to white space.

        Plain and block scalars are changed as written. Quotes would be in its way: there the
        new value is written double-quoted.
        """
        start, end, raw = self._slice(place)
        assert isinstance(place.node, ScalarNode)
        style = place.node.style
        if style in ("'", '"'):
            self._edits[start, end] = json.dumps(change(place.text()), ensure_ascii=False)
        elif style in ("|", ">"):
            header, newline, body = raw.partition("\n")
            self._edits[start, end] = header + newline + change(body)
        else:
            self._edits[start, end] = change(raw)

    def insert(self, mapping: Place, entries: dict[str, str]) -> None:
        """Put ``entries`` (values as YAML in one line) before the first of a mapping's own."""
        if not entries:
            return
        node = mapping.node
        if mapping.is_null:
            assert mapping.key is not None
            at = self._text.index(":", mapping.key.end_mark.index) + 1
            inline = ", ".join(f"{key}: {value}" for key, value in entries.items())
            self._edits[at, at] = f" {{{inline}}}"
            return
        assert isinstance(node, MappingNode)
        if node.flow_style:
            at = self._text.index("{", node.start_mark.index) + 1
            tail = ", " if node.value else ""
            inline = ", ".join(f"{key}: {value}" for key, value in entries.items())
            self._edits[at, at] = inline + tail
            return
        first = node.value[0][0].start_mark
        indent = "\n" + " " * int(first.column)
        at = int(first.index)
        self._edits[at, at] = "".join(f"{key}: {value}{indent}" for key, value in entries.items())

    def apply(self) -> str:
        text = self._text
        for (start, end), replacement in sorted(self._edits.items(), reverse=True):
            text = text[:start] + replacement + text[end:]
        return text

    def _slice(self, place: Place) -> tuple[int, int, str]:
        """Where a scalar's text stands, behind its anchor and tag, and the text."""
        start, end = int(place.node.start_mark.index), int(place.node.end_mark.index)
        properties = _PROPERTIES.match(self._text[start:end])
        start += properties.end() if properties else 0
        return start, end, self._text[start:end]
