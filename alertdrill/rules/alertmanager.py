"""Alertmanager's configuration: who is told of an alert, when, and what keeps it quiet.

The semantics are Alertmanager's: regular expressions are anchored, a label that an alert lacks
is the empty text, the first matching child route wins unless it says ``continue``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from alertdrill.rules import keys
from alertdrill.rules.document import Place, read_document

Labels = Mapping[str, str]

# Alertmanager's own defaults.
GROUP_WAIT_S = 30.0
GROUP_INTERVAL_S = 300.0
REPEAT_INTERVAL_S = 14_400.0


@dataclass(frozen=True)
class Matcher:
    """One comparison of a label; ``op`` is ``=``, ``!=``, ``=~`` or ``!~``."""

    label: str
    op: str
    value: str

    def matches(self, labels: Labels) -> bool:
        actual = labels.get(self.label, "")
        if self.op in ("=", "!="):
            return (actual == self.value) == (self.op == "=")
        return bool(re.fullmatch(f"(?:{self.value})", actual)) == (self.op == "=~")

    def __str__(self) -> str:
        return f'{self.label}{self.op}"{self.value}"'


def all_match(matchers: Iterable[Matcher], labels: Labels) -> bool:
    return all(matcher.matches(labels) for matcher in matchers)


@dataclass(frozen=True)
class Route:
    """One node of the routing tree; what it didn't say itself it has inherited."""

    receiver: str
    matchers: tuple[Matcher, ...]
    continues: bool
    group_by: tuple[str, ...]
    group_wait_s: float
    group_interval_s: float
    repeat_interval_s: float
    routes: tuple[Route, ...]
    line: int

    def matching(self, labels: Labels) -> tuple[Route, ...]:
        """The routes that an alert takes through this one, in order; none when it doesn't match."""
        if not all_match(self.matchers, labels):
            return ()
        found: list[Route] = []
        for child in self.routes:
            taken = child.matching(labels)
            found.extend(taken)
            if taken and not child.continues:
                break
        return tuple(found) or (self,)

    def walk(self) -> Iterator[Route]:
        """This route and every one below it."""
        yield self
        for child in self.routes:
            yield from child.walk()


@dataclass(frozen=True)
class Webhook:
    """A webhook of a receiver; without ``send_resolved`` nobody hears that an alert ended."""

    url: str
    send_resolved: bool
    line: int


@dataclass(frozen=True)
class Receiver:
    """``kinds``: the integrations that it uses, e.g. ``("webhook",)``; none: a black hole."""

    name: str
    webhooks: tuple[Webhook, ...]
    kinds: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class InhibitRule:
    """While an alert that matches ``source`` fires, those that match ``target`` stay quiet."""

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]
    line: int

    def inhibits(self, source: Labels, target: Labels) -> bool:
        """Whether ``source`` firing mutes ``target``; an alert that is both never mutes another."""
        if not (all_match(self.source, source) and all_match(self.target, target)):
            return False
        if all_match(self.source, target) and all_match(self.target, source):
            return False
        return all(source.get(label, "") == target.get(label, "") for label in self.equal)


@dataclass(frozen=True)
class AlertmanagerConfig:
    """A whole configuration. ``labels`` below include ``alertname``."""

    path: Path
    route: Route
    receivers: tuple[Receiver, ...]
    inhibit_rules: tuple[InhibitRule, ...]

    def receiver_for(self, labels: Labels) -> tuple[str, ...]:
        """Every receiver that is told of an alert with ``labels``, in the order of the routes."""
        return tuple(route.receiver for route in self.route.matching(labels))

    def timing_for(self, labels: Labels) -> tuple[float, float, float]:
        """``group_wait``, ``group_interval`` and ``repeat_interval`` in seconds.

        Where an alert takes several routes: the longest of each.
        """
        taken = self.route.matching(labels)
        return (
            max(route.group_wait_s for route in taken),
            max(route.group_interval_s for route in taken),
            max(route.repeat_interval_s for route in taken),
        )

    def groups_alone(self, labels: Labels) -> bool:
        """Whether no alert of another name can share this one's group: then ``group_wait`` is
        all that it waits; otherwise it may join a group that waits for ``group_interval``."""
        return all(
            "alertname" in route.group_by or "..." in route.group_by
            for route in self.route.matching(labels)
        )

    def inhibited_by(self, labels: Labels, firing: Iterable[Labels]) -> bool:
        """Whether an alert with ``labels`` stays quiet while the alerts ``firing`` do."""
        others = tuple(firing)
        return any(rule.inhibits(other, labels) for rule in self.inhibit_rules for other in others)

    def receiver(self, name: str) -> Receiver:
        """Raises KeyError for a name that no receiver has."""
        for receiver in self.receivers:
            if receiver.name == name:
                return receiver
        raise KeyError(name)


def load_alertmanager(path: Path) -> AlertmanagerConfig:
    """Read and check ``path``. Raises UsageError, with the line where there is one."""
    document = read_document(path)
    top = document.entries(keys.ALERTMANAGER, ", Alertmanager has none such")
    if "route" not in top:
        raise document.error("no route: Alertmanager would refuse it")
    receivers = (
        tuple(_receiver(item) for item in top["receivers"].items()) if ("receivers" in top) else ()
    )
    names = {receiver.name for receiver in receivers}
    if len(names) < len(receivers):
        raise top["receivers"].error("two receivers have the same name")
    route = _route(top["route"], None, names)
    inhibit = top.get("inhibit_rules")
    rules = tuple(_inhibit_rule(item) for item in inhibit.items()) if inhibit else ()
    return AlertmanagerConfig(path, route, receivers, rules)


def _receiver(place: Place) -> Receiver:
    entries = place.entries(keys.RECEIVER)
    if "name" not in entries:
        raise place.error("a receiver needs a name")
    hooks = entries.get("webhook_configs")
    kinds = tuple(
        sorted(key.removesuffix("_configs") for key in entries if key.endswith("_configs"))
    )
    return Receiver(
        name=entries["name"].text(),
        webhooks=tuple(_webhook(item) for item in hooks.items()) if hooks else (),
        kinds=kinds,
        line=place.line,
    )


def _webhook(place: Place) -> Webhook:
    entries = place.entries(keys.WEBHOOK)
    if "url" not in entries and "url_file" not in entries:
        raise place.error("a webhook needs a url or a url_file")
    url = entries["url"].text() if "url" in entries else ""
    resolved = entries["send_resolved"].flag() if "send_resolved" in entries else True
    return Webhook(url, resolved, place.line)


def _route(place: Place, parent: Route | None, receivers: set[str]) -> Route:
    entries = place.entries(keys.ROUTE)
    matchers = _matchers(entries, "")
    if parent is None and (matchers or "continue" in entries):
        raise place.error("the root route takes every alert: it can't have matchers or continue")
    if parent is None and "receiver" not in entries:
        raise place.error("the root route needs a receiver")
    if "receiver" in entries:
        receiver = entries["receiver"].text()
        if receiver not in receivers:
            raise entries["receiver"].error(f"no receiver is called {receiver!r}")
    else:
        assert parent is not None
        receiver = parent.receiver

    def seconds(key: str, inherited: float) -> float:
        if key not in entries:
            return inherited
        value = entries[key].duration_ms() / 1000
        if value == 0 and key != "group_wait":
            raise entries[key].error(f"{key} can't be zero")
        return value

    route = Route(
        receiver=receiver,
        matchers=matchers,
        continues=entries["continue"].flag() if "continue" in entries else False,
        group_by=(
            entries["group_by"].texts()
            if "group_by" in entries
            else (parent.group_by if parent else ())
        ),
        group_wait_s=seconds("group_wait", parent.group_wait_s if parent else GROUP_WAIT_S),
        group_interval_s=seconds(
            "group_interval", parent.group_interval_s if parent else GROUP_INTERVAL_S
        ),
        repeat_interval_s=seconds(
            "repeat_interval", parent.repeat_interval_s if parent else REPEAT_INTERVAL_S
        ),
        routes=(),
        line=place.line,
    )
    if "routes" not in entries:
        return route
    below = tuple(_route(item, route, receivers) for item in entries["routes"].items())
    return replace(route, routes=below)


def _inhibit_rule(place: Place) -> InhibitRule:
    entries = place.entries(keys.INHIBIT)
    source, target = _matchers(entries, "source_"), _matchers(entries, "target_")
    if not source or not target:
        raise place.error(
            "an inhibition needs source and target matchers: it would mute everything"
        )
    equal = entries["equal"].texts() if "equal" in entries else ()
    return InhibitRule(source, target, equal, place.line)


def _matchers(entries: Mapping[str, Place], prefix: str) -> tuple[Matcher, ...]:
    """``matchers`` and the older ``match`` and ``match_re`` below one prefix."""
    found: list[Matcher] = []
    for key, op in (("match", "="), ("match_re", "=~")):
        if prefix + key in entries:
            for label, place in entries[prefix + key].entries().items():
                found.append(_checked(Matcher(label, op, place.text()), place))
    if prefix + "matchers" in entries:
        for item in entries[prefix + "matchers"].items():
            try:
                parsed = parse_matchers(item.text())
            except ValueError as error:
                raise item.error(str(error)) from None
            found.extend(_checked(matcher, item) for matcher in parsed)
    return tuple(found)


def _checked(matcher: Matcher, place: Place) -> Matcher:
    if matcher.op in ("=~", "!~"):
        try:
            re.compile(matcher.value)
        except re.error as error:
            raise place.error(f"{matcher.value!r} is no regular expression: {error}") from None
    return matcher


_MATCHER = re.compile(
    r"""\s* (?: (?P<label>[A-Za-z_:][A-Za-z0-9_:]*) | "(?P<quoted_label>(?:\\.|[^"\\])*)" )
        \s* (?P<op>=~|!~|!=|=)
        \s* (?: "(?P<quoted>(?:\\.|[^"\\])*)" | (?P<bare>[^",{}]*?) )
        \s* (?:,|$)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """``severity="critical"``, ``a=~"x|y", b!=c`` or either in braces, as Alertmanager reads it.

    Raises ValueError for anything else.
    """
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    found = []
    position = 0
    while position < len(inner):
        match = _MATCHER.match(inner, position)
        if match is None:
            raise ValueError(f'not a matcher: {text!r} (Alertmanager writes severity="critical")')
        label = match["label"] or _unescape(match["quoted_label"])
        value = match["bare"] if match["quoted"] is None else _unescape(match["quoted"])
        found.append(Matcher(label, match["op"], value))
        position = match.end()
    return tuple(found)


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), text, flags=re.DOTALL)
