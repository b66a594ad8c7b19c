"""What an Alertmanager would have to do wrong to be told so: evidence that no real one gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alertdrill.rules.alertmanager import load_alertmanager
from alertdrill.rules.model import AlertRule, load_rules
from alertdrill.rules.programs import Program
from alertdrill.rules.routing.experiment import (
    Delivery,
    Inhibitions,
    Lab,
    Silences,
    Together,
    possible_pairs,
)
from alertdrill.rules.routing.finding import Code
from alertdrill.rules.routing.firing import Firing, firings
from alertdrill.rules.routing.judge import Evidence, judge
from alertdrill.rules.routing.recorder import Identity, identity
from alertdrill.rules.routing.render import as_written
from alertdrill.rules.routing.rewrite import clock_for, read_setup
from tests.rules_routing.project import CLEAN, Project

RECEIVERS = {"Down": "oncall", "Errors": "team", "Watchdog": "nobody"}


def firings_of(folder: Path, project: Project = CLEAN) -> dict[str, Firing]:
    project.write(folder)
    (group,) = load_rules(folder / "alerts.yml").groups
    return {
        rule.name: as_written(firing, "")
        for rule in group.rules
        if isinstance(rule, AlertRule)
        for firing in firings(rule)
    }


def lab_of(folder: Path) -> Lab:
    config = load_alertmanager(folder / "alertmanager.yml")
    setup = read_setup(config, clock_for(config, None))
    return Lab(Program(Path("alertmanager"), folder), config, setup)


def sound(found: dict[str, Firing]) -> Evidence:
    who = {name: identity(firing.labels) for name, firing in found.items()}
    return Evidence(
        Together(
            routed={key: (RECEIVERS[name],) for name, key in who.items()},
            deliveries={
                key: (Delivery(RECEIVERS[name], {}, frozenset(), 0.5, 3.0, 1.0),)
                for name, key in who.items()
            },
            messages=(),
            renderings=(),
            errors=(),
        ),
        Inhibitions(pairs={who["Errors"]: frozenset({who["Down"]})}),
        Silences(frozenset(), frozenset()),
    )


Spoil = Callable[[Evidence, Identity, Identity], Evidence]


def _without(**missing: Any) -> Spoil:
    """The same with something of the delivery of Errors missing."""

    def spoil(evidence: Evidence, errors: Identity, _: Identity) -> Evidence:
        before = evidence.together.deliveries
        after = {**before, errors: (replace(before[errors][0], **missing),)}
        return replace(evidence, together=replace(evidence.together, deliveries=after))

    return spoil


def _undelivered(evidence: Evidence, errors: Identity, _: Identity) -> Evidence:
    deliveries = {**evidence.together.deliveries, errors: ()}
    return replace(evidence, together=replace(evidence.together, deliveries=deliveries))


def _inhibitions(**change: Callable[[Identity, Identity], object]) -> Spoil:
    def spoil(evidence: Evidence, errors: Identity, down: Identity) -> Evidence:
        values: dict[str, Any] = {name: make(errors, down) for name, make in change.items()}
        return replace(evidence, inhibitions=replace(evidence.inhibitions, **values))

    return spoil


def _silences(name: str) -> Spoil:
    def spoil(evidence: Evidence, errors: Identity, _: Identity) -> Evidence:
        silences = Silences(
            leaked=frozenset({errors} if name == "leaked" else ()),
            lost=frozenset({errors} if name == "lost" else ()),
        )
        return replace(evidence, silences=silences)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (None, None),
        (_undelivered, Code.NOT_NOTIFIED),
        (_without(repeat_s=None), Code.NOT_REPEATED),
        (_without(resolved_s=None), Code.RESOLVED_UNTOLD),
        (_inhibitions(leaked=lambda errors, _: frozenset({errors})), Code.NOT_INHIBITED),
        (_inhibitions(lost=lambda errors, _: frozenset({errors})), Code.NOT_NOTIFIED),
        (_inhibitions(refuted=lambda e, down: frozenset({(down, e)})), Code.NOT_INHIBITED),
        (
            _inhibitions(pairs=lambda errors, _: {errors: frozenset({errors})}),
            Code.INHIBITS_ITSELF,
        ),
        (_silences("leaked"), Code.NOT_SILENCED),
        (_silences("lost"), Code.NOT_NOTIFIED),
    ],
)
def test_what_only_a_broken_alertmanager_does(
    spoil: Spoil | None, code: Code | None, tmp_path: Path
) -> None:
    found = firings_of(tmp_path)
    who = {name: identity(firing.labels) for name, firing in found.items()}
    evidence = sound(found)
    if spoil is not None:
        evidence = spoil(evidence, who["Errors"], who["Down"])
    judged = judge(lab_of(tmp_path), list(found.values()), evidence, {})
    codes = {a.firing.rule.name: [f.code for f in a.findings] for a in judged}
    assert codes == {"Down": [], "Errors": [code] if code else [], "Watchdog": []}


def test_labels_that_must_be_equal_are_compared_as_the_same_instance(tmp_path: Path) -> None:
    """A value that isn't known may be the other's; one that is known may not."""
    rule = "\n    equal: [job]\nreceivers:"
    with_job = CLEAN.but("alertmanager", "\nreceivers:", rule).but(
        "alerts", "sum by (service)", "sum by (service, job)"
    )
    known = with_job.but("alerts", "errors_total[", 'errors_total{job="other"}[')
    for project, pairs in ((with_job, 1), (known, 0)):
        found = firings_of(tmp_path, project)
        config = load_alertmanager(tmp_path / "alertmanager.yml")
        assert len(list(possible_pairs(config, list(found.values())))) == pairs
