"""The Go templates in labels and annotations: read well enough to know what they ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from alertdrill.rules.lint.words import words

_ACTION = re.compile(r"\{\{-?(?P<body>.*?)-?\}\}", re.DOTALL)
_WORD = re.compile(
    r"""(?P<text> "(?:\\.|[^"\\])*" | `[^`]*` | '(?:\\.|[^'\\])*' | /\*.*?\*/ )
      | (?P<number> \d[\w.]* )
      | (?P<path> \$?[A-Za-z_]\w*(?:\.\w+)* | \$(?:\.\w+)* | (?:\.\w+)+ )
      | (?P<assign> := )""",
    re.VERBOSE | re.DOTALL,
)

_OPENING = ("if", "range", "with", "define", "block")
_KEYWORDS = words("if else end range with define template block break continue")
_FUNCTIONS = words(
    # Go's own
    "and or not len index slice print printf println html js urlquery call eq ne lt le gt ge"
    " true false nil"
    # Prometheus'
    " query first label value sortByLabel strvalue args reReplaceAll safeHtml match title toUpper"
    " toLower stripPort stripDomain graphLink tableLink humanize humanize1024 humanizeDuration"
    " humanizePercentage humanizeTimestamp toTime toDuration now pathPrefix externalURL"
    " parseDuration urlQueryEscape"
)
_VARIABLES = frozenset({"$labels", "$value", "$externalLabels", "$externalURL"})


@dataclass(frozen=True)
class Action:
    """What stands between ``{{`` and ``}}``, in words; a quoted text is one word."""

    words: tuple[str, ...]

    @property
    def keyword(self) -> str:
        return self.words[0] if self.words and self.words[0] in _KEYWORDS else ""


def actions(text: str) -> Iterator[Action]:
    for match in _ACTION.finditer(text):
        found = [word.group() for word in _WORD.finditer(match["body"]) if not word["number"]]
        yield Action(tuple(word for word in found if not word.startswith("/*")))


def mistakes(text: str) -> Iterator[tuple[str, str]]:
    """What Prometheus couldn't execute in ``text``: the word and what is wrong with it."""
    if text.count("{{") != len(_ACTION.findall(text)):
        yield "{{", "an action is opened and not closed"
        return
    known = set(_VARIABLES)
    depth = 0
    for action in actions(text):
        depth += action.keyword in _OPENING
        if action.keyword == "end":
            depth -= 1
        if depth < 0:
            yield "end", "{{ end }} ends nothing"
            return
        yield from _unknown_words(action, known)
    if depth:
        yield "{{", "{{ if }}, {{ with }} or {{ range }} without {{ end }}"


def _unknown_words(action: Action, known: set[str]) -> Iterator[tuple[str, str]]:
    """Variables and functions that don't exist; those that ``action`` declares join ``known``."""
    named = action.keyword in ("define", "template", "block")
    for at, word in enumerate(action.words):
        head = word.split(".")[0]
        if len(head) > 1 and head.startswith("$"):
            if ":=" in action.words[at + 1 : at + 3]:
                known.add(head)
            elif head not in known:
                yield head, f"there is no variable {head}"
        elif word[0].isalpha() and not named and word not in _FUNCTIONS | _KEYWORDS:
            yield word, f"there is no function {word}"


def labels_used(text: str) -> Iterator[str]:
    """The labels that ``text`` prints, without those that it asks for first (``with``, ``if``)."""
    guards: list[frozenset[str]] = []
    for action in actions(text):
        used = frozenset(_labels(action))
        if action.keyword == "end":
            if guards:
                guards.pop()
        elif action.keyword in _OPENING:
            guards.append(used)
        elif action.keyword != "else":
            yield from sorted(used - frozenset().union(*guards))


def _labels(action: Action) -> Iterator[str]:
    for at, word in enumerate(action.words):
        for root in ("$labels.", ".Labels.", "$.Labels."):
            if word.startswith(root):
                yield word.removeprefix(root).split(".")[0]
        if word in ("$labels", ".Labels") and action.words[at - 1 : at] == ("index",):
            name = action.words[at + 1 : at + 2]
            if name and name[0].startswith('"'):
                yield name[0].strip('"')


def uses_value(text: str) -> bool:
    """Whether ``text`` prints the value of the alert's expression; asking ``if`` is not that."""
    return any("$value" in action.words for action in actions(text) if not action.keyword)
