"""Every check, in the order of their codes."""

from __future__ import annotations

from alertdrill.rules.lint import (
    counters,
    exposed,
    matching,
    prometheus,
    quantiles,
    reading,
    routing,
    thresholds,
    timing,
    unusable,
)
from alertdrill.rules.lint.finding import Check
from alertdrill.rules.lint.rule_check import RuleCheck

ALL: tuple[Check, ...] = tuple(
    sorted(
        (
            *reading.CHECKS,
            *prometheus.CHECKS,
            *routing.CHECKS,
            *quantiles.CHECKS,
            *exposed.CHECKS,
            *thresholds.CHECKS,
            *counters.CHECKS,
            *matching.CHECKS,
            *timing.CHECKS,
            *unusable.CHECKS,
        ),
        key=lambda check: check.code,
    )
)
BY_CODE = {check.code: check for check in ALL}
OF_RULES = tuple(check for check in ALL if isinstance(check, RuleCheck))
