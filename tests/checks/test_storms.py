"""Notification storms: repetitions that the route doesn't allow, and those that it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertdrill.checks.storms import repeated, too_many, too_soon
from alertdrill.rules.alertmanager import AlertmanagerConfig, load_alertmanager
from alertdrill.signals.notifications import Notification
from alertdrill.verdict import Reason

CONFIG = """\
route:
  receiver: team
  group_by: [alertname]
  group_wait: 500ms
  group_interval: 1s
  repeat_interval: 240s
receivers:
  - name: team
    webhook_configs:
      - url: http://receiver:8080/notify/team
"""


@pytest.fixture
def alertmanager(tmp_path: Path) -> AlertmanagerConfig:
    (tmp_path / "alertmanager.yml").write_text(CONFIG)
    return load_alertmanager(tmp_path / "alertmanager.yml")


def told(*calls: tuple[float, str], group: str = "g", **labels: str) -> list[Notification]:
    """Calls at these times, ``firing`` or ``resolved``, of one series."""
    series = {"alertname": "High", **labels}
    return [Notification(at, "team", "High", status, series, {}, group) for at, status in calls]


FIRST = told((0.0, "firing"), (6.0, "resolved"))
FLAPS = told((0.0, "firing"), (1.0, "resolved"), (2.0, "firing"), (3.0, "resolved"))


@pytest.mark.parametrize("received", [[], FIRST, FLAPS, told((0.0, "firing"), (240.1, "firing"))])
def test_what_the_route_allows_is_no_storm(
    received: list[Notification], alertmanager: AlertmanagerConfig
) -> None:
    assert list(too_soon(received, alertmanager)) == []
    assert list(repeated(received, alertmanager)) == []
    assert list(too_many(received, 2)) == []


def test_two_groups_that_tell_the_same_receiver_are_one_too_many(
    alertmanager: AlertmanagerConfig,
) -> None:
    received = [*told((0.0, "firing")), *told((0.01, "firing"), group="other")]
    [finding] = too_soon(received, alertmanager)
    assert finding.reason is Reason.NOTIFICATION_STORM
    assert "team was told twice within 0.01 s" in finding.message


def test_two_series_of_one_call_are_none(alertmanager: AlertmanagerConfig) -> None:
    received = [*told((0.0, "firing"), upstream="a"), *told((0.0, "firing"), upstream="b")]
    assert list(too_soon(received, alertmanager)) == []


def test_the_same_news_again_is_a_storm(alertmanager: AlertmanagerConfig) -> None:
    received = told((0.0, "firing"), (2.0, "firing"))
    [finding] = repeated(received, alertmanager)
    assert "told again after 2.00 s, and nothing had changed" in finding.message


def test_a_group_that_grew_is_news(alertmanager: AlertmanagerConfig) -> None:
    received = [
        *told((0.0, "firing"), upstream="a"),
        *told((1.0, "firing"), upstream="a"),
        *told((1.0, "firing"), upstream="b"),
    ]
    assert list(repeated(received, alertmanager)) == []


def test_the_end_of_what_fired_before_the_drill_is_not_its_doing() -> None:
    first = told((0.0, "firing"), upstream="github")
    again = told((1.0, "firing"), upstream="github")
    ended = told((1.0, "resolved"), upstream="ai-studio")
    assert list(too_many([*first, *ended, *again], 1)) == []
    assert list(too_many([*first, *again, *ended], 1)) == []
    begun = told((0.0, "firing"), upstream="ai-studio")
    [finding] = too_many([*first, *begun, *again, *ended], 1)
    assert "told 2 times" in finding.message, "what fires in the drill counts, and its end too"
    [finding] = too_many([*first, *ended, *again, *told((2.0, "firing"), upstream="github")], 1)
    assert "told 2 times" in finding.message, "only the call that tells that end is left out"


def test_a_drill_may_ask_for_less_than_the_route_allows() -> None:
    [finding] = too_many(FLAPS, 1)
    assert finding.reason is Reason.NOTIFICATION_STORM
    assert "told 2 times (at most 1 in this drill)" in finding.message
