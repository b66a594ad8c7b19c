"""Run alert rules on a faster clock: every duration that alerting depends on, divided.

Divided are PromQL ranges, steps and offsets, ``for``, ``keep_firing_for``, the intervals of
groups, evaluation and scraping, query offsets, and Alertmanager's waits; defaults that a file
leaves unsaid are written into it. Numbers, strings, ``@`` times and comments stay. A timeout of
the network is no part of the clock (a scrape takes as long as it takes): ``scrape_timeout`` is
only cut to the interval, because Prometheus asks for that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from alertdrill.errors import UsageError
from alertdrill.rules import promql
from alertdrill.rules.alertmanager import (
    GROUP_INTERVAL_S,
    GROUP_WAIT_S,
    REPEAT_INTERVAL_S,
)
from alertdrill.rules.document import Place, parse_document, read_text
from alertdrill.rules.durations import as_factor, divide_ms, format_ms
from alertdrill.rules.edit import TextEdits
from alertdrill.rules.model import (
    DEFAULT_INTERVAL_S,
    AlertRule,
    PrometheusConfig,
    RecordingRule,
    UnreadRule,
    load_monitoring,
)
from alertdrill.rules.soundness import Unit, calendar_reasons, unit, unsound_reasons

# Prometheus' own defaults of the flags that are durations of alerting.
_FLAGS_MS = {"--rules.alert.resend-delay": 60_000, "--query.lookback-delta": 300_000}
# Below this, a scrape of a busy process is likely to be late or to time out.
_FAST_SCRAPE_MS = 100


@dataclass(frozen=True)
class Unsound:
    """A rule that means something else on the faster clock: why, and what was done about it.

    ``calendar``: whatever its numbers mean, so nobody can say that they don't matter.
    """

    rule: str
    why: str
    done: str
    calendar: bool = False


_HOURS = "Alertmanager's time intervals follow the real clock and calendar"


@dataclass(frozen=True)
class Compressed:
    """``texts`` by file name: prometheus.yml, the rule files, alertmanager.yml.

    ``flags`` are for Prometheus' command line. ``notes`` are for people: nothing is wrong, but
    they should know.
    """

    factor: float
    texts: Mapping[str, str]
    flags: Mapping[str, str]
    unsound: tuple[Unsound, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def has_hours(self) -> bool:
        """Whether routes depend on the hour of the day, which no factor divides."""
        return _HOURS in self.notes

    @property
    def resend_delay_s(self) -> float:
        """``--rules.alert.resend-delay`` in seconds."""
        return int(_FLAGS_MS["--rules.alert.resend-delay"] / as_factor(self.factor)) / 1000


def compress(prometheus: Path, alertmanager: Path, factor: float) -> Compressed:
    """Divide every duration of ``prometheus``, its rule files and ``alertmanager`` by ``factor``.

    Durations are rounded down to a millisecond. With factor 1 the texts are the files', byte for
    byte. Raises UsageError with file and line for what can't be read, for a duration that would
    fall below a millisecond, and for a factor below 1.
    """
    exact = _exact(factor)
    monitoring = load_monitoring(prometheus, alertmanager)
    paths = (prometheus, *monitoring.prometheus.rule_files, alertmanager)
    names = [path.name for path in paths]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two of the files to compress are called {name}", file=prometheus)
    rewrite = {prometheus: _edit_prometheus, alertmanager: _edit_alertmanager}
    texts = {path.name: _rewritten(path, rewrite.get(path, _edit_rules), exact) for path in paths}
    flags = {flag: format_ms(divide_ms(ms, exact)) for flag, ms in _FLAGS_MS.items()}
    if exact == 1:
        return Compressed(factor, texts, flags)
    rules = [
        rule
        for file in monitoring.files
        for group in file.groups
        for rule in group.rules
        if not isinstance(rule, UnreadRule)
    ]
    notes = _notes(monitoring.prometheus, alertmanager, exact)
    return Compressed(factor, texts, flags, _unsound(rules), notes)


def _exact(factor: float) -> Fraction:
    try:
        return as_factor(factor)
    except ValueError as error:
        raise UsageError(str(error)) from None


class _Editor:
    """Edits of one document, and a record of what each duration should read afterwards."""

    def __init__(self, text: str, factor: Fraction):
        self.edits = TextEdits(text)
        self.factor = factor
        self.wanted: dict[int, str] = {}
        self.uses: Counter[int] = Counter()
        self.added: dict[int, dict[str, object]] = {}

    def divided_ms(self, place: Place) -> int:
        try:
            return divide_ms(place.duration_ms(), self.factor)
        except ValueError as error:
            raise place.error(f"{place.name}: {error}") from None

    def set(self, place: Place, ms: int) -> None:
        self.edits.set_plain(place, format_ms(ms))
        self._want(place, format_ms(ms))

    def _want(self, place: Place, value: str) -> None:
        self.wanted[id(place.node)] = value
        self.uses[id(place.node)] += 1

    def divide(self, entries: Mapping[str, Place], *keys: str) -> None:
        for key in keys:
            if key in entries:
                self.set(entries[key], self.divided_ms(entries[key]))

    def expression(self, place: Place) -> None:
        text = place.text()
        try:
            self._want(place, promql.divide_durations(text, self.factor))
        except ValueError as error:
            raise place.error(f"{place.name}: {error}") from None
        self.edits.rewrite(place, lambda part: promql.rewrite_text(part, self.factor))

    def defaults(
        self, mapping: Place, entries: Mapping[str, Place], default_s: Mapping[str, float]
    ) -> None:
        """Say what ``mapping`` leaves unsaid."""
        missing = {
            key: format_ms(divide_ms(round(seconds * 1000), self.factor))
            for key, seconds in default_s.items()
            if key not in entries
        }
        self.edits.insert(mapping, missing)
        self.added[id(mapping.node)] = dict(missing)


def _rewritten(path: Path, edit: Callable[[_Editor, Place], None], factor: Fraction) -> str:
    text = read_text(path)
    if factor == 1:
        return text
    document = parse_document(text, path)
    editor = _Editor(text, factor)
    edit(editor, document)
    result = editor.edits.apply()
    # An alias stands for one and the same node.
    if any(count > editor.uses[node] > 0 for node, count in _occurrences(document.node).items()):
        raise UsageError("an anchor is used as a duration and as something else", file=path)
    # The proof: what was written reads as what was wanted, and nothing else has changed.
    wanted = _plain(document.node, editor.wanted, editor.added)
    if _plain(parse_document(result, path).node, {}, {}) != wanted:
        raise UsageError(
            "can't be rewritten with its layout kept; write it more plainly", file=path
        )
    return result


def _occurrences(node: object) -> Counter[int]:
    found = Counter([id(node)])
    if isinstance(node, MappingNode):
        for _, value in node.value:
            found += _occurrences(value)
    elif isinstance(node, SequenceNode):
        for item in node.value:
            found += _occurrences(item)
    return found


def _plain(
    node: object, replaced: Mapping[int, str], added: Mapping[int, Mapping[str, object]]
) -> object:
    """A node as plain data, with some values replaced and some entries added."""
    if isinstance(node, MappingNode):
        own = {str(key.value): _plain(value, replaced, added) for key, value in node.value}
        return {**own, **added.get(id(node), {})}
    if isinstance(node, SequenceNode):
        return [_plain(item, replaced, added) for item in node.value]
    assert isinstance(node, ScalarNode)
    if id(node) in added:
        return dict(added[id(node)])
    return replaced.get(id(node), str(node.value))


def _edit_rules(editor: _Editor, document: Place) -> None:
    for group in document.entries()["groups"].items():
        entries = group.entries()
        editor.divide(entries, "interval", "query_offset")
        for rule in entries["rules"].items() if "rules" in entries else ():
            fields = rule.entries()
            editor.expression(fields["expr"])
            editor.divide(fields, "for", "keep_firing_for")


def _edit_prometheus(editor: _Editor, document: Place) -> None:
    top = document.entries()
    default_ms = round(DEFAULT_INTERVAL_S * 1000)
    defaults = {key: DEFAULT_INTERVAL_S for key in ("scrape_interval", "evaluation_interval")}
    shared: dict[str, Place] = {}
    if "global" in top:
        shared = top["global"].entries()
        editor.divide(shared, "scrape_interval", "evaluation_interval", "rule_query_offset")
        editor.defaults(top["global"], shared, defaults)
    else:
        fast = format_ms(divide_ms(default_ms, editor.factor))
        inline = ", ".join(f"{key}: {fast}" for key in defaults)
        editor.edits.insert(document, {"global": f"{{{inline}}}"})
        editor.added[id(document.node)] = {"global": dict.fromkeys(defaults, fast)}
    interval_ms = (
        editor.divided_ms(shared["scrape_interval"])
        if "scrape_interval" in shared
        else divide_ms(default_ms, editor.factor)
    )
    _cap_timeout(editor, shared, interval_ms)
    for job in top["scrape_configs"].items() if "scrape_configs" in top else ():
        entries = job.entries()
        editor.divide(entries, "scrape_interval")
        own = entries.get("scrape_interval")
        _cap_timeout(editor, entries, editor.divided_ms(own) if own else interval_ms)


def _cap_timeout(editor: _Editor, entries: Mapping[str, Place], interval_ms: int) -> None:
    if "scrape_timeout" in entries:
        place = entries["scrape_timeout"]
        editor.set(place, min(place.duration_ms(), interval_ms))


def _edit_alertmanager(editor: _Editor, document: Place) -> None:
    top = document.entries()
    shared = top["global"].entries() if "global" in top else {}
    editor.divide(shared, "resolve_timeout")
    _edit_route(editor, top["route"])
    editor.defaults(
        top["route"],
        top["route"].entries(),
        {
            "group_wait": GROUP_WAIT_S,
            "group_interval": GROUP_INTERVAL_S,
            "repeat_interval": REPEAT_INTERVAL_S,
        },
    )


def _edit_route(editor: _Editor, route: Place) -> None:
    entries = route.entries()
    editor.divide(entries, "group_wait", "group_interval", "repeat_interval")
    for child in entries["routes"].items() if "routes" in entries else ():
        _edit_route(editor, child)


def _unsound(rules: Sequence[AlertRule | RecordingRule]) -> tuple[Unsound, ...]:
    trees = [(rule, promql.parse(rule.expr)) for rule in rules]
    recordings = [(rule, tree) for rule, tree in trees if isinstance(rule, RecordingRule)]
    recorded: dict[str, Unit] = {}
    # A recorded series may use another one that is defined later; no chain of them is longer
    # than their number.
    for _ in recordings:
        recorded = {rule.name: unit(tree, recorded) for rule, tree in recordings}
    named = [(rule.name, tree) for rule, tree in recordings]
    calendars = [(name, reason) for name, tree in named for reason in calendar_reasons(tree)]
    done = "durations divided, numbers kept; judge it on the real clock"
    own = [
        Unsound(rule.name, reason, done, calendar=reason in calendar_reasons(tree))
        for rule, tree in trees
        for reason in unsound_reasons(tree, recorded)
    ]
    # What a rule reads through recordings it depends on all the same.
    heard = [
        Unsound(rule.name, f"through {name}: {reason}", done, calendar=True)
        for rule, tree in trees
        for name, reason in calendars
        if name in promql.metrics_read(tree, named)
    ]
    return (*own, *heard)


def _notes(config: PrometheusConfig, alertmanager: Path, factor: Fraction) -> tuple[str, ...]:
    found = []
    for job in config.jobs:
        ms = int(round(job.scrape_interval_s * 1000) / factor)
        if ms < _FAST_SCRAPE_MS:
            found.append(f"job {job.name} is scraped every {ms} ms: late scrapes are likely")
    routing = parse_document(read_text(alertmanager), alertmanager).entries()
    if routing.keys() & {"time_intervals", "mute_time_intervals"}:
        found.append(_HOURS)
    return tuple(found)
