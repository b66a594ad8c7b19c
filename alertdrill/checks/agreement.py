"""Agreement: what the system counted of its requests, against what its clients saw of them.

A counter is exact, and so is the load generator's record; only when one and the other counted a
request differs. So the bounds are counts too: requests that surely were counted between two
scrapes, and those that may have been: answered around a scrape or a restart, or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alertdrill.checks.contract import Check, View
from alertdrill.config import Sli
from alertdrill.load.protocol import Finished
from alertdrill.load.window import USUAL_SILENCE_S, Tally
from alertdrill.signals.counters import Growth, growth
from alertdrill.timeline import monotonic_of, unix_of
from alertdrill.verdict import Finding, Reason

# From the moment that the system counts a request until its client has written the answer down,
# and from a scrape's time stamp until its values were read. A load generator that had no processor
# for a while wrote answers down so much later.
LAG_S = 1.0
# So many scrape intervals before the drill counting begins, if its load was there by then: a system
# that is killed at once, and only just back at the end, has hardly a sample in between.
LEAD_SCRAPES = 4


@dataclass(frozen=True)
class Bounds:
    """How many requests the system must have counted at least, and can have at most."""

    least: int
    most: int

    def hold(self, counted: float) -> bool:
        return self.least <= counted <= self.most

    def __str__(self) -> str:
        return f"{self.least} to {self.most}"


@dataclass(frozen=True)
class Comparison:
    sli: Sli
    total: Bounds
    bad: Bounds
    counted_total: float
    counted_bad: float

    def findings(self) -> list[Finding]:
        rows = (
            (self.counted_total, self.total, "requests", self.sli.total),
            (self.counted_bad, self.bad, "failed requests", self.sli.bad),
        )
        return [
            Finding(
                Reason.METRICS_DISAGREE,
                f"{self.sli.name}: {counted:.0f} {what} were counted, and {self.sli.user} saw "
                f"{bounds} of them: {selector}",
            )
            for counted, bounds, what, selector in rows
            if not bounds.hold(counted)
        ]


class Agreement(Check):
    """The system's own counters over the whole drill, and what the fault costs of the budget."""

    id = "metrics"

    def __init__(self, slis: Sequence[Sli]) -> None:
        self._slis = slis
        self._compared: list[Comparison] = []
        self._costs: dict[str, dict[str, float]] = {}

    def under_fault(self, view: View) -> list[Finding]:
        window = view.load.since(view.injected)
        lasted_s = (time.monotonic() - view.injected) * view.bench.config.clock.factor
        for sli in self._slis:
            tally = window.by_user.get(sli.user, Tally(0, 0))
            if tally.requests:
                self._costs[sli.name] = cost(tally, sli.objective, lasted_s)
        return []

    def after(self, view: View) -> list[Finding]:
        findings = []
        patience_s = view.drill.load.timeout_s
        since = _counted_from(view)
        silence_s = view.load.longest_silence(since)
        lag_s = LAG_S + (silence_s if silence_s > USUAL_SILENCE_S else 0.0)
        # Answers to what was counted until then have arrived by now.
        until = time.time() - lag_s
        requests = view.load.requests(0.0)
        for sli in self._slis:
            grown = growth(view.bench.metrics, (sli.total, sli.bad), unix_of(since), until)
            if grown is None:
                text = f"{sli.name}: Prometheus has no sample of {sli.total}"
                findings.append(Finding(Reason.NO_DATA, text))
                continue
            compared = compare(sli, requests, grown, patience_s, lag_s)
            self._compared.append(compared)
            findings += compared.findings()
            if view.spares_users:
                findings += self._charged(view, sli, until)
        return findings

    def _charged(self, view: View, sli: Sli, until: float) -> list[Finding]:
        grown = growth(view.bench.metrics, (sli.total, sli.bad), unix_of(view.injected), until)
        found = None if grown is None else charged(sli, *grown.grown)
        return [] if found is None else [found]

    def document(self) -> dict[str, Any]:
        words = [
            f"{c.sli.name}: {c.counted_bad:.0f} of {c.counted_total:.0f} counted as failed, "
            f"clients saw {c.bad} of {c.total}"
            for c in self._compared
        ]
        words += [
            f"{name}: burn rate {row['burn']:g}, {row['cost_min']:g} min of full outage"
            for name, row in self._costs.items()
        ]
        return {
            "seen": "; ".join(words),
            "slis": {
                c.sli.name: {
                    "counted": {"total": c.counted_total, "bad": c.counted_bad},
                    "clients": {
                        "total": [c.total.least, c.total.most],
                        "bad": [c.bad.least, c.bad.most],
                    },
                }
                for c in self._compared
            },
            "costs": self._costs,
        }


def _counted_from(view: View) -> float:
    """Monotonic seconds. Never before this load began: of an earlier one nothing is known here."""
    files = view.bench.config.monitoring
    jobs = view.bench.monitoring.prometheus.jobs
    asked = [job.scrape_interval_s for job in jobs if job.name not in files.optional_jobs]
    loaded = view.begun if view.load.started_at is None else view.load.started_at
    return max(view.begun - LEAD_SCRAPES * max(asked, default=0.0), loaded)


def charged(sli: Sli, total: float, bad: float) -> Finding | None:
    """What is wrong when ``bad`` of ``total`` counted requests are more than the error budget of
    a fault that should spare users."""
    allowed = (1 - sli.objective) * total
    if bad <= allowed:
        return None
    return Finding(
        Reason.BUDGET_CHARGED,
        f"{sli.name}: {bad:.0f} of {total:.0f} requests were counted as failed, and the "
        f"objective allows {allowed:.1f}: it is charged with a fault that should spare users",
    )


def cost(tally: Tally, objective: float, lasted_s: float) -> dict[str, float]:
    """What clients lost while the fault lasted (``lasted_s``: seconds on the real clock).

    ``burn``: how many times faster than the objective allows the error budget is spent (the SRE
    workbook's burn rate); ``cost_min``: the minutes of full outage that spend as much.
    """
    share = tally.failed / tally.requests
    return {
        "bad_share": round(share, 4),
        "burn": round(share / (1 - objective), 2),
        "cost_min": round(share * lasted_s / 60, 2),
    }


def compare(
    sli: Sli,
    requests: Sequence[Finished],
    grown: Growth,
    patience_s: float,
    lag_s: float = LAG_S,
) -> Comparison:
    """What ``sli.user`` saw between the edges of ``grown``, beside what was counted there.

    ``requests``: all of the load, in the order of their end. ``patience_s``: so long before may a
    client have given up on a request that was counted only later. ``lag_s``: see ``LAG_S``.
    """
    unsure = [(monotonic_of(a), monotonic_of(b) + lag_s) for a, b in grown.unsure]
    begin, end = unsure[0][0], unsure[-1][1]
    sure_total = sure_bad = may_total = may_bad = 0
    failed: set[str] = set()
    for one in requests:
        if one.user != sli.user:
            continue
        if one.key is not None and not one.ok:
            failed.add(one.key)
        if one.status == 0:  # nobody knows whether the system counted it, nor as what
            given_up = begin - patience_s < one.end <= end
            may_total += given_up
            may_bad += given_up
        elif begin < one.end <= end:
            # What was done at an earlier attempt is not counted when it is asked for again.
            is_sure = one.key not in failed or not one.ok
            is_sure = is_sure and not any(a < one.end <= b for a, b in unsure)
            sure_total += is_sure
            sure_bad += is_sure and not one.ok
            may_total += not is_sure
            may_bad += not is_sure and not one.ok
    total, bad = grown.grown
    return Comparison(
        sli=sli,
        total=Bounds(sure_total, sure_total + may_total),
        bad=Bounds(sure_bad, sure_bad + may_bad),
        counted_total=total,
        counted_bad=bad,
    )
