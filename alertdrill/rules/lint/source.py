"""YAML read leniently: everything that is wrong is noted with its place, and reading goes on."""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from alertdrill.rules.document import is_template, pairs
from alertdrill.rules.durations import parse_ms
from alertdrill.rules.lint.finding import START, Spot

NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True)
class Note:
    """A problem found while reading: a code, words, a place and, if it helps, what to do."""

    code: str
    message: str
    spot: Spot = START
    fix: str = ""


class Source:
    """A file's text and what was noted about it."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self.notes: list[Note] = []
        self.lines = text.split("\n")
        self._starts = [0, *(at + 1 for at, char in enumerate(text) if char == "\n")]

    def note(self, code: str, message: str, spot: Spot = START, fix: str = "") -> None:
        self.notes.append(Note(code, message, spot, fix))

    def spot_at(self, index: int) -> Spot:
        line = bisect_right(self._starts, index)
        return Spot(line, index - self._starts[line - 1] + 1)


def documents(source: Source) -> list[Node]:
    """The documents of ``source`` that can be read; what can't be is noted (AD101, AD103)."""
    found: list[Node] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an anchor that is used again is legal
            # The round-trip loader would mark folds with control characters in the value.
            for node in YAML(typ="safe", pure=True).compose_all(source.text):
                if node is not None:
                    found.append(node)
    except RecursionError:
        source.note("AD101", "is nested too deeply to be read")
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        spot = START if mark is None else Spot(int(mark.line) + 1, int(mark.column) + 1)
        if is_template(source.text, error):
            spot = template_spot(source)
            source.note("AD103", "is a template, not YAML: no rule in it was judged", spot)
        else:
            source.note("AD101", f"not valid YAML: {_one_line(error.problem)}", spot)
    except (YAMLError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        # ruamel.yaml lets some of Python's own errors through for documents cut in odd places.
        source.note("AD101", f"not valid YAML: {_one_line(str(error))}")
    return found


def _one_line(text: str | None) -> str:
    return ((text or "").splitlines() or ["it can't be read"])[0]


def template_spot(source: Source) -> Spot:
    places = [source.text.find(word) for word in ("{{", "{%")]
    return source.spot_at(min((at for at in places if at >= 0), default=0))


@dataclass(frozen=True)
class Text:
    """A scalar, as Go would read it into a string, and its place."""

    value: str
    source: Source = field(repr=False)
    node: ScalarNode = field(repr=False)

    def spot(self, word: str = "") -> Spot:
        """Where the value starts, or where ``word`` stands in it for the first time."""
        start, end = int(self.node.start_mark.index), int(self.node.end_mark.index)
        raw = self.source.text[start:end]
        at = _find_word(raw, word) if word else -1
        if at < 0:
            at = _content_offset(raw) if self.node.style in ("|", ">") else 0
        return self.source.spot_at(start + at)


def _find_word(raw: str, word: str) -> int:
    at = raw.find(word)
    while at >= 0:
        around = raw[at - 1 : at] + raw[at + len(word) : at + len(word) + 1]
        if not any(char.isalnum() or char in "_:" for char in around):
            return at
        at = raw.find(word, at + 1)
    return -1


def _content_offset(raw: str) -> int:
    """Where a block scalar's content begins, behind ``|`` and the line break."""
    head = raw.find("\n") + 1
    return head + len(raw[head:]) - len(raw[head:].lstrip())


@dataclass(frozen=True)
class Entry:
    """One entry of a mapping. ``name`` is for messages: ``groups[0].rules[2].expr``."""

    name: str
    key: Node
    node: Node
    source: Source = field(repr=False)

    @property
    def key_spot(self) -> Spot:
        return spot_of(self.key)

    @property
    def is_null(self) -> bool:
        return isinstance(self.node, ScalarNode) and self.node.tag == NULL

    def text(self) -> Text | None:
        """A scalar; anything else is noted (AD106). A null is None and goes without a note."""
        if self.is_null:
            return None
        if isinstance(self.node, ScalarNode):
            return Text(str(self.node.value), self.source, self.node)
        self.source.note("AD106", f"{self.name} must be a text", self.key_spot)
        return None

    def duration_ms(self) -> int | None:
        text = self.text()
        if text is None:
            return None
        try:
            return parse_ms(text.value)
        except ValueError as error:
            self.source.note("AD106", f"{self.name} is {error}", text.spot())
            return None

    def items(self) -> tuple[Entry, ...]:
        if self.is_null:
            return ()
        if not isinstance(self.node, SequenceNode):
            self.source.note("AD106", f"{self.name} must be a list", self.key_spot)
            return ()
        return tuple(
            Entry(f"{self.name}[{index}]", node, node, self.source)
            for index, node in enumerate(self.node.value)
        )

    def texts(self) -> tuple[Text, ...]:
        return tuple(text for item in self.items() if (text := item.text()) is not None)

    def entries(self, known: Collection[str] | None = None) -> dict[str, Entry]:
        """The entries of a mapping, merge keys resolved; other keys than ``known`` are AD105."""
        if self.is_null:
            return {}
        if not isinstance(self.node, MappingNode):
            name = self.name or "the document"
            self.source.note("AD106", f"{name} must be a mapping", self.key_spot)
            return {}
        found: dict[str, Entry] = {}
        for key, value, own in pairs(self.node):
            if not isinstance(key, ScalarNode):
                self.source.note("AD106", f"a key of {self.name or 'the top level'} must be a text")
                continue
            word = str(key.value)
            name = f"{self.name}.{word}" if self.name else word
            if word in found:
                if own:
                    self.source.note("AD106", f"{name} is given twice", spot_of(key))
                continue
            if known is not None and word not in known:
                self.source.note(
                    "AD105",
                    f"unknown key {word!r} in {self.name or 'the top level'}",
                    spot_of(key),
                )
            found[word] = Entry(name, key, value, self.source)
        return found


def spot_of(node: Node) -> Spot:
    return Spot(int(node.start_mark.line) + 1, int(node.start_mark.column) + 1)


def last_line(node: Node, source: Source) -> int:
    """The line where ``node`` ends: comments and blank lines behind it are not its own."""
    first = int(node.start_mark.line) + 1
    lines = source.lines
    end = node.end_mark
    # A block's end is told as the place where the next token starts.
    inside = bool(lines[int(end.line)][: int(end.column)].strip())
    last = max(int(end.line) + inside, first)
    while last > first and (
        not lines[last - 1].strip() or lines[last - 1].lstrip().startswith("#")
    ):
        last -= 1
    return last
