"""YAML read strictly and with positions, so that every complaint can name a file and a line."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from alertdrill.errors import UsageError
from alertdrill.rules.durations import parse_ms

_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"


@dataclass(frozen=True)
class Place:
    """One value of a document: what it is called, and where it stands."""

    file: Path
    name: str
    node: Node
    key: Node | None = None

    @property
    def line(self) -> int:
        """From 1: the line where a scalar starts; otherwise that of its key, where it has one."""
        anchor = self.node if self.key is None or not self.is_null else self.key
        if self.key is not None and not isinstance(self.node, ScalarNode):
            anchor = self.key
        return int(anchor.start_mark.line) + 1

    def error(self, message: str) -> UsageError:
        return UsageError(message, file=self.file, line=self.line)

    @property
    def is_null(self) -> bool:
        return isinstance(self.node, ScalarNode) and self.node.tag == _NULL

    def text(self) -> str:
        """A scalar as written: Go reads ``1`` and ``true`` into a string the same way."""
        if not isinstance(self.node, ScalarNode) or self.is_null:
            raise self.error(f"{self.name} must be a text")
        return str(self.node.value)

    def duration_ms(self) -> int:
        try:
            return parse_ms(self.text())
        except ValueError as error:
            raise self.error(f"{self.name} is {error}") from None

    def flag(self) -> bool:
        if not isinstance(self.node, ScalarNode) or self.node.tag != _BOOL:
            raise self.error(f"{self.name} must be true or false")
        return str(self.node.value).lower() == "true"

    def items(self) -> tuple[Place, ...]:
        """The members of a list; a null counts as an empty one, as it does in Go."""
        if self.is_null:
            return ()
        if not isinstance(self.node, SequenceNode):
            raise self.error(f"{self.name} must be a list")
        return tuple(
            Place(self.file, f"{self.name}[{index}]", node)
            for index, node in enumerate(self.node.value)
        )

    def texts(self) -> tuple[str, ...]:
        return tuple(item.text() for item in self.items())

    def entries(self, known: Collection[str] | None = None, hint: str = "") -> dict[str, Place]:
        """The entries of a mapping; a null counts as an empty one.

        With ``known``, any other key is a UsageError at its own line. So is a key given twice.
        """
        if self.is_null:
            return {}
        if not isinstance(self.node, MappingNode):
            raise self.error(f"{self.name or 'the document'} must be a mapping")
        found: dict[str, Place] = {}
        for key, value in self.node.value:
            word = str(key.value)
            name = f"{self.name}.{word}" if self.name else word
            place = Place(self.file, name, value, key)
            line = int(key.start_mark.line) + 1
            if word in found:
                raise UsageError(f"{name} is given twice", file=self.file, line=line)
            if known is not None and word not in known:
                where = self.name or "the top level"
                raise UsageError(
                    f"unknown key {word!r} in {where}{hint}", file=self.file, line=line
                )
            found[word] = place
        return found


def is_readable(path: Path) -> bool:
    """Whether ``path`` is a file, or a pipe such as ``/dev/stdin`` or a shell's ``<(…)``."""
    return path.is_file() or path.is_fifo()


@functools.cache
def _piped(path: Path) -> bytes:
    """A pipe can be read only once: who asks again is told the same."""
    return path.read_bytes()


def read_text(path: Path) -> str:
    """The text of a file or pipe. Raises UsageError."""
    try:
        return (_piped(path) if path.is_fifo() else path.read_bytes()).decode("utf-8")
    except OSError as error:
        raise UsageError(f"can't be read: {error.strerror}", file=path) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"is not UTF-8: {error.reason}", file=path) from None


def parse_document(text: str, path: Path) -> Place:
    """The one mapping that ``text`` holds; ``path`` is for messages.

    Raises UsageError for an empty file, several documents, anything but a mapping, bad syntax.
    """
    try:
        # The round-trip loader would mark folds with control characters in the value.
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = None if mark is None else int(mark.line) + 1
        problem = error.problem or "not valid YAML"
        if "another document" in problem:
            problem = "holds more than one YAML document; only one is read"
        raise UsageError(problem, file=path, line=line) from None
    except YAMLError as error:
        first_line = str(error).splitlines()[0]
        raise UsageError(f"is not valid YAML: {first_line}", file=path) from None
    if node is None or (isinstance(node, ScalarNode) and node.tag == _NULL):
        raise UsageError("is empty", file=path)
    place = Place(path, "", node)
    if not isinstance(node, MappingNode):
        raise place.error("must be a mapping at its top level")
    return place


def read_document(path: Path) -> Place:
    """``parse_document`` of a file."""
    return parse_document(read_text(path), path)
