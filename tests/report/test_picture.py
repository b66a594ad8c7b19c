"""The picture of time: what the timeline says lies where its axis says."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alertdrill.load.protocol import Finished
from alertdrill.report.picture import SIDE, WIDTH, Lane, Picture, picture_of

INJECTED = 1000.0


def drill(**more: Any) -> dict[str, Any]:
    alert = {
        "name": "High",
        "expected": "fires",
        "firing_s": 4.0,
        "notified_s": 4.5,
        "deadline_s": 8.0,
        "resolve_deadline_s": 5.0,
    }
    return {
        "id": "d",
        "fault": "refuse(db)",
        "traffic": {"requests": 9},
        "alerts": [alert],
        "heal_s": 6.0,
        "healed_s": 7.0,
        **more,
    }


def event(at: float, what: str, **detail: Any) -> dict[str, Any]:
    return {"monotonic": INJECTED + at, "drill": "d", "event": what, **detail}


STORY = [
    event(-3.0, "begun", fault="refuse(db)"),
    event(0.0, "injected"),
    event(0.5, "effective"),
    event(1.0, "pending", alert="High"),
    event(4.0, "firing", alert="High"),
    event(4.5, "notified", alert="High", receiver="oncall"),
    event(7.0, "healed"),
    event(9.0, "inactive", alert="High"),
    event(9.5, "resolved", alert="High", receiver="oncall"),
    event(20.0, "ended"),
]


def picture(*more: dict[str, Any], finished: list[Finished] | None = None) -> Picture:
    made = picture_of(drill(), [*STORY, *more], finished or [])
    assert made is not None
    return made


def lane(made: Picture, name: str) -> Lane:
    return next(lane for lane in made.lanes if lane.name == name)


def seconds(made: Picture, x: float) -> float:
    """The axis read backwards."""
    (zero, _), (one, label) = made.ticks[0], made.ticks[1]
    return (x - zero) / (one - zero) * float(label.split()[0])


def test_states_follow_each_other_without_a_gap() -> None:
    made = picture()
    pending, firing = lane(made, "High").bars
    assert (pending.kind, firing.kind) == ("pending", "firing")
    assert seconds(made, pending.x) == pytest.approx(1.0, abs=0.05)
    assert pending.x + pending.width == pytest.approx(firing.x, abs=0.11)
    assert seconds(made, firing.x + firing.width) == pytest.approx(9.0, abs=0.05)
    assert firing.words == "firing from +4.00 s to +9.00 s"


def test_the_fault_lasts_from_injection_to_its_proven_end() -> None:
    made = picture()
    assert made.lanes[0].name == "refuse(db)"
    assert seconds(made, made.fault.x) == pytest.approx(0.0, abs=0.05)
    assert seconds(made, made.fault.x + made.fault.width) == pytest.approx(7.0, abs=0.05)
    assert [mark.kind for mark in made.lanes[0].marks] == ["effective", "healing", "healed"]


def test_a_fault_that_never_healed_lasts_to_the_end() -> None:
    story = [row for row in STORY if row["event"] != "healed"]
    made = picture_of(drill(healed_s=None), story, [])
    assert made is not None
    assert seconds(made, made.fault.x + made.fault.width) == pytest.approx(20.0, abs=0.1)


def test_marks_lie_at_their_moments_and_deadlines_where_they_were_asked_for() -> None:
    made = picture()
    marks = [(mark.kind, seconds(made, mark.x)) for mark in lane(made, "High").marks]
    expected = [("deadline", 8.0), ("deadline", 12.0), ("resolved", 9.5), ("notified", 4.5)]
    for (kind, at), (wanted, moment) in zip(marks, expected, strict=True):
        assert kind == wanted
        assert at == pytest.approx(moment, abs=0.05)


def test_a_quiet_alert_has_no_deadline() -> None:
    quiet = {"name": "Low", "expected": "quiet", "deadline_s": 8.0, "resolve_deadline_s": 5.0}
    made = picture_of(drill(alerts=[quiet]), STORY, [])
    assert made is not None
    assert lane(made, "Low").marks == ()


def test_what_was_notified_before_the_fault_is_not_its_work() -> None:
    earlier = event(-1.0, "resolved", alert="High", receiver="oncall")
    kinds = [mark.kind for mark in lane(picture(earlier), "High").marks]
    assert kinds.count("resolved") == 1


def test_an_alert_that_was_pending_before_the_fault_is_seen_so() -> None:
    earlier = [event(-0.5, "pending", alert="High"), event(-0.2, "inactive", alert="High")]
    bars = lane(picture(*earlier), "High").bars
    assert [bar.kind for bar in bars] == ["pending", "pending", "firing"]
    assert bars[0].x < picture().fault.x


def test_an_interrupted_drill_shows_what_the_timeline_has() -> None:
    """Its entry in the verdict document knows no alert, no fault and no time."""
    row = drill(alerts=[], fault=None, traffic=None, heal_s=None, healed_s=None)
    made = picture_of(row, STORY[:6], [])
    assert made is not None
    assert [lane.name for lane in made.lanes] == ["refuse(db)", "High"]
    assert [bar.kind for bar in made.lanes[1].bars] == ["pending", "firing"]


def test_nothing_injected_is_no_picture() -> None:
    assert picture_of(drill(), STORY[:1], []) is None
    assert picture_of(drill(), [], []) is None


def test_the_load_is_as_high_as_it_was_and_its_failures_show() -> None:
    def request(at: float, ok: bool) -> Finished:
        return Finished(INJECTED + at, INJECTED + at - 0.1, "U", "GET /", ok, 200, 100.0)

    calm = [request(n / 10, True) for n in range(-10, 100)]
    strip = picture(finished=calm).strip
    assert strip is not None
    assert strip.peak == pytest.approx(10.0, rel=0.15)
    assert strip.failed == ""
    broken = [*calm, *(request(5.0 + n / 100, False) for n in range(10))]
    strip = picture(finished=broken).strip
    assert strip is not None
    assert strip.failed.startswith("M")
    assert picture(finished=[]).strip is None


@settings(max_examples=50)
@given(st.floats(0.01, 90_000.0), st.lists(st.floats(-50.0, 90_000.0), max_size=8))
def test_everything_lies_inside_the_picture(end: float, moments: list[float]) -> None:
    kinds = ("pending", "firing", "inactive", "notified", "resolved", "inhibited", "healed")
    story = [
        event(0.0, "injected"),
        *(event(at, kinds[n % 7], alert="High") for n, at in enumerate(moments)),
        event(end, "ended"),
    ]
    made = picture_of(drill(), story, [])
    assert made is not None
    for one in made.lanes:
        for bar in one.bars:
            assert SIDE <= bar.x <= bar.x + bar.width <= WIDTH - SIDE + 2
        assert all(SIDE <= mark.x <= WIDTH - SIDE for mark in one.marks)
        assert one.y < made.axis < made.height
    assert 1 <= len(made.ticks) <= 12
    assert all(re.fullmatch(r"injected|[\d.e+]+ (s|min)", label) for _, label in made.ticks)
