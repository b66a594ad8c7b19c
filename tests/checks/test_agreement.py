"""The hub's counters against its clients: exact where both must agree, open where they can't."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from alertdrill.checks.agreement import LAG_S, Bounds, charged, compare, cost
from alertdrill.config import Sli
from alertdrill.load.protocol import Finished
from alertdrill.load.window import Tally
from alertdrill.signals.counters import Growth, growth
from alertdrill.timeline import monotonic_of
from alertdrill.verdict import Reason

SLI = Sli(name="syncs", user="SyncUser", total="syncs", bad="bad_syncs", objective=0.99)
HUB = {"job": "hub", "instance": "hub:8001"}
Samples = list[tuple[float, float]]


class Counters:
    """Stands for Prometheus: the samples of each selector's series."""

    def __init__(self, **series: list[Samples]) -> None:
        self._series = series

    def samples(
        self, selector: str, since: float, until: float
    ) -> list[tuple[Mapping[str, str], Samples]]:
        rows = self._series.get(selector, [])
        return [(HUB, [s for s in row if since < s[0] <= until]) for row in rows]


def grown(**series: list[Samples]) -> Growth:
    found = growth(Counters(**series), tuple(series), 0.0, 1e9)  # type: ignore[arg-type]
    assert found is not None
    return found


def ticks(*values: float, begin: float = 100.0) -> Samples:
    return [(begin + n, value) for n, value in enumerate(values)]


def test_growth_is_the_difference_of_samples_and_nothing_more() -> None:
    found = grown(syncs=[ticks(10, 12, 15), ticks(0, 0, 1)], bad_syncs=[ticks(0, 0, 1)])
    assert found.grown == (6, 1)
    assert found.unsure == ((100, 100), (102, 102))


def test_a_restart_begins_at_zero_for_every_counter_of_the_target() -> None:
    # The errors of after the restart outnumber those before it: only the total shows it.
    found = grown(syncs=[ticks(10, 12, 4, 5)], bad_syncs=[ticks(1, 1, 3, 3)])
    assert found.grown == (2 + 4 + 1, 0 + 3 + 0)
    assert found.unsure[1:-1] == ((101, 102),)


def test_a_counter_that_appears_was_incremented() -> None:
    found = grown(syncs=[ticks(10, 12, 15)], bad_syncs=[ticks(2, 3, begin=101)])
    assert found.grown == (5, 3)


def test_no_sample_is_no_growth() -> None:
    assert growth(Counters(syncs=[]), ("syncs",), 0.0, 1e9) is None  # type: ignore[arg-type]


def requests(*ends: float, status: int = 200, user: str = "SyncUser") -> list[Finished]:
    """Requests that ended at these Unix times."""
    return [
        Finished(
            end=monotonic_of(end),
            start=monotonic_of(end) - 0.1,
            user=user,
            name="POST /sync",
            ok=status == 200,
            status=status,
            ms=100.0,
        )
        for end in ends
    ]


# From 100 to 110; requests that end inside the first or after the last second are unsure.
STRETCH = ((100.0, 100.0), (110.0, 110.0))
SURE = [102.5, 103.5, 104.5, 105.5]


def reasons(total: float, bad: float, seen: list[Finished], *restarts: tuple[float, float]):  # type: ignore[no-untyped-def]
    unsure = (STRETCH[0], *restarts, STRETCH[1])
    compared = compare(SLI, seen, Growth((total, bad), unsure), patience_s=20.0)
    return [finding.reason for finding in compared.findings()]


def test_counters_that_say_what_clients_saw_agree() -> None:
    seen = [*requests(*SURE), *requests(106.5, status=503)]
    assert reasons(5, 1, seen) == []


@pytest.mark.parametrize(
    ("total", "bad"),
    [(5, 0), (4, 1), (6, 1), (5, 2)],
    ids=["an error is hidden", "a request is hidden", "one too many", "an error too many"],
)
def test_counters_that_say_otherwise_are_caught(total: float, bad: float) -> None:
    seen = [*requests(*SURE), *requests(106.5, status=503)]
    assert reasons(total, bad, seen) == [Reason.METRICS_DISAGREE]


def test_the_finding_says_who_counted_what() -> None:
    seen = requests(*SURE, status=503)
    growth_seen = Growth((4.0, 1.0), STRETCH)
    [finding] = compare(SLI, seen, growth_seen, patience_s=20.0).findings()
    assert finding.message == (
        "syncs: 1 failed requests were counted, and SyncUser saw 4 to 4 of them: bad_syncs"
    )


@pytest.mark.parametrize(("bad", "is_charged"), [(0, False), (4, False), (5, True), (400, True)])
def test_a_budget_is_charged_beyond_what_its_objective_allows(bad: float, is_charged: bool) -> None:
    found = charged(SLI, 400.0, bad)
    assert (found is not None and found.reason is Reason.BUDGET_CHARGED) == is_charged


def test_requests_around_an_edge_may_be_counted_or_not() -> None:
    seen = requests(100.0 + LAG_S / 2, *SURE, 110.0 + LAG_S / 2)
    assert [reasons(total, 0, seen) for total in (4, 5, 6)] == [[], [], []]
    assert reasons(7, 0, seen) == [Reason.METRICS_DISAGREE]


def test_requests_around_a_restart_may_be_lost() -> None:
    seen = [*requests(*SURE), *requests(106.5, status=503)]
    assert reasons(2, 0, seen, (104.0, 106.0)) == []
    assert reasons(1, 0, seen, (104.0, 106.0)) == [Reason.METRICS_DISAGREE]


def test_a_request_without_an_answer_may_be_counted_as_anything() -> None:
    seen = [*requests(*SURE), *requests(90.0, 106.5, status=0)]
    assert [reasons(4, 0, seen), reasons(6, 2, seen)] == [[], []]
    assert reasons(7, 2, seen) == [Reason.METRICS_DISAGREE]


def test_a_repeated_request_that_succeeds_may_have_been_counted_at_its_first_attempt() -> None:
    attempts = (*requests(102.5, status=503), *requests(103.0))
    seen = [*(replace(one, key="again") for one in attempts), *requests(*SURE)]
    assert [reasons(total, 1, seen) for total in (5, 6)] == [[], []]
    assert reasons(4, 1, seen) == reasons(7, 1, seen) == [Reason.METRICS_DISAGREE]


def test_a_repeated_request_that_fails_is_counted() -> None:
    seen = [replace(one, key="again") for one in requests(*SURE, status=503)]
    assert reasons(4, 4, seen) == []
    assert reasons(3, 3, seen) == [Reason.METRICS_DISAGREE] * 2


def test_other_users_dont_count() -> None:
    assert reasons(4, 0, [*requests(*SURE), *requests(*SURE, user="ApiUser")]) == []


def test_bounds_hold_at_their_ends() -> None:
    assert [Bounds(2, 3).hold(n) for n in (1, 2, 3, 4)] == [False, True, True, False]


def test_what_an_outage_costs() -> None:
    # Half of the requests fail for 12 minutes, and 1 % may: 50 times too fast, 6 minutes' worth.
    assert cost(Tally(200, 100), 0.99, 720.0) == {"bad_share": 0.5, "burn": 50, "cost_min": 6}


def test_answers_that_a_starved_generator_wrote_down_late_decide_nothing() -> None:
    counted = grown(syncs=[ticks(0, 1, 2)], bad_syncs=[ticks(0, 0, 0)])
    # The second was counted before the last scrape, and written down 1.8 s after it.
    seen = requests(101, 103.8)
    strict = compare(SLI, seen, counted, patience_s=5.0)
    assert [finding.reason for finding in strict.findings()] == [Reason.METRICS_DISAGREE]
    assert compare(SLI, seen, counted, patience_s=5.0, lag_s=LAG_S + 1.5).findings() == []
