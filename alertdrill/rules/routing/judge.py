"""What the experiments say of each alert and of the whole: findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from alertdrill.config import AlertExpectation
from alertdrill.rules.alertmanager import AlertmanagerConfig, InhibitRule, all_match
from alertdrill.rules.document import read_text
from alertdrill.rules.lint.templates import labels_used
from alertdrill.rules.routing.experiment import (
    Delivery,
    Inhibitions,
    Lab,
    Silences,
    Together,
    possible_pairs,
)
from alertdrill.rules.routing.finding import Code, Finding, few, verdict_of
from alertdrill.rules.routing.firing import Firing, always_fires
from alertdrill.rules.routing.recorder import Identity, identity
from alertdrill.rules.routing.render import FAILED
from alertdrill.rules.routing.rewrite import Text
from alertdrill.rules.routing.texts import definitions, references
from alertdrill.verdict import Verdict

SEVERITY = "severity"
# By convention, the severity of alerts that are not meant for anybody: watchdogs, inhibitors.
_FOR_NOBODY = "none"
# How the reason of a firing begins that nothing could render.
UNAVAILABLE = "promtool is not to be had"


@dataclass(frozen=True)
class Evidence:
    """What the three experiments saw."""

    together: Together
    inhibitions: Inhibitions
    silences: Silences


@dataclass(frozen=True)
class Judged:
    """One alert: where it went, what keeps it quiet, and what is wrong with that."""

    firing: Firing
    deliveries: tuple[Delivery, ...]
    inhibited_by: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.findings)


def judge(
    lab: Lab,
    firings: Sequence[Firing],
    evidence: Evidence,
    table: Mapping[str, AlertExpectation],
) -> tuple[Judged, ...]:
    """Every alert by itself. ``table`` says where alerts belong, by name; others need no more
    than to reach somebody."""
    names = {identity(firing.labels): firing.rule.name for firing in firings}
    circles = _circles(evidence.inhibitions.pairs)
    judged = []
    for firing in firings:
        who = identity(firing.labels)
        by = evidence.inhibitions.pairs.get(who, frozenset())
        findings = [
            *_of_templates(firing, firings),
            *_of_routes(lab, firing, evidence.together, table.get(firing.rule.name)),
            *_of_times(lab, firing, evidence.together),
            *_of_inhibition(firing, firings, evidence.inhibitions, circles, names),
            *_of_silence(who, evidence.silences),
        ]
        judged.append(
            Judged(
                firing=firing,
                deliveries=evidence.together.deliveries.get(who, ()),
                inhibited_by=tuple(sorted({names[source] for source in by})),
                findings=tuple(findings),
            )
        )
    return tuple(judged)


def _of_templates(firing: Firing, firings: Sequence[Firing]) -> Iterator[Finding]:
    if firing.unrendered.startswith(UNAVAILABLE):
        yield Finding(Code.NOT_RENDERED, firing.unrendered)
        return
    if firing.unrendered:
        yield Finding(
            Code.TEMPLATE_FAILED, f"Prometheus refuses a template: {_first(firing.unrendered)}"
        )
    for name, text in (*firing.labels.items(), *firing.annotations.items()):
        if text.startswith(FAILED):
            # A query finds nothing here: only a Prometheus with the data could tell.
            asks = "query " in {**firing.rule.labels, **firing.rule.annotations}.get(name, "")
            code = Code.NOT_RENDERED if asks else Code.TEMPLATE_FAILED
            yield Finding(code, f"{name} can't be expanded: {_cause(text)}")
    others = [other for other in firings if other.rule is firing.rule]
    for label in sorted(firing.lacks):
        where = _where_used(firing, label)
        if all(label in other.lacks for other in others):
            yield Finding(
                Code.TEMPLATE_LABEL, f"{where} prints $labels.{label}, which it never has"
            )
        else:
            yield Finding(
                Code.SOMETIMES_EMPTY,
                f"{where} prints $labels.{label}, which it lacks with {_series(firing)}",
            )


def _where_used(firing: Firing, label: str) -> str:
    texts = {**firing.rule.labels, **firing.rule.annotations}
    return ", ".join(name for name, text in texts.items() if label in set(labels_used(text)))


def _series(firing: Firing) -> str:
    inside = ", ".join(f'{name}="{value}"' for name, value in sorted(firing.series.items()))
    return f"{{{inside}}}"


def _first(text: str) -> str:
    return text.strip().splitlines()[0]


def _cause(text: str) -> str:
    """What stands between Prometheus' own words around an error."""
    return text.removeprefix(FAILED).rstrip(">").rsplit(": ", 1)[-1]


def _of_routes(
    lab: Lab, firing: Firing, together: Together, expected: AlertExpectation | None
) -> Iterator[Finding]:
    if firing.labels_unknown:
        return
    routed = together.routed.get(identity(firing.labels), ())
    if expected is not None:
        if set(routed) != {expected.receiver}:
            yield Finding(
                Code.WRONG_RECEIVER,
                f"goes to {', '.join(routed) or 'nobody'}; it belongs to {expected.receiver}",
            )
        wrong = {
            label: firing.labels.get(label)
            for label, value in expected.labels.items()
            if firing.labels.get(label) != value
        }
        for label, value in wrong.items():
            found = "is missing" if value is None else f"is {value!r}"
            yield Finding(
                Code.WRONG_LABELS, f"{label} {found}; it should be {expected.labels[label]!r}"
            )
    severity = firing.labels.get(SEVERITY, "")
    if severity == _FOR_NOBODY:
        return
    told = [name for name in routed if lab.config.receiver(name).kinds]
    if not told:
        where = ", ".join(routed) or "no receiver"
        yield Finding(Code.NO_RECEIVER, f"reaches nobody: {where} has no integration")
    if expected is None and severity and _falls_through(lab.config, firing):
        yield Finding(
            Code.DEFAULT_ROUTE,
            f"no route takes severity {severity!r}: it falls to the default receiver "
            f"{lab.config.route.receiver}",
        )


def _falls_through(config: AlertmanagerConfig, firing: Firing) -> bool:
    """Whether only the root takes it, although routes go by severity and none by its own."""
    if config.route.matching(firing.labels) != (config.route,):
        return False
    matchers = [
        matcher
        for route in config.route.walk()
        for matcher in route.matchers
        if matcher.label == SEVERITY
    ]
    return bool(matchers) and not any(matcher.matches(firing.labels) for matcher in matchers)


def _of_times(lab: Lab, firing: Firing, together: Together) -> Iterator[Finding]:
    who = identity(firing.labels)
    arrived = {delivery.receiver: delivery for delivery in together.deliveries.get(who, ())}
    routed = together.routed.get(who, ())
    for receiver in routed:
        if not lab.config.receiver(receiver).kinds:
            continue
        delivery = arrived.get(receiver)
        if delivery is None:
            words = f": {together.errors[-1]}" if together.errors else ""
            yield Finding(Code.NOT_NOTIFIED, f"was never notified to {receiver}{words}")
            continue
        if delivery.repeat_s is None:
            yield Finding(Code.NOT_REPEATED, f"was not repeated to {receiver} while it fired")
        promised = lab.setup.resolves.get(receiver, False)
        if delivery.resolved_s is None and promised:
            yield Finding(Code.RESOLVED_UNTOLD, f"{receiver} was not told that it had ended")
    told = [arrived[receiver] for receiver in routed if receiver in arrived]
    told = [delivery for delivery in told if lab.config.receiver(delivery.receiver).kinds]
    severity = firing.labels.get(SEVERITY, "")
    if (
        told
        and severity != _FOR_NOBODY
        and not any(lab.setup.resolves.get(delivery.receiver, False) for delivery in told)
    ):
        names = ", ".join(delivery.receiver for delivery in told)
        yield Finding(
            Code.NEVER_RESOLVED,
            f"{names} never hears that it has ended: no integration has send_resolved: true",
        )


def _circles(pairs: Mapping[Identity, frozenset[Identity]]) -> dict[Identity, frozenset[Identity]]:
    """For each alert on a circle of inhibitions, all that inhibit it and that it inhibits."""

    def reached(start: Identity) -> set[Identity]:
        found: set[Identity] = set()
        ahead = list(pairs.get(start, ()))
        while ahead:
            who = ahead.pop()
            if who not in found:
                found.add(who)
                ahead.extend(pairs.get(who, ()))
        return found

    sources = {who: reached(who) for who in pairs}
    return {
        who: frozenset(other for other in found if who in sources.get(other, ()))
        for who, found in sources.items()
        if who in found
    }


def _of_inhibition(
    firing: Firing,
    firings: Sequence[Firing],
    seen: Inhibitions,
    circles: Mapping[Identity, frozenset[Identity]],
    names: Mapping[Identity, str],
) -> Iterator[Finding]:
    who = identity(firing.labels)
    if who in circles:
        others = sorted({names[other] for other in circles[who]} - {firing.rule.name})
        if others:
            yield Finding(
                Code.INHIBIT_ONE_ANOTHER,
                f"and {few(others)} inhibit one another: when they fire together, nobody is told",
            )
        else:
            yield Finding(Code.INHIBITS_ITSELF, "inhibits itself: its alerts keep each other quiet")
    always = {
        other.rule.name
        for other in firings
        if identity(other.labels) in seen.pairs.get(who, ()) and always_fires(other.rule)
    }
    for name in sorted(always):
        yield Finding(
            Code.ALWAYS_INHIBITED, f"is never notified: {name}, which always fires, inhibits it"
        )
    for source, target in sorted(seen.refuted, key=lambda pair: names[pair[0]]):
        if target == who:
            yield Finding(
                Code.NOT_INHIBITED,
                f"is not inhibited by {names[source]}, although the file says so",
            )
    if who in seen.leaked:
        yield Finding(Code.NOT_INHIBITED, "was notified while an alert that inhibits it fired")
    if who in seen.lost:
        yield Finding(
            Code.NOT_NOTIFIED,
            "was not notified when all alerts fired, although nothing should inhibit it",
        )


def _of_silence(who: Identity, seen: Silences) -> Iterator[Finding]:
    if who in seen.leaked:
        yield Finding(Code.NOT_SILENCED, "was notified although its name was silenced")
    elif who in seen.lost:
        yield Finding(Code.NOT_NOTIFIED, "was not notified after its silence had ended")


def judge_whole(
    lab: Lab, firings: Sequence[Firing], evidence: Evidence, *, complete: bool
) -> tuple[Finding, ...]:
    """What concerns no single alert. ``complete``: the rules are all that there are, so that an
    inhibition without an alert is wrong, and not merely about other rules."""
    return (
        *_dead_inhibitions(lab.config, firings, complete),
        *_merged(evidence.together, firings),
        *_of_texts(lab, evidence.together),
    )


def _dead_inhibitions(
    config: AlertmanagerConfig, firings: Sequence[Firing], complete: bool
) -> Iterator[Finding]:
    code = Code.DEAD_INHIBITION if complete else Code.UNUSED_INHIBITION
    for rule in config.inhibit_rules:
        only = AlertmanagerConfig(config.path, config.route, config.receivers, (rule,))
        if next(possible_pairs(only, firings), None) is None:
            yield Finding(
                code,
                f"{config.path}:{rule.line}: the inhibition never happens: "
                f"{_why_dead(rule, firings)}",
            )


def _why_dead(rule: InhibitRule, firings: Iterable[Firing]) -> str:
    labels = [firing.labels for firing in firings]
    for side, matchers in (("source", rule.source), ("target", rule.target)):
        if not any(all_match(matchers, own) for own in labels):
            asked = ", ".join(map(str, matchers))
            return f"no alert matches its {side} ({asked})"
    if rule.equal:
        return f"no source and target have the same {', '.join(rule.equal)}"
    return "every alert that matches its target matches its source, too"


def _merged(together: Together, firings: Sequence[Firing]) -> Iterator[Finding]:
    """One finding per receiver: the first message that shows it."""
    names = {identity(firing.labels): firing.rule.name for firing in firings}
    said = set()
    for message in together.messages:
        severities: dict[str, set[str]] = {}
        for who in message.statuses:
            severity = dict(who).get(SEVERITY, "")
            severities.setdefault(severity, set()).add(names.get(who, "?"))
        if len(severities) > 1 and message.receiver not in said:
            said.add(message.receiver)
            words = "; ".join(
                f"{severity or 'none'}: {few(found)}"
                for severity, found in sorted(severities.items())
            )
            yield Finding(
                Code.MERGED_SEVERITIES,
                f"one message to {message.receiver} holds several severities ({words}): "
                "group_by severity or alertname",
            )


def _of_texts(lab: Lab, together: Together) -> Iterator[Finding]:
    defined = definitions(read_text(path) for path in lab.setup.template_files)
    rendered = {rendering.number for rendering in together.renderings}
    for number, text in enumerate(lab.setup.texts):
        bodies = [m.body for m in together.messages if m.receiver == text.receiver]
        if not bodies:
            continue  # no alert goes there: there is nothing to render
        where = f"{lab.setup.path}:{text.line}: {text.receiver}'s {text.name}"
        if number not in rendered:
            yield Finding(
                Code.TEMPLATE_FAILED, f"{where} can't be rendered: {_error_of(lab, text, together)}"
            )
            continue
        for reference in sorted(references(text.template, defined), key=str):
            if not any(map(reference.exists_in, bodies)):
                yield Finding(
                    Code.TEMPLATE_LABEL,
                    f"{where} prints {reference}, which no alert that goes there has",
                )
            elif not all(map(reference.is_in, bodies)):
                yield Finding(
                    Code.SOMETIMES_EMPTY,
                    f"{where} prints {reference}, which not every notification there has",
                )


def _error_of(lab: Lab, text: Text, together: Together) -> str:
    """Alertmanager numbers a receiver's Slack messages in the order in which they were written;
    what fails in one flush it says in one line."""
    own = [other for other in lab.setup.texts if other.receiver == text.receiver]
    mark = f"{text.receiver}/slack["
    for error in together.errors:
        for part in error.split(f"; {mark}"):
            words = part.removeprefix(mark)
            if words.startswith(f"{own.index(text)}]"):
                return words.rsplit("template: ", 1)[-1].splitlines()[0]
    return "Alertmanager sent nothing"
