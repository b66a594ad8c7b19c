"""The catalogue says of every fault what a person must know, and makes one out of words."""

from __future__ import annotations

import inspect

import pytest

from alertdrill.errors import UsageError
from alertdrill.faults.catalogue import Entry, asked_for, catalogue, fault_classes
from alertdrill.faults.compose import Together
from alertdrill.faults.container import Kill
from alertdrill.faults.contract import Fault
from alertdrill.faults.deploy import BadConfiguration
from alertdrill.faults.network import Latency, Refuse
from alertdrill.report.faults import document


@pytest.mark.parametrize("entry", catalogue(), ids=lambda entry: entry.name)
def test_every_fault_says_where_it_is_what_it_breaks_and_how_that_is_proven(entry: Entry) -> None:
    assert entry.layer
    assert entry.breaks.endswith(".")
    assert entry.proven_by.endswith(".")
    assert "Proven by" not in entry.breaks


def test_the_catalogue_has_every_class_that_can_be_made_and_no_other() -> None:
    names = {entry.name for entry in catalogue()}
    assert {"Refuse", "HttpStatus", "Kill", "Partition", "Together", "Nothing"} <= names
    assert not any(inspect.isabstract(cls) for cls in fault_classes().values())
    assert not any(name.startswith("_") for name in names)


def test_a_fault_that_does_not_say_its_layer_is_found_out() -> None:
    class Silent(Fault):
        """Says nothing."""

    assert not hasattr(Silent, "layer")


def test_words_for_machines_have_no_markup() -> None:
    assert "``" not in str(document(catalogue()))


KNOWN: list[tuple[str, Fault]] = [
    ("the hub is killed", Kill("hub")),
    ("Redis is slow", Latency("redis", 200, client="hub")),
]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("the hub is killed", Kill("hub")),
        ("latency(redis)", Latency("redis", 200, client="hub")),
        ('Refuse("postgres", client="hub")', Refuse("postgres", client="hub")),
        (
            'Together(Kill("hub"), Refuse("redis", client="hub"))',
            Together(Kill("hub"), Refuse("redis", client="hub")),
        ),
        ('BadConfiguration("hub", {"A": "b"})', BadConfiguration("hub", {"A": "b"})),
    ],
)
def test_a_fault_is_named_or_written_down(text: str, fault: Fault) -> None:
    assert asked_for(text, KNOWN) == fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("the hub is gone", "no drill and no fault is called 'the hub is gone'"),
        ('Explode("hub")', "there is no fault Explode; there are "),
        ('Refuse("postgres")', "missing 1 required keyword-only argument: 'client'"),
        ('Latency("redis", 0, client="hub")', "latency must be from 1 ms"),
        ('Kill(open("/etc/passwd"))', "there is no fault open"),
        ("Kill(hub)", "'hub' is neither a fault nor a value"),
        ('Kill("a" + "b")', "is neither a fault nor a value"),
        ('__import__("os").system("true")', "is neither a fault nor a value"),
    ],
)
def test_what_is_neither_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        asked_for(text, KNOWN)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
