"""Routing, timing and inhibition as Alertmanager does it."""

from __future__ import annotations

import pytest

from alertdrill.rules.alertmanager import Matcher, load_alertmanager, parse_matchers

CONFIG = """\
route:
  receiver: default
  group_wait: 10s
  group_by: [alertname]
  routes:
    - receiver: log
      matchers: ['team=~".+"']
      continue: true
    - receiver: critical
      matchers: ['severity="critical"']
      group_interval: 2m
      routes:
        - receiver: database
          match: {component: db}
          group_wait: 1s
          repeat_interval: 1h
        - matchers: ['night="yes"']
          group_by: [severity]
    - receiver: old
      match_re: {severity: 'warn|warning'}
    - receiver: unlabelled
      matchers: ['team=""', 'severity!~"info|debug"']
    - receiver: lost
      matchers: ['severity="critical"']
receivers:
  - name: default
  - name: log
  - name: critical
    webhook_configs:
      - url: http://receiver/critical
        send_resolved: false
      - url: http://receiver/again
  - name: database
  - name: old
  - name: unlabelled
  - name: lost
inhibit_rules:
  - source_matchers: [alertname="Down"]
    target_matchers: [symptom="api"]
    equal: [cluster]
  - source_match: {severity: critical}
    target_match_re: {severity: 'critical|warning'}
"""


@pytest.fixture
def config(write):
    return load_alertmanager(write(alertmanager=CONFIG) / "alertmanager.yml")


ROUTING = [
    ({"severity": "critical"}, ("critical",)),
    ({"severity": "critical", "team": "a"}, ("log", "critical")),
    ({"severity": "critical", "component": "db"}, ("database",)),
    ({"severity": "critical", "night": "yes"}, ("critical",)),
    ({"severity": "warning"}, ("old",)),
    # Regular expressions are anchored.
    ({"severity": "warnings", "team": "a"}, ("log",)),
    ({"severity": "xwarning"}, ("unlabelled",)),
    # A label that is missing is the empty text.
    ({}, ("unlabelled",)),
    ({"severity": "info"}, ("default",)),
    ({"team": "a", "severity": "info"}, ("log",)),
]


@pytest.mark.parametrize(("labels", "receivers"), ROUTING)
def test_routes(config, labels, receivers):
    assert config.receiver_for(labels) == receivers


TIMING = [
    ({"severity": "info"}, (10, 300, 14_400)),
    ({"severity": "critical"}, (10, 120, 14_400)),
    ({"severity": "critical", "component": "db"}, (1, 120, 3_600)),
    # Through two routes: the longest of each.
    ({"severity": "critical", "component": "db", "team": "a"}, (10, 300, 14_400)),
]


@pytest.mark.parametrize(("labels", "timing"), TIMING)
def test_timing_is_inherited(config, labels, timing):
    assert config.timing_for(labels) == timing


def test_defaults(write):
    assert load_alertmanager(write() / "alertmanager.yml").timing_for({}) == (30, 300, 14_400)


def test_grouping(config):
    assert config.groups_alone({"severity": "critical"})
    assert not config.groups_alone({"severity": "critical", "night": "yes"})


INHIBITION = [
    ({"symptom": "api"}, [{"alertname": "Down"}], True),
    ({"symptom": "api"}, [{"alertname": "Up"}], False),
    ({"symptom": "api"}, [], False),
    ({"symptom": "db"}, [{"alertname": "Down"}], False),
    ({"symptom": "api", "cluster": "a"}, [{"alertname": "Down", "cluster": "a"}], True),
    ({"symptom": "api", "cluster": "a"}, [{"alertname": "Down", "cluster": "b"}], False),
    ({"symptom": "api", "cluster": "a"}, [{"alertname": "Down"}], False),
    ({"severity": "warning"}, [{"severity": "critical"}], True),
    # What is source and target at once doesn't mute another such, nor itself.
    ({"severity": "critical"}, [{"severity": "critical"}], False),
]


@pytest.mark.parametrize(("labels", "firing", "muted"), INHIBITION)
def test_inhibition(config, labels, firing, muted):
    assert config.inhibited_by(labels, firing) is muted


def test_receivers(config):
    critical = config.receiver("critical")
    assert [(hook.url, hook.send_resolved) for hook in critical.webhooks] == [
        ("http://receiver/critical", False),
        ("http://receiver/again", True),
    ]
    assert critical.kinds == ("webhook",)
    assert config.receiver("log").kinds == ()
    with pytest.raises(KeyError):
        config.receiver("nobody")


MATCHERS = [
    ('severity="critical"', [("severity", "=", "critical")]),
    ("severity = critical", [("severity", "=", "critical")]),
    ('a=~"x|y", b!=c', [("a", "=~", "x|y"), ("b", "!=", "c")]),
    ('{a!~"x,y", b=""}', [("a", "!~", "x,y"), ("b", "=", "")]),
    (r'a="say \"hi\"\\"', [("a", "=", 'say "hi"\\')]),
    ('"foo.bar"="x"', [("foo.bar", "=", "x")]),
    ("a=", [("a", "=", "")]),
]


@pytest.mark.parametrize(("text", "parsed"), MATCHERS)
def test_matchers_are_read(text, parsed):
    assert [(m.label, m.op, m.value) for m in parse_matchers(text)] == parsed


@pytest.mark.parametrize("text", ["severity", "=x", 'a=="b"', 'a="b', "a=b,,c=d", "1a=b"])
def test_what_is_no_matcher_is_refused(text):
    with pytest.raises(ValueError, match="not a matcher"):
        parse_matchers(text)


def test_a_matcher_prints_as_it_is_written():
    assert str(Matcher("a", "=~", "b")) == 'a=~"b"'
