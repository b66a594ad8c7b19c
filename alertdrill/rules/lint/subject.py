"""Rule files as lint sees them: every rule that can be read at all, with the place of each part."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from promql_parser import Expr
from ruamel.yaml.nodes import MappingNode, Node

from alertdrill.rules import keys, promql
from alertdrill.rules.lint.source import Entry, Source, Text, last_line, spot_of

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_METRIC = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_RECORDING_LACKS = ("for", "keep_firing_for", "annotations")
# Of Thanos; the operator's resource hands it on.
_OPERATOR_GROUP = keys.GROUP | {"partial_response_strategy"}


@dataclass(frozen=True)
class Visit:
    """One node of an expression and those above it, the nearest last."""

    expr: Expr
    above: tuple[Expr, ...]


@dataclass(frozen=True)
class Group:
    """``interval_ms`` None: Prometheus' evaluation interval."""

    name: str
    interval_ms: int | None


@dataclass(frozen=True)
class Rule:
    """An alert (``is_alert``) or a recording rule. ``tree`` None: the expression can't be parsed.

    ``labels`` are those of the group and its own; ``lines`` the first and the last of the rule.
    """

    is_alert: bool
    name: Text
    expr: Text
    tree: Expr | None
    visits: tuple[Visit, ...] = field(repr=False)
    labels: Mapping[str, Text]
    annotations: Mapping[str, Text]
    for_ms: int
    for_text: Text | None
    group: Group
    lines: tuple[int, int]
    path: Path

    @property
    def fixed_labels(self) -> dict[str, str]:
        """The labels that are known before it fires, ``alertname`` among them."""
        fixed = {name: text.value for name, text in self.labels.items() if "{{" not in text.value}
        return {**fixed, "alertname": self.name.value}


@dataclass(frozen=True)
class Unparsed:
    """An expression that the parser refuses although a newer Prometheus may not."""

    expr: Text
    words: str


@dataclass
class RuleFile:
    """What a file holds: ``unparsed`` is for promtool to judge."""

    source: Source
    rules: list[Rule] = field(default_factory=list)
    unparsed: list[Unparsed] = field(default_factory=list)


def read_rules(source: Source, roots: list[Node]) -> RuleFile:
    """Every rule of every document. What is wrong with them is noted in ``source``.

    Where some are the operator's resources, as in what Helm renders, the others are none of
    Prometheus' business, and each is a file of its own.
    """
    found = RuleFile(source)
    resources = [root for root in roots if _is_operator(root)]
    for root in resources:
        _read_document(Entry("", root, root, source), found, set())
    names: set[str] = set()
    for number, root in enumerate([] if resources else roots):
        if number == 1:
            source.note(
                "AD104",
                "a second YAML document: Prometheus reads only the first and says nothing",
                spot_of(root),
            )
        _read_document(Entry("", root, root, source), found, names)
    return found


def _read_document(document: Entry, found: RuleFile, names: set[str]) -> None:
    source = document.source
    operator = _is_operator(document.node)
    top = document.entries(None if operator else keys.RULE_FILE)
    if operator and "spec" in top:
        top = top["spec"].entries(keys.RULE_FILE)
    groups = top["groups"].items() if "groups" in top else ()
    if not groups:
        source.note("AD102", "no groups: no rule would ever be evaluated", document.key_spot)
    for item in groups:
        entries = item.entries(_OPERATOR_GROUP if operator else keys.GROUP)
        group = _group(item, entries, names)
        shared = _labels(entries.get("labels"))
        for rule in entries["rules"].items() if "rules" in entries else ():
            _read_rule(rule, group, shared, found)


def _is_operator(document: Node) -> bool:
    """Whether it is the Prometheus operator's resource, which has the rules below ``spec``."""
    return isinstance(document, MappingNode) and any(
        key.value == "kind" and value.value == "PrometheusRule" for key, value in document.value
    )


def _group(item: Entry, entries: Mapping[str, Entry], names: set[str]) -> Group:
    name = entries["name"].text() if "name" in entries else None
    if name is None or not name.value:
        item.source.note("AD106", "a group needs a name", item.key_spot)
    elif name.value in names:
        item.source.note("AD106", f"two groups are called {name.value!r}", name.spot())
    else:
        names.add(name.value)
    for key in ("query_offset",):
        if key in entries:
            entries[key].duration_ms()
    interval = entries["interval"].duration_ms() if "interval" in entries else None
    return Group("" if name is None else name.value, interval or None)


def _labels(entry: Entry | None) -> dict[str, Text]:
    found: dict[str, Text] = {}
    for label, value in ({} if entry is None else entry.entries()).items():
        if not _LABEL.fullmatch(label):
            value.source.note("AD106", f"{label!r} is not a label name", value.key_spot)
        text = value.text()
        if text is not None:
            found[label] = text
    return found


def _read_rule(item: Entry, group: Group, shared: Mapping[str, Text], found: RuleFile) -> None:
    source = item.source
    entries = item.entries(keys.RULE)
    if not entries:
        if isinstance(item.node, MappingNode) or item.is_null:
            source.note("AD106", f"{item.name} is empty", item.key_spot)
        return
    kind = _kind(item, entries)
    name = entries[kind].text() if kind else None
    expr = entries["expr"].text() if "expr" in entries else None
    if kind and (name is None or not name.value):
        source.note("AD106", f"{entries[kind].name} needs a name", entries[kind].key_spot)
    if expr is None:
        source.note("AD106", "a rule needs an expr", item.key_spot)
    labels = {**shared, **_labels(entries.get("labels"))}
    annotations = _labels(entries.get("annotations"))
    waits = {
        key: entries[key].duration_ms() for key in ("for", "keep_firing_for") if key in entries
    }
    if kind == "record":
        _check_recording(entries, name)
    if not kind or name is None or expr is None:
        return
    tree, visits = _parse(expr, found)
    found.rules.append(
        Rule(
            is_alert=kind == "alert",
            name=name,
            expr=expr,
            tree=tree,
            visits=visits,
            labels=labels,
            annotations=annotations,
            for_ms=waits.get("for") or 0,
            for_text=entries["for"].text() if "for" in entries else None,
            group=group,
            lines=(spot_of(item.node).line, last_line(item.node, source)),
            path=source.path,
        )
    )


def _kind(item: Entry, entries: Mapping[str, Entry]) -> str:
    given = [kind for kind in ("alert", "record") if kind in entries]
    if len(given) == 1:
        return given[0]
    item.source.note("AD106", "a rule has either alert or record", item.key_spot)
    return ""


def _check_recording(entries: Mapping[str, Entry], name: Text | None) -> None:
    for key in _RECORDING_LACKS:
        if key in entries:
            entry = entries[key]
            entry.source.note("AD106", f"a recording rule can't have {key}", entry.key_spot)
    if name is not None and name.value and not _METRIC.fullmatch(name.value):
        name.source.note("AD106", f"{name.value!r} is not a metric name", name.spot())


# --- expressions ---------------------------------------------------------------------------


def _parse(expr: Text, found: RuleFile) -> tuple[Expr | None, tuple[Visit, ...]]:
    text, source = expr.value, expr.source
    try:
        tree = promql.parse(text)
        return tree, tuple(_walk(tree, ()))
    except ValueError as error:
        words, may_be_newer = str(error), isinstance(error, promql.NotUnderstood)
    if "{{" in text or "{%" in text:
        source.note(
            "AD103",
            "the expression is a template: render the file first",
            expr.spot("{{" if "{{" in text else "{%"),
        )
    elif "$" in text and (promql.IN_BRACKETS in words or "$" in words):
        source.note(
            "AD107",
            f"not PromQL: {words}; variables of Grafana mean nothing to Prometheus",
            expr.spot("$"),
        )
    elif may_be_newer:
        found.unparsed.append(Unparsed(expr, words))
    else:
        source.note("AD107", f"not PromQL: {words}", expr.spot())
    return None, ()


def _walk(expr: Expr, above: tuple[Expr, ...]) -> Iterator[Visit]:
    yield Visit(expr, above)
    for child in promql.children(expr):
        yield from _walk(child, (*above, expr))
