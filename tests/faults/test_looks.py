"""What looks conclude from times: a busy machine is neither a fault nor the lack of one."""

from __future__ import annotations

import pytest

from alertdrill.faults import network
from alertdrill.faults.http import HttpSlow
from alertdrill.faults.network import Latency
from alertdrill.faults.transfer import Transfer
from alertdrill.faults.vantage import HttpAnswer


def answer(elapsed_s: float) -> HttpAnswer:
    return HttpAnswer(200, True, ("rate",), None, elapsed_s)


@pytest.mark.parametrize(
    ("delay_s", "clean_s", "probe_s", "bites"),
    [
        (3.0, 0.01, 3.01, True),
        (3.0, 0.56, 3.04, True),  # the undisturbed one was late
        (3.0, 0.01, 0.5, False),  # nothing was injected, and the machine was busy
        (3.0, 1.6, 3.0, False),  # so busy that nothing can be told
        (0.05, 0.04, 0.09, True),
    ],
)
def test_a_delay_is_told_from_a_busy_machine(
    delay_s: float, clean_s: float, probe_s: float, bites: bool
) -> None:
    assert HttpSlow("github", delay_s)._bites(answer(clean_s), answer(probe_s)) is bites


def arrived(took_s: float) -> Transfer:
    return Transfer(6, took_s, None, None)


GIVEN_UP = Transfer(0, 0.0, None, "TimeoutError")


@pytest.mark.parametrize(
    ("rounds", "bites"),
    [
        ([(arrived(0.001), arrived(0.401))] * 2, True),
        ([(arrived(0.001), GIVEN_UP), (arrived(0.001), arrived(0.401))], True),
        ([(GIVEN_UP, arrived(0.401)), (arrived(0.001), arrived(0.401))], True),
        ([(arrived(0.001), GIVEN_UP), (arrived(0.001), arrived(0.001))], False),
        ([(GIVEN_UP, GIVEN_UP)] * 2, False),
    ],
    ids=["both", "one through gave up", "one past it gave up", "nothing is slow", "all gave up"],
)
def test_one_round_that_was_given_up_decides_nothing(
    rounds: list[tuple[Transfer, Transfer]], bites: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "transfers", lambda *_, **__: rounds)
    assert Latency("redis", 400, client="hub")._see(None).bites is bites  # type: ignore[arg-type]
