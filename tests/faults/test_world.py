"""Two looks at a stack, compared: what differs is said in words, what doesn't is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alertdrill.faults.world import Sight, World

SIGHTS = (
    Sight("redis", "state", "running"),
    Sight("redis", "memory limit", "none"),
    Sight("toxiproxy", "the proxy redis", "enabled"),
    Sight("postgres", "setting max_connections", "100"),
)
WHOLE = World(SIGHTS, {})


def seen(*instead: Sight, without: str | None = None) -> World:
    """The whole world, but for these sights."""
    changed = {(s.thing, s.attribute): s for s in (*SIGHTS, *instead)}
    return World(tuple(s for s in changed.values() if s.thing != without), {})


def test_two_looks_at_the_same_world_differ_in_nothing() -> None:
    assert WHOLE.changes(replace(WHOLE)) == []
    assert WHOLE.wrong == []


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (
            seen(Sight("redis", "memory limit", "67108864")),
            "redis: memory limit was none, is 67108864",
        ),
        (
            seen(Sight("postgres", "setting work_mem", "64")),
            "postgres: setting work_mem was absent, is 64",
        ),
        (
            seen(without="toxiproxy"),
            "toxiproxy: the proxy redis was enabled, is absent",
        ),
        (
            seen(Sight("redis", "state", "paused", wrong="redis is paused")),
            "redis is paused",
        ),
    ],
    ids=["changed", "new", "gone", "wrong by itself"],
)
def test_a_difference_is_one_sentence(after: World, said: str) -> None:
    assert WHOLE.changes(after) == [said]


def test_what_can_not_be_asked_is_not_known_to_be_whole() -> None:
    after = replace(seen(without="redis"), silent={"redis": "redis can't be looked at"})
    assert WHOLE.changes(after) == ["redis can't be looked at"]


def test_one_that_is_stopped_is_not_blamed_for_being_silent() -> None:
    stopped = Sight("postgres", "state", "exited", wrong="postgres is exited")
    after = World((*seen(without="postgres").sights, stopped), {})
    assert WHOLE.changes(after) == ["postgres is exited"]


def test_what_was_wrong_before_is_still_wrong() -> None:
    limited = seen(Sight("redis", "CPU quota", "5000", wrong="redis has a CPU limit"))
    assert limited.changes(limited) == ["redis has a CPU limit"]


def test_what_healed_since_is_a_change_too() -> None:
    limited = seen(Sight("redis", "CPU quota", "5000", wrong="redis has a CPU limit"))
    assert limited.changes(WHOLE) == ["redis: CPU quota was 5000, is absent"]
