"""Mutants of a rule file: one small change each, as an edit of the text with its position."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ruamel.yaml.nodes import MappingNode, ScalarNode

from alertdrill.errors import UsageError
from alertdrill.rules import promql
from alertdrill.rules.document import Place, parse_document, read_text
from alertdrill.rules.durations import format_ms
from alertdrill.rules.edit import TextEdits
from alertdrill.rules.model import load_rules
from alertdrill.rules.mutation import equivalence
from alertdrill.rules.mutation.expressions import changes
from alertdrill.rules.mutation.fields import remove_entry
from alertdrill.rules.mutation.spans import Located, locate, without_parentheses


@dataclass(frozen=True)
class Rule:
    """A rule of a file. ``start`` and ``end`` are where its text stands, ``line`` from 1.

    ``group`` and ``index`` count from 0; ``is_alert`` False: a recording rule.
    """

    name: str
    is_alert: bool
    group: int
    index: int
    line: int
    start: int
    end: int
    column: int


@dataclass(frozen=True)
class Mutant:
    """``rule`` with one change; ``text`` takes the place of the rule's own text.

    ``operator``  the kind of change
    ``hint``      the assertion that tells it from the rule
    ``refused``   why the PromQL parser doesn't take it; None when it does
    ``equivalent``  no series can tell it from the rule
    """

    rule: Rule
    operator: str
    text: str
    hint: str
    refused: str | None = None
    equivalent: bool = False

    @cached_property
    def key(self) -> str:
        """Names the mutant among those of its file, from run to run."""
        words = f"{self.rule.group}\0{self.rule.index}\0{self.text}"
        return hashlib.sha256(words.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Unread:
    """A rule that can't be mutated, and why."""

    rule: str
    line: int
    why: str


@dataclass(frozen=True)
class Source:
    """A rule file with everything that was made of it."""

    path: Path
    text: str
    rules: tuple[Rule, ...]
    mutants: tuple[Mutant, ...]
    unread: tuple[Unread, ...] = field(default=())

    def mutated(self, mutant: Mutant) -> str:
        """The whole file with ``mutant`` in it; every other byte is the file's."""
        rule = mutant.rule
        return self.text[: rule.start] + mutant.text + self.text[rule.end :]

    def diff(self, mutant: Mutant) -> str:
        """Lines taken out and put in, unified, with the line numbers of the file."""
        rule = mutant.rule
        pad = " " * rule.column
        old, new = pad + self.text[rule.start : rule.end], pad + mutant.text
        lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), n=1, lineterm=""))[2:]
        return "\n".join(
            _shifted(line, rule.line - 1) if line.startswith("@@") else line for line in lines
        )


def _shifted(header: str, by: int) -> str:
    """``@@ -3,2 +3 @@`` counted from the file's first line."""

    def moved(part: str) -> str:
        sign, (line, *count) = part[0], part[1:].split(",")
        return sign + ",".join([str(int(line) + by), *count])

    _, old, new, _ = header.split(" ", 3)
    return f"@@ {moved(old)} {moved(new)} @@"


def read_source(path: Path) -> Source:
    """A rule file and all its mutants. Raises UsageError with file and line."""
    load_rules(path)  # what Prometheus would refuse is said before anything is changed
    text = read_text(path)
    rules: list[Rule] = []
    mutants: list[Mutant] = []
    unread: list[Unread] = []
    for group_index, group in enumerate(parse_document(text, path).entries()["groups"].items()):
        entries = group.entries()
        for index, place in enumerate(entries["rules"].items() if "rules" in entries else ()):
            rule = _rule(text, place, group_index, index)
            rules.append(rule)
            try:
                mutants.extend(_mutants_of(text, path, rule))
            except UsageError as error:
                why = str(error).removeprefix(f"{path}:").lstrip("0123456789: ")
                unread.append(Unread(rule.name, rule.line, why))
            except ValueError as error:
                unread.append(Unread(rule.name, rule.line, str(error).splitlines()[0]))
    return Source(path, text, tuple(rules), tuple(mutants), tuple(unread))


def _rule(text: str, place: Place, group: int, index: int) -> Rule:
    entries = place.entries()
    start = int(place.node.start_mark.index)
    end = start + len(text[start : int(place.node.end_mark.index)].rstrip())
    name = (entries.get("alert") or entries["record"]).text()
    return Rule(
        name=name,
        is_alert="alert" in entries,
        group=group,
        index=index,
        line=int(place.node.start_mark.line) + 1,
        start=start,
        end=end,
        column=int(place.node.start_mark.column),
    )


@dataclass(frozen=True)
class _Draft:
    """A mutant before its proof: the new text of the rule, and what it should read as."""

    operator: str
    text: str
    hint: str
    wanted: dict[str, object]
    expr: str | None = None


def _mutants_of(text: str, path: Path, rule: Rule) -> Iterator[Mutant]:
    # The rule alone, so that the work grows with its length and not with the file's.
    own = " " * rule.column + text[rule.start : rule.end] + "\n"
    place = parse_document(own, path)
    entries = place.entries()
    before = _plain(place)
    original = promql.shape(promql.parse(entries["expr"].text()))
    value_is_used = not rule.is_alert or any(
        "alue" in template
        for key in ("labels", "annotations")
        if key in entries
        for template in (value.text() for value in entries[key].entries().values())
    )
    seen = {repr((without_parentheses(original), _rest(before)))}
    for draft in _drafts(own, place, rule):
        new = draft.text[rule.column :].rstrip()
        hint = draft.hint.replace("{alert}", rule.name)
        if draft.expr is None:
            yield Mutant(rule, draft.operator, new, hint, refused="the PromQL parser refuses it")
            continue
        after = _plain(parse_document(draft.text, path))
        shape = promql.shape(promql.parse(str(after["expr"])))
        if _rest(after) != _rest(draft.wanted) or shape != promql.shape(promql.parse(draft.expr)):
            raise ValueError(f"{draft.operator}: can't be written without changing anything else")
        identity = repr((without_parentheses(shape), _rest(after)))
        if identity in seen:
            continue
        seen.add(identity)
        same = _rest(after) == _rest(before) and equivalence.equivalent(
            str(before["expr"]), draft.expr, value_is_used=value_is_used
        )
        yield Mutant(rule, draft.operator, new, hint, equivalent=same)


def _drafts(own: str, place: Place, rule: Rule) -> Iterator[_Draft]:
    entries = place.entries()
    yield from _expression_drafts(own, place, entries["expr"])
    expr = entries["expr"].text()
    for key in ("for", "keep_firing_for"):
        if key in entries:
            yield from _duration_drafts(own, place, key, expr)
    for key in ("labels", "annotations"):
        yield from _entry_drafts(own, place, key, expr)


def _expression_drafts(own: str, place: Place, expr: Place) -> Iterator[_Draft]:
    located = _as_written(own, expr)
    wanted = _plain(place)
    for change in changes(located):
        try:
            new = located.replace(change.node, change.text)
        except ValueError:
            yield _Draft(change.operator, _with_expr(own, expr, located, change.text), "", {})
            continue
        yield _Draft(change.operator, _with_expr(own, expr, located, new), change.hint, wanted, new)


def _as_written(own: str, expr: Place) -> Located:
    """The expression with the offsets of the file where white space is all that YAML changes."""
    written: list[str] = []

    def keep(part: str) -> str:
        written.append(part)
        return part

    TextEdits(own).rewrite(expr, keep)
    located = locate(written[0])
    if promql.shape(located.root.expr) != promql.shape(promql.parse(expr.text())):
        raise ValueError("its comments end elsewhere once YAML has folded the lines")
    return located


def _with_expr(own: str, expr: Place, located: Located, new: str) -> str:
    edits = TextEdits(own)
    edits.rewrite(expr, lambda _: new)
    return edits.apply()


def _duration_drafts(own: str, place: Place, key: str, expr: str) -> Iterator[_Draft]:
    old = place.entries()[key]
    old_ms = old.duration_ms()
    if not old_ms:
        return
    for new_ms in (old_ms // 2, old_ms * 2, 0):
        edits = TextEdits(own)
        edits.set_plain(old, format_ms(new_ms))
        low, high = sorted((old_ms, new_ms))
        yield _Draft(
            key,
            edits.apply(),
            f"an alert_rule_test of {{alert}} between {format_ms(low)} and {format_ms(high)} after"
            f" its condition {'began' if key == 'for' else 'ended'}",
            {**_plain(place), key: format_ms(new_ms)},
            expr,
        )


def _entry_drafts(own: str, place: Place, key: str, expr: str) -> Iterator[_Draft]:
    entries = place.entries()
    names = entries[key].entries() if key in entries else {}
    for name in names:
        kept = {other: value.text() for other, value in names.items() if other != name}
        wanted = _plain(place)
        if kept:
            wanted[key] = kept
            text = remove_entry(own, entries[key], name)
        else:
            del wanted[key]
            text = remove_entry(own, place, key)
        what = key.removesuffix("s")
        yield _Draft(
            f"{what} dropped",
            text,
            f"an alert_rule_test at which {{alert}} fires, with {name} in its exp_{key}",
            wanted,
            expr,
        )


def _plain(place: Place) -> dict[str, object]:
    """A rule as texts, and its labels and annotations as mappings of texts."""
    assert isinstance(place.node, MappingNode)
    return {
        key: value.text()
        if isinstance(value.node, ScalarNode) and not value.is_null
        else {name: entry.text() for name, entry in value.entries().items()}
        for key, value in place.entries().items()
    }


def _rest(rule: dict[str, object]) -> dict[str, object]:
    """Everything but the expression."""
    return {key: value for key, value in sorted(rule.items()) if key != "expr"}
