"""Every fault of the catalogue is in a drill: none is there for show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from alertdrill.drill import Drill
from alertdrill.faults.catalogue import fault_classes
from alertdrill.faults.compose import Flapping, Sequence, Together
from alertdrill.faults.container import Kill
from alertdrill.faults.contract import Fault
from alertdrill.faults.network import Refuse
from chaos.test_drills import DRILLS
from loadtests import sync_and_api


def classes_in(value: Any) -> Iterator[str]:
    """The fault's class and, of one that is made of others, theirs."""
    if isinstance(value, Fault):
        yield type(value).__name__
        if is_dataclass(value):
            for field in fields(value):
                yield from classes_in(getattr(value, field.name))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from classes_in(part)


def undrilled(classes: Iterable[str], drills: Iterable[Drill]) -> list[str]:
    """Those of ``classes`` that no drill breaks anything with."""
    drilled = {name for drill in drills for name in classes_in(drill.fault)}
    return sorted(set(classes) - drilled)


def test_every_fault_of_the_catalogue_is_in_a_drill() -> None:
    assert undrilled(fault_classes(), DRILLS) == []


def test_a_fault_that_no_drill_has_is_found() -> None:
    assert undrilled([*fault_classes(), "Explode"], DRILLS) == ["Explode"]


REDIS = Refuse("redis", client="hub")


@pytest.mark.parametrize(
    "fault",
    [
        Together(Kill("hub"), REDIS),
        Sequence([(Kill("hub"), 1.0), (None, 1.0), (REDIS, None)]),
        Flapping(Together(REDIS, Kill("hub")), on_s=1.0, off_s=1.0, cycles=2),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_parts_of_a_fault_count(fault: Fault) -> None:
    drills = [Drill("several at once", fault=fault, load=sync_and_api())]
    classes = ["Kill", "Refuse", "Pause", type(fault).__name__]
    assert undrilled(classes, drills) == ["Pause"]
