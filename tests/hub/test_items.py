"""Merging two sides, without anything around it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.items import Item, Policy, merge
from hub.upstreams.data import AI_STUDIO_ITEMS, CONFLICTING, ISSUES, SHARED, World


def item(key: str, title: str, origin: str) -> Item:
    return Item(key, title, "", "open", origin)


OURS = {"a": item("a", "same", "github"), "b": item("b", "ours", "github")}
THEIRS = {"a": item("a", "same", "ai-studio"), "b": item("b", "theirs", "ai-studio")}


def test_sides_that_agree_are_no_conflict() -> None:
    merged = merge({"a": OURS["a"]}, {"a": THEIRS["a"]}, Policy.AI_STUDIO_WINS)
    assert merged.conflicts == ()
    assert [each.title for each in merged.items] == ["same"]


def test_the_policy_decides_who_wins() -> None:
    titles = {
        policy: [each.title for each in merge(OURS, THEIRS, policy).items] for policy in Policy
    }
    assert titles == {
        Policy.AI_STUDIO_WINS: ["same", "theirs"],
        Policy.GITHUB_WINS: ["same", "ours"],
        Policy.MANUAL: ["same"],
    }


def test_a_manual_conflict_stays_open() -> None:
    merged = merge(OURS, THEIRS, Policy.MANUAL)
    assert [(each.key, each.winner) for each in merged.conflicts] == [("b", None)]
    assert merged.resolved == 0


def test_what_moves_between_fields_is_a_difference() -> None:
    assert (
        Item("k", "ab", "c", "open", "x").fingerprint
        != Item("k", "a", "bc", "open", "x").fingerprint
    )


SIDE = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["x", "y"]))


@given(SIDE, SIDE, st.sampled_from(Policy))
def test_every_key_is_merged_or_in_an_open_conflict_and_in_order(
    ours: dict[str, str], theirs: dict[str, str], policy: Policy
) -> None:
    merged = merge(
        {key: item(key, title, "github") for key, title in ours.items()},
        {key: item(key, title, "ai-studio") for key, title in theirs.items()},
        policy,
    )
    kept = [each.key for each in merged.items]
    open_keys = [each.key for each in merged.conflicts if each.winner is None]
    assert sorted(kept + open_keys) == sorted(ours | theirs)
    assert kept == sorted(kept)
    assert {each.key for each in merged.conflicts} == {
        key for key in ours if key in theirs and ours[key] != theirs[key]
    }


def test_the_stubs_world_is_what_its_seed_says() -> None:
    world = World.of(7)
    assert world == World.of(7) != World.of(8)
    assert (len(world.issues), len(world.ai_studio)) == (ISSUES, AI_STUDIO_ITEMS)
    by_number = {issue.number: issue for issue in world.issues}
    shared = [each for each in world.ai_studio if each.shared]
    differing = [each for each in shared if by_number[each.shared or 0].title != each.title]
    assert (len(shared), len(differing)) == (SHARED, CONFLICTING)
