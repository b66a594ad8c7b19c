"""A release with another configuration, against the real engine, and back."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from alertdrill.errors import UsageError
from alertdrill.faults.compose import Together
from alertdrill.faults.contract import Fault
from alertdrill.faults.deploy import BadConfiguration
from alertdrill.faults.world import leftovers
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually
from tests.faults.lifecycle import bites_only_while_injected, seen_effective, seen_healed

pytestmark = pytest.mark.docker


@pytest.fixture(autouse=True)
def _whole(stack: Stack) -> Iterator[None]:
    assert leftovers(stack) == []
    yield
    assert leftovers(stack) == []


FAULTS: list[Fault] = [
    BadConfiguration("github", {"SEED": "8"}),
    BadConfiguration("github", {"PYTHONPATH": "/nowhere"}),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_a_fault_bites_only_while_it_is_injected(fault: Fault, stack: Stack) -> None:
    bites_only_while_injected(fault, stack)


def names(stack: Stack) -> list[str]:
    url = stack.url("toxiproxy", "api") + "/proxies"
    return sorted(httpx.get(url, timeout=2, trust_env=False).json())


def test_the_replacement_has_the_ports_the_files_and_the_changed_environment(stack: Stack) -> None:
    before = names(stack)
    first = stack.container("toxiproxy").id
    fault = BadConfiguration("toxiproxy", {"LOG_LEVEL": "trace=1"})
    fault.inject(stack)
    try:
        seen_effective(fault, stack)

        def answers() -> bool:
            try:
                return names(stack) == before
            except httpx.HTTPError:
                return False

        eventually(answers, timeout_s=10, what="the replacement to answer at the same port")
        assert fault.name == "badconfiguration(toxiproxy:LOG_LEVEL)"
        assert f"{fault.name} was injected and isn't undone" in leftovers(stack)
    finally:
        fault.heal(stack)
    seen_healed(fault, stack)
    assert names(stack) == before
    assert stack.container("toxiproxy").id == first


def test_a_replacement_that_was_never_started_is_not_effective_and_is_healed(
    stack: Stack,
) -> None:
    fault = BadConfiguration("github", {"SEED": "8"})
    fault._create(stack, stack.container("github"))
    try:
        seen = fault.is_effective(stack)
        assert (seen.holds, seen.seen) == (False, "the replacement of github wasn't started")
    finally:
        fault.heal(stack)
    seen_healed(fault, stack)


def test_between_the_two_names_another_process_heals(stack: Stack) -> None:
    first = stack.container("github")
    fault = BadConfiguration("github", {"SEED": "8"})
    fault._create(stack, first)
    first.kill()
    first.rename(f"{first.name}-aside")
    try:
        assert any("github" in left for left in leftovers(stack))
    finally:
        fault.heal(stack)
    seen_healed(fault, stack)
    assert stack.container("github").id == first.id


def test_a_release_over_a_release_is_undone_in_reverse(stack: Stack) -> None:
    first = stack.container("github").id
    fault = Together(
        BadConfiguration("github", {"SEED": "8"}), BadConfiguration("github", {"A": "1"})
    )
    fault.inject(stack)
    try:
        environment = stack.container("github").attrs["Config"]["Env"]
        assert {"SEED=8", "A=1"} <= set(environment)
        stack.wait_ready("github")
    finally:
        fault.heal(stack)
    seen_healed(fault, stack)
    assert stack.container("github").id == first


def test_an_unchanged_configuration_is_no_fault() -> None:
    with pytest.raises(UsageError, match="changes at least one variable"):
        BadConfiguration("hub", {})
