"""The project's alertmanager.yml, made to run here: other receivers, a faster clock, no more.

Routes, grouping, inhibition and templates stay. Every receiver gets one webhook, to a recorder;
the waits are divided; what would reach out of this machine, or needs its secrets, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from alertdrill.errors import UsageError
from alertdrill.rules.alertmanager import (
    GROUP_INTERVAL_S,
    GROUP_WAIT_S,
    REPEAT_INTERVAL_S,
    AlertmanagerConfig,
    Route,
)
from alertdrill.rules.document import Place, read_document
from alertdrill.rules.durations import format_ms, parse_ms
from alertdrill.rules.routing.recorder import Recorder
from alertdrill.rules.testing.emit import emit, quoted

# Where an integration is silent about send_resolved, it is true; except for these.
_UNRESOLVED_BY_DEFAULT = frozenset({"email", "rocketchat", "slack", "wechat"})
# The longest wait and the longest repeat last this long. A message takes milliseconds, so that
# shorter ones would measure this machine.
_WAIT_S = 1.0
_REPEAT_S = 2.5
_SHORTEST_S = 0.1
# Longer than this, nobody waits for an answer.
MAX_WAIT_S = 600.0
_HOURS = ("mute_time_intervals", "active_time_intervals")


@dataclass(frozen=True)
class Clock:
    """``wait_factor`` divides group_wait and group_interval, ``repeat_factor`` repeat_interval.

    What would last less than a tenth of a second lasts a tenth; nothing stays nothing.
    """

    wait_factor: float
    repeat_factor: float

    def wait_s(self, real_s: float) -> float:
        return _divided(real_s, self.wait_factor)

    def repeat_s(self, real_s: float) -> float:
        return _divided(real_s, self.repeat_factor)

    def __str__(self) -> str:
        if self.wait_factor == self.repeat_factor:
            return f"÷{self.wait_factor:g}"
        return f"÷{self.wait_factor:g}, repeats ÷{self.repeat_factor:g}"


def _divided(real_s: float, factor: float) -> float:
    if factor == 1:
        return real_s
    return min(real_s, max(_SHORTEST_S, math.floor(real_s / factor * 1000) / 1000))


def clock_for(config: AlertmanagerConfig, factor: float | None) -> Clock:
    """``factor`` for everything; None: two, so that waiting and repeating take seconds each.

    Raises UsageError when the longest wait would take more than ten minutes.
    """
    routes = tuple(config.route.walk())
    longest_s = max(max(r.group_wait_s, r.group_interval_s) for r in routes)
    repeat_s = max(r.repeat_interval_s for r in routes)
    if factor is None:
        return Clock(
            wait_factor=max(1.0, round(longest_s / _WAIT_S, 3)),
            repeat_factor=max(1.0, round(repeat_s / _REPEAT_S, 3)),
        )
    clock = Clock(factor, factor)
    waits_s = clock.wait_s(longest_s) + clock.repeat_s(repeat_s)
    if waits_s > MAX_WAIT_S:
        raise UsageError(
            f"with --factor {factor:g} the longest group and repeat intervals take "
            f"{waits_s:.0f} s; give {math.ceil((longest_s + repeat_s) / MAX_WAIT_S)} or more, or "
            "leave it out"
        )
    return clock


def repeat_real_s(route: Route) -> float:
    """When a notification is repeated at the earliest, in seconds after the last one: at the
    first flush (each ``group_interval``) at which more than ``repeat_interval`` has passed."""
    flushes = math.floor(Fraction(route.repeat_interval_s) / Fraction(route.group_interval_s)) + 1
    return flushes * route.group_interval_s


@dataclass(frozen=True)
class Text:
    """A text of a receiver that is a template. ``name``: e.g. ``slack_configs[0].title``."""

    receiver: str
    name: str
    template: str
    line: int


@dataclass(frozen=True)
class Setup:
    """What of a configuration is put to the test.

    ``resolves``   by receiver: whether any of its integrations tells that an alert has ended
    ``replaced``   what is not as in the project's file, for people
    """

    path: Path
    document: Place
    clock: Clock
    resolves: Mapping[str, bool]
    texts: tuple[Text, ...]
    template_files: tuple[Path, ...]
    replaced: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def may_reach_out(self) -> bool:
        """Whether Alertmanager would connect somewhere without having any alert."""
        return "tracing" in self.document.entries()


def read_setup(config: AlertmanagerConfig, clock: Clock) -> Setup:
    """Read what has to be replaced in ``config``'s file. Raises UsageError."""
    document = read_document(config.path)
    top = document.entries()
    receivers = top["receivers"].items() if "receivers" in top else ()
    texts: list[Text] = []
    resolves: dict[str, bool] = {}
    kinds: dict[str, tuple[str, ...]] = {}
    for receiver in receivers:
        entries = receiver.entries()
        name = entries["name"].text()
        integrations = list(_integrations(receiver))
        resolves[name] = any(_sends_resolved(kind, item) for kind, item in integrations)
        kinds[name] = tuple(dict.fromkeys(kind for kind, _ in integrations))
        for key, place in entries.items():
            if key != "name":
                texts.extend(_texts(name, key, place.node))
    files, lost = _template_files(config.path.parent, top.get("templates"))
    notes = [f"no template file matches {pattern!r}" for pattern in lost]
    if any(key in route for route in _routes(top["route"]) for key in _HOURS):
        notes.append("time intervals are left out: judged as if no route was ever muted by hours")
    replaced = [
        f"receiver {name}: {', '.join(used) or 'nothing'} → a webhook to the recorder"
        for name, used in kinds.items()
    ]
    replaced.append(f"group_wait, group_interval and repeat_interval {clock}")
    shared = top["global"].entries() if "global" in top else {}
    dropped = sorted(shared.keys() - {"resolve_timeout"})
    if dropped:
        replaced.append(f"global {', '.join(dropped)}: left out")
    return Setup(
        path=config.path,
        document=document,
        clock=clock,
        resolves=resolves,
        texts=tuple(texts),
        template_files=files,
        replaced=tuple(replaced),
        notes=tuple(notes),
    )


def _integrations(receiver: Place) -> Iterator[tuple[str, Place]]:
    for key, place in receiver.entries().items():
        if key.endswith("_configs"):
            for item in place.items():
                yield key.removesuffix("_configs"), item


def _sends_resolved(kind: str, integration: Place) -> bool:
    entries = integration.entries()
    if "send_resolved" in entries:
        return entries["send_resolved"].flag()
    return kind not in _UNRESOLVED_BY_DEFAULT


def _texts(receiver: str, name: str, node: Node) -> Iterator[Text]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield from _texts(receiver, f"{name}.{key.value}", value)
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield from _texts(receiver, f"{name}[{index}]", item)
    elif isinstance(node, ScalarNode) and "{{" in node.value:
        yield Text(receiver, name, node.value, int(node.start_mark.line) + 1)


def _template_files(folder: Path, place: Place | None) -> tuple[tuple[Path, ...], list[str]]:
    """The files that ``templates`` names, and the patterns that name none.

    A pattern written for a container is looked for by its last part beside the configuration.
    """
    found: dict[Path, None] = {}
    lost = []
    for pattern in place.texts() if place is not None else ():
        below = Path(pattern)
        files = sorted(folder.glob(below.name if below.is_absolute() else pattern))
        if below.is_absolute() and not files:
            files = sorted(Path(below.anchor).glob(str(below.relative_to(below.anchor))))
        files = [file.resolve() for file in files if file.is_file()]
        found.update(dict.fromkeys(files))
        if not files:
            lost.append(pattern)
    return tuple(found), lost


def _routes(route: Place) -> Iterator[dict[str, Place]]:
    entries = route.entries()
    yield entries
    for child in entries["routes"].items() if "routes" in entries else ():
        yield from _routes(child)


def rewrite(setup: Setup, recorder: Recorder, *, inhibit: bool, texts: bool) -> str:
    """The configuration to run: with or without inhibitions, and the receivers' texts."""
    top = setup.document.entries()
    replaced: dict[Node, str] = {}
    if "receivers" in top:
        written = [
            _receiver(setup, recorder, item.entries()["name"].text(), texts)
            for item in top["receivers"].items()
        ]
        replaced[top["receivers"].node] = f"[{', '.join(written)}]"
    if "templates" in top:
        files = ", ".join(quoted(str(file)) for file in setup.template_files)
        replaced[top["templates"].node] = f"[{files}]"
    replaced[top["route"].node] = _route(setup.clock, top["route"], root=True)
    kept = {"route", "receivers", "templates", *(["inhibit_rules"] if inhibit else [])}
    parts = [f"{key}: {emit(place.node, replaced)}" for key, place in top.items() if key in kept]
    shared = top["global"].entries() if "global" in top else {}
    if "resolve_timeout" in shared:
        parts.append(f"global: {{resolve_timeout: {emit(shared['resolve_timeout'].node)}}}")
    return "\n".join(parts) + "\n"


def _receiver(setup: Setup, recorder: Recorder, name: str, texts: bool) -> str:
    resolved = str(setup.resolves[name]).lower()
    url = quoted(recorder.notify_url(name))
    parts = [
        f"name: {quoted(name)}",
        f"webhook_configs: [{{url: {url}, send_resolved: {resolved}}}]",
    ]
    own = [(n, text) for n, text in enumerate(setup.texts) if text.receiver == name and texts]
    if own:
        # Slack's message takes any text, and renders it with what every integration renders with.
        slack = ", ".join(
            f"{{api_url: {quoted(recorder.render_url(number))}, channel: c, send_resolved: true,"
            f" text: {quoted(text.template)}}}"
            for number, text in own
        )
        parts.append(f"slack_configs: [{slack}]")
    return f"{{{', '.join(parts)}}}"


def _route(clock: Clock, route: Place, *, root: bool) -> str:
    entries = route.entries()
    parts = []
    waits = {"group_wait": GROUP_WAIT_S, "group_interval": GROUP_INTERVAL_S}
    repeats = {"repeat_interval": REPEAT_INTERVAL_S}
    for key, place in entries.items():
        if key not in (*waits, *repeats, *_HOURS, "routes"):
            parts.append(f"{key}: {emit(place.node)}")
    for divide, defaults in ((clock.wait_s, waits), (clock.repeat_s, repeats)):
        for key, default_s in defaults.items():
            if key in entries or root:
                real_s = parse_ms(entries[key].text()) / 1000 if key in entries else default_s
                parts.append(f"{key}: {format_ms(round(divide(real_s) * 1000))}")
    if "routes" in entries:
        below = (_route(clock, child, root=False) for child in entries["routes"].items())
        parts.append(f"routes: [{', '.join(below)}]")
    return f"{{{', '.join(parts)}}}"
