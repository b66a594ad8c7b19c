"""What is put in place of the project's receivers and waits, and what stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertdrill.errors import UsageError
from alertdrill.rules.alertmanager import AlertmanagerConfig, load_alertmanager
from alertdrill.rules.routing.recorder import Recorder
from alertdrill.rules.routing.rewrite import (
    Clock,
    clock_for,
    read_setup,
    repeat_real_s,
    rewrite,
)
from tests.rules_routing.project import CLEAN

INTERVALS = """\
time_intervals:
  - {name: nights, time_intervals: [{times: [{start_time: '00:00', end_time: '06:00'}]}]}
route:
  receiver: a
  group_wait: 0s
  routes:
    - {matchers: [x="y"], mute_time_intervals: [nights], repeat_interval: 2d, receiver: b}
receivers:
  - {name: a, email_configs: [{to: me@example.org}]}
  - {name: b, slack_configs: [{channel: c}], webhook_configs: [{url_file: /run/secrets/hook}]}
"""


def load(folder: Path, text: str) -> AlertmanagerConfig:
    path = folder / "alertmanager.yml"
    path.write_text(text)
    return load_alertmanager(path)


def rewritten(folder: Path, text: str, *, inhibit: bool = True, texts: bool = True) -> str:
    config = load(folder, text)
    with Recorder() as recorder:
        return rewrite(
            read_setup(config, clock_for(config, None)), recorder, inhibit=inhibit, texts=texts
        )


def test_routes_matchers_and_inhibitions_stay(tmp_path: Path) -> None:
    before = load(CLEAN.write(tmp_path), CLEAN.alertmanager)
    (tmp_path / "new").mkdir()
    after = load(tmp_path / "new", rewritten(tmp_path, CLEAN.alertmanager, texts=False))
    assert [(r.receiver, r.matchers, r.group_by) for r in after.route.walk()] == [
        (r.receiver, r.matchers, r.group_by) for r in before.route.walk()
    ]
    assert [(r.source, r.target, r.equal) for r in after.inhibit_rules] == [
        (r.source, r.target, r.equal) for r in before.inhibit_rules
    ]
    assert [r.kinds for r in after.receivers] == [("webhook",)] * 3
    assert all("127.0.0.1" in hook.url for r in after.receivers for hook in r.webhooks)


def test_secrets_and_what_needs_them_are_left_out(tmp_path: Path) -> None:
    CLEAN.write(tmp_path)
    assert "/run/secrets" not in rewritten(tmp_path, CLEAN.alertmanager)


def test_inhibitions_can_be_left_out(tmp_path: Path) -> None:
    CLEAN.write(tmp_path)
    assert "inhibit_rules" not in rewritten(tmp_path, CLEAN.alertmanager, inhibit=False)


def test_time_intervals_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    config = load(tmp_path, INTERVALS)
    setup = read_setup(config, clock_for(config, None))
    assert any("time intervals" in note for note in setup.notes)
    assert "nights" not in rewritten(tmp_path, INTERVALS)


def test_who_is_told_of_the_end(tmp_path: Path) -> None:
    """Mail's default is silence; one integration that tells is enough."""
    config = load(tmp_path, INTERVALS)
    assert read_setup(config, clock_for(config, None)).resolves == {"a": False, "b": True}


def test_templates_written_for_a_container_are_found_beside_the_file(tmp_path: Path) -> None:
    config = load(CLEAN.write(tmp_path), CLEAN.alertmanager)
    setup = read_setup(config, clock_for(config, None))
    assert [path.name for path in setup.template_files] == ["texts.tmpl"]
    assert [text.name for text in setup.texts] == [
        "slack_configs[0].title",
        "slack_configs[0].text",
        "pagerduty_configs[0].details.who",
    ]
    (tmp_path / "texts.tmpl").unlink()
    assert any("texts.tmpl" in note for note in read_setup(config, setup.clock).notes)


def test_a_factor_that_would_take_hours_is_refused(tmp_path: Path) -> None:
    config = load(tmp_path, INTERVALS)
    with pytest.raises(UsageError, match="--factor 2"):
        clock_for(config, 2)
    assert clock_for(config, 1_000) == Clock(1_000, 1_000)


def test_the_automatic_clock_takes_seconds(tmp_path: Path) -> None:
    config = load(tmp_path, INTERVALS)
    clock = clock_for(config, None)
    assert [clock.wait_s(s) for s in (0, 300)] == [0, 1]
    assert clock.repeat_s(172_800) == 2.5


@given(
    real_s=st.floats(0.001, 1e7, allow_nan=False),
    factor=st.floats(1, 1e5, allow_nan=False),
)
def test_no_wait_grows_vanishes_or_gets_too_short_to_be_seen(real_s: float, factor: float) -> None:
    short_s = Clock(factor, factor).wait_s(real_s)
    assert 0 < short_s <= real_s
    assert short_s >= min(real_s, 0.1) or factor == 1


def test_a_repetition_waits_for_a_flush_after_the_interval(tmp_path: Path) -> None:
    config = load(tmp_path, CLEAN.alertmanager)  # 1m by flushes of 20 s
    assert repeat_real_s(config.route) == 80
