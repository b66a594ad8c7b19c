"""When an alert must have fired or ended: deadlines derived from the rule itself.

Everything is computed on the clock of the files that were loaded: for a compressed run, load
the compressed files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alertdrill.rules import promql
from alertdrill.rules.model import AlertRule, Monitoring, RecordingRule

# A loaded machine of two cores schedules late; a fixed part and a share of the rest.
MARGIN_S = 3.0
MARGIN_SHARE = 0.1
OWN_SERIES = ("ALERTS", "prometheus_", "alertmanager_")


@dataclass(frozen=True)
class Deadline:
    """A sum of named parts, in seconds, which says where it comes from."""

    parts: tuple[tuple[str, float], ...]

    @property
    def total_s(self) -> float:
        return sum(seconds for _, seconds in self.parts)

    def without_margin(self) -> Deadline:
        """What rule, route and operation need, with nothing granted to a slow machine."""
        return Deadline(tuple(part for part in self.parts if part[0] != "margin"))

    def __str__(self) -> str:
        """E.g. ``22.6 s = window 5 + for 5 + evaluation 1 + …``; empty parts are left out."""
        reasons = " + ".join(f"{name} {_short(value)}" for name, value in self.parts if value)
        return f"{self.total_s:.1f} s = {reasons or 'nothing'}"


def _short(seconds: float) -> str:
    return f"{seconds:.2f}".rstrip("0").rstrip(".")


def window_s(expr: str, recorded: Mapping[str, float] | None = None) -> float:
    """The longest look-back of ``expr`` in seconds: ranges, subqueries with what is inside them,
    offsets, and the windows of recorded series (``recorded``: seconds by metric name).

    Raises ValueError when ``expr`` is not PromQL.
    """
    in_ms = {name: round(seconds * 1000) for name, seconds in (recorded or {}).items()}
    return max(0, promql.look_back_ms(promql.parse(expr), in_ms)) / 1000


def recorded_windows(monitoring: Monitoring) -> dict[str, float]:
    """Seconds by name of every recorded series: its own look-back, that of what it is made of,
    and one interval of its group for each, because it is computed that much later."""
    by_name: dict[str, list[RecordingRule]] = {}
    for rule in monitoring.recordings():
        by_name.setdefault(rule.name, []).append(rule)
    windows: dict[str, float] = {}
    # Each pass lets the windows flow one recording further down a chain.
    for _ in by_name:
        windows = {
            name: max(window_s(r.expr, windows) + monitoring.interval_s(r) for r in rules)
            for name, rules in by_name.items()
        }
    return windows


def hears_itself(rule: AlertRule, monitoring: Monitoring) -> bool:
    """Whether ``rule`` reads, by itself or through recordings, what its own alert changes:
    ``ALERTS``, or what Prometheus and Alertmanager count of themselves. What it says next then
    depends on its having fired.
    """
    recordings = [(r.name, promql.parse(r.expr)) for r in monitoring.recordings()]
    read = promql.metrics_read(promql.parse(rule.expr), recordings)
    return any(name is None or name.startswith(OWN_SERIES) for name in read)


def scrape_s(rule: AlertRule, monitoring: Monitoring) -> float:
    """The longest scrape interval of the jobs that ``rule`` names; of all where it names none."""
    selectors = promql.selectors(promql.parse(rule.expr))
    named = {promql.equal_matcher(selector, "job") for selector in selectors}
    jobs = monitoring.prometheus.jobs
    chosen = [job for job in jobs if job.name in named] if None not in named else []
    intervals = [job.scrape_interval_s for job in chosen or jobs]
    return max(intervals, default=monitoring.prometheus.scrape_interval_s)


def fire_deadline(
    rule: AlertRule,
    monitoring: Monitoring,
    *,
    operation_s: float = 0.0,
    margin_s: float | None = None,
) -> Deadline:
    """From injection to the notification at the receiver, at the latest.

    The window must fill with the fault, ``for`` must pass; a fault may begin just after a scrape
    and that scrape's data may be just too late for an evaluation, hence two of each.
    ``operation_s``: how long an operation lasts under the fault, where it counts only when it
    has ended. ``margin_s`` None: 3 s and a tenth of the rest.
    """
    wait_s, interval_s, _ = monitoring.alertmanager.timing_for(rule.alert_labels)
    alone = monitoring.alertmanager.groups_alone(rule.alert_labels)
    group = ("group_wait", wait_s) if alone else ("group_interval", max(wait_s, interval_s))
    return _with_margin(
        (
            ("window", window_s(rule.expr, recorded_windows(monitoring))),
            ("for", rule.for_s),
            ("query_offset", monitoring.query_offset_s(rule)),
            ("evaluation", 2 * monitoring.interval_s(rule)),
            ("scrape", 2 * scrape_s(rule, monitoring)),
            group,
            ("operation", operation_s),
        ),
        margin_s,
    )


def promised_deadline(within_s: float, *, operation_s: float = 0.0) -> Deadline:
    """What was promised (``within_s``, on the clock of the run), whatever the rule says.

    The slowed operation and the margin come on top: they are real seconds on any clock.
    """
    return _with_margin((("promised", within_s), ("operation", operation_s)), None)


def resolve_deadline(
    rule: AlertRule,
    monitoring: Monitoring,
    *,
    operation_s: float = 0.0,
    resend_delay_s: float = 0.0,
    margin_s: float | None = None,
) -> Deadline:
    """From healing to the resolved notification at the receiver, at the latest.

    The window must empty of the fault. ``resend_delay_s``: Prometheus' flag, for the case that
    the first message to Alertmanager is lost. Otherwise as ``fire_deadline``.
    """
    _, interval_s, _ = monitoring.alertmanager.timing_for(rule.alert_labels)
    return _with_margin(
        (
            ("window", window_s(rule.expr, recorded_windows(monitoring))),
            ("keep_firing_for", rule.keep_firing_for_s),
            ("query_offset", monitoring.query_offset_s(rule)),
            ("evaluation", 2 * monitoring.interval_s(rule)),
            ("scrape", 2 * scrape_s(rule, monitoring)),
            ("group_interval", interval_s),
            ("resend", resend_delay_s),
            ("operation", operation_s),
        ),
        margin_s,
    )


def _with_margin(parts: tuple[tuple[str, float], ...], margin_s: float | None) -> Deadline:
    if margin_s is None:
        margin_s = MARGIN_S + MARGIN_SHARE * sum(seconds for _, seconds in parts)
    return Deadline((*parts, ("margin", margin_s)))
