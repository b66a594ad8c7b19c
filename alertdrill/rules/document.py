"""YAML read strictly and with positions, so that every complaint can name a file and a line."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from alertdrill.errors import UsageError
from alertdrill.rules.durations import parse_ms

_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_MERGE = "<<"


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
        """The entries of a mapping, merge keys resolved; a null counts as an empty one.

        With ``known``, any other key is a UsageError at its own line. So is a key given twice.
        """
        if self.is_null:
            return {}
        if not isinstance(self.node, MappingNode):
            raise self.error(f"{self.name or 'the document'} must be a mapping")
        found: dict[str, Place] = {}
        for key, value, own in pairs(self.node):
            line = int(key.start_mark.line) + 1
            where = self.name or "the top level"
            if not isinstance(key, ScalarNode):
                raise UsageError(f"a key of {where} must be a text", file=self.file, line=line)
            word = str(key.value)
            name = f"{self.name}.{word}" if self.name else word
            place = Place(self.file, name, value, key)
            if word in found and not own:
                continue
            if word in found:
                raise UsageError(f"{name} is given twice", file=self.file, line=line)
            if known is not None and word not in known:
                raise UsageError(
                    f"unknown key {word!r} in {where}{hint}", file=self.file, line=line
                )
            found[word] = place
        return found


def pairs(node: MappingNode) -> Iterator[tuple[Node, Node, bool]]:
    """Key, value and whether it is the mapping's own; those of merge keys come last."""
    yield from _pairs(node, frozenset())


def _pairs(node: MappingNode, seen: frozenset[int]) -> Iterator[tuple[Node, Node, bool]]:
    merged: list[Node] = []
    for key, value in node.value:
        if isinstance(key, ScalarNode) and key.value == _MERGE and key.style is None:
            merged.extend(value.value if isinstance(value, SequenceNode) else [value])
        else:
            yield key, value, True
    for other in merged:
        # An alias may name the mapping that it stands in.
        if isinstance(other, MappingNode) and id(other) not in seen | {id(node)}:
            for key, value, _ in _pairs(other, seen | {id(node)}):
                yield key, value, False


_TEMPLATE_WORDS = (".Values", ".Release", ".Chart", "{{ include", "{{- include", "{%")


def is_template(text: str, error: MarkedYAMLError | None = None) -> bool:
    """Whether ``text`` looks like a Helm or Jinja template rather than what one renders to.

    ``error``  why it is no YAML: a template breaks off at an action. Elsewhere ``{{ $value }}``
               is what every rule file may hold
    """
    if any(word in text for word in _TEMPLATE_WORDS):
        return True
    marks = () if error is None else (error.problem_mark, error.context_mark)
    near = {int(mark.line) + step for mark in marks if mark is not None for step in (-1, 0)}
    lines = text.splitlines()
    return any(lines[n].lstrip().startswith("{{") for n in near if 0 <= n < len(lines))


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
    except RecursionError:
        raise UsageError("is nested too deeply to be read", file=path) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = None if mark is None else int(mark.line) + 1
        problem = error.problem or "not valid YAML"
        if is_template(text, error):
            problem = "is a template, not YAML: render it first (helm template …)"
        if "another document" in problem:
            problem = "holds more than one YAML document; only one is read"
        raise UsageError(problem, file=path, line=line) from None
    except (YAMLError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        # ruamel.yaml lets some of Python's own errors through for documents cut in odd places.
        first_line = (str(error).splitlines() or ["it can't be read"])[0]
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
