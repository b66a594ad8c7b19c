"""What is said of a window, on events made by hand: each defect beside its clean twin."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alertdrill.load.protocol import Broken, Event, Finished, Heartbeat, decode
from alertdrill.load.window import Latency, LoadHealth, Record, judge

PLAN = {"SyncUser": 6.0, "ApiUser": 20.0}


def finished(end: float, ms: float = 10.0, **changed: object) -> Finished:
    event = Finished(end, end - ms / 1000, "SyncUser", "POST /sync", True, 200, ms)
    return replace(event, **changed)  # type: ignore[arg-type]


def beats(start: float, end: float, rates: dict[str, float]) -> list[Heartbeat]:
    """A heartbeat every 250 ms, with counters that grow by ``rates``."""
    steps = round((end - start) / 0.25)
    return [
        Heartbeat(
            at=start + step * 0.25,
            users=208,
            started={user: round(rate * step * 0.25) for user, rate in rates.items()},
            inflight=dict.fromkeys(rates, 1),
            missed=dict.fromkeys(rates, 0),
        )
        for step in range(steps + 1)
    ]


def record(*events: Event) -> Record:
    kept = Record()
    for event in events:
        kept.add(event)
    return kept


def health(kept: Record, since: float, until: float, died: str | None = None) -> LoadHealth:
    return judge(kept, PLAN, since, until, died)


@pytest.mark.parametrize(
    "event",
    [
        finished(12.5, error="HTTP 503", ok=False, status=503, key="a-key"),
        Heartbeat(1.0, 3, {"A": 1}, {"A": 2}, {"A": 3}),
        Broken(2.0, "A", "ValueError: no"),
    ],
)
def test_events_survive_the_pipe(event: Event) -> None:
    assert decode(event.line()) == event


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"7", b'{"t": 1}', b"Traceback", b"\xff"])
def test_other_lines_are_no_events(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any of its kinds will do
        decode(line)


def test_a_window_holds_what_ended_in_it() -> None:
    kept = record(finished(9.999), finished(10.0), finished(11.0), finished(12.0))
    window = kept.window(10.0, 12.0)
    assert window.requests == 2
    assert (window.first, window.last) == (10.0, 11.0)


def test_a_window_counts_failures_and_keys() -> None:
    kept = record(
        finished(1.0, key="kept"),
        finished(2.0, key="lost", ok=False, status=503, error="HTTP 503"),
        finished(3.0, user="ApiUser", name="GET /items"),
        finished(4.0, user="ApiUser", name="GET /items", ok=False, status=0, error="TimeoutError"),
    )
    window = kept.window(0.0, 5.0)
    assert (window.requests, window.failed) == (4, 2)
    assert window.errors == {"HTTP 503": 1, "TimeoutError": 1}
    assert window.by_user["ApiUser"].failed == 1
    assert window.by_name["GET /items"].requests == 2
    assert window.acknowledged == ("kept",)
    assert window.uncertain == ("lost",)


def test_a_write_that_was_sent_again_is_one_write() -> None:
    failed = {"ok": False, "status": 503, "error": "HTTP 503"}
    kept = record(
        finished(1.0, key="kept", **failed),
        finished(2.0, key="lost", **failed),
        finished(3.0, key="kept"),
        finished(4.0, key="lost", **failed),
        finished(5.0, key="other"),
    )
    window = kept.window(0.0, 6.0)
    assert window.acknowledged == ("kept", "other")
    assert window.uncertain == ("lost",)
    assert window.repeated == ("kept", "lost")


def test_an_empty_window_has_no_latency() -> None:
    window = record().window(0.0, 1.0)
    assert window.requests == 0
    assert window.latency is None
    assert window.first is None


def test_quantiles_by_nearest_rank() -> None:
    assert Latency.of(range(1, 101)) == Latency(p50=50, p95=95, p99=99, worst=100)
    assert Latency.of([7.0]) == Latency(7.0, 7.0, 7.0, 7.0)


def test_a_load_that_keeps_its_plan_is_valid() -> None:
    said = health(record(*beats(0.0, 10.0, PLAN)), 2.0, 10.0)
    assert said.valid, said.why
    assert "SyncUser started 48 of 48" in said.why


def test_a_load_that_died_is_invalid() -> None:
    said = health(record(*beats(0.0, 10.0, PLAN)), 2.0, 10.0, died="Locust exited with code 1")
    assert said == LoadHealth(False, "Locust exited with code 1")


@pytest.mark.parametrize(("until", "valid"), [(11.9, True), (12.5, False)])
def test_silence_makes_the_load_invalid(until: float, valid: bool) -> None:
    said = health(record(*beats(0.0, 10.0, PLAN)), 5.0, until)
    assert said.valid is valid, said.why
    assert said.starved is not valid
    if not valid:
        assert "no heartbeat" in said.why


@pytest.mark.parametrize(("gap_s", "valid"), [(1.5, True), (2.5, False)])
def test_silence_in_the_middle_makes_the_load_invalid(gap_s: float, valid: bool) -> None:
    whole = beats(0.0, 10.0, PLAN)
    torn = [beat for beat in whole if not 5.0 < beat.at < 5.0 + gap_s]
    assert health(record(*torn), 1.0, 10.0).valid is valid


def test_silence_counts_from_before_the_window() -> None:
    # The last heartbeat came 1.5 s before the window, and none in its first second.
    kept = record(*beats(0.0, 3.5, PLAN))
    assert not health(kept, 5.0, 6.0).valid
    assert health(kept, 3.4, 4.4).valid


def test_a_window_before_the_first_heartbeat_is_not_valid() -> None:
    assert not health(record(), 0.0, 10.0).valid
    assert not health(record(*beats(5.0, 10.0, PLAN)), 0.0, 10.0).valid


@pytest.mark.parametrize(("share", "valid"), [(0.6, True), (0.4, False)])
def test_one_class_that_starts_too_little_makes_the_load_invalid(share: float, valid: bool) -> None:
    said = health(record(*beats(0.0, 10.0, {**PLAN, "SyncUser": 6.0 * share})), 0.0, 10.0)
    assert said.valid is valid, said.why
    if not valid:
        assert "SyncUser started 24 of 60 planned" in said.why


def test_a_generator_without_a_processor_is_starved_not_hung() -> None:
    """Of two seconds it was silent for 1.2, and told of nothing but what it did before."""
    torn = [beat for beat in beats(0.0, 12.0, PLAN) if not beat.at > 10.8]
    starved = health(record(*torn), 10.0, 12.0)
    assert (starved.valid, starved.starved) == (False, True), starved.why


def test_a_system_that_hangs_is_not_a_starved_generator() -> None:
    """Nothing is started from 13 s on, and the generator goes on saying so."""
    *whole, last = beats(0.0, 13.0, PLAN)
    hung = record(*whole, *(replace(last, at=13.0 + step * 0.25) for step in range(13)))
    assert health(hung, 10.0, 15.9).valid, "half of it was started"
    said = health(hung, 10.0, 16.1)
    assert (said.valid, said.starved) == (False, False), said.why


def test_a_class_that_never_started_makes_the_load_invalid() -> None:
    assert not health(record(*beats(0.0, 10.0, {"ApiUser": 20.0})), 0.0, 10.0).valid


def test_only_the_window_is_judged() -> None:
    good = beats(0.0, 10.0, PLAN)
    stuck = [replace(good[-1], at=10.0 + step * 0.25) for step in range(1, 41)]
    kept = record(*good, *stuck)
    assert health(kept, 0.0, 10.0).valid
    assert not health(kept, 10.0, 20.0).valid


def test_short_windows_are_not_compared_with_the_plan() -> None:
    kept = record(*beats(0.0, 10.0, dict.fromkeys(PLAN, 0.0)))
    assert health(kept, 5.0, 6.5).valid
    assert not health(kept, 5.0, 7.5).valid


def test_a_locustfile_that_raised_makes_the_load_invalid() -> None:
    kept = record(*beats(0.0, 10.0, PLAN), Broken(4.0, "ApiUser", "KeyError: 'id'"))
    said = health(kept, 0.0, 10.0)
    assert not said.valid
    assert "KeyError" in said.why


def test_requests_that_nobody_answers_any_more_are_stuck() -> None:
    hanging = Heartbeat(
        11.4, 28, {"SyncUser": 60, "ApiUser": 200}, {"SyncUser": 9, "ApiUser": 1}, {}
    )
    kept = record(finished(9.9), finished(11.2, user="ApiUser"), hanging)
    assert kept.stuck(PLAN, 11.5) == 9
    answered = record(*kept.finished, finished(11.4), *kept.heartbeats)
    assert answered.stuck(PLAN, 11.5) == 0


def test_a_rare_request_is_given_time() -> None:
    waiting = Heartbeat(12.0, 1, {"SyncUser": 1}, {"SyncUser": 1}, {"SyncUser": 0})
    kept = record(finished(9.0), waiting)
    assert kept.stuck({"SyncUser": 0.5}, 12.0) == 0
    assert kept.stuck({"SyncUser": 0.5}, 15.0) == 1
