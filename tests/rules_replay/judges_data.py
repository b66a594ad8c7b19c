"""A small system's series, healthy and broken in several ways, as histories and as segments."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from alertdrill.rules.model import load_rules
from alertdrill.rules.replay.model import History, Kind, LabelSet, Segment, Stretch, Values
from alertdrill.rules.replay.ruleset import RuleSet
from alertdrill.rules.replay.segments import save

ROOT = Path(__file__).parents[2]
INTERVAL_S = 15.0
TARGET = {"job": "bakhmach-app", "instance": "hub:8001"}
FAULTS = ("errors", "slow", "upstream", "pool", "down")

# Shares of operations within each bucket, in seconds, while all is well.
_BUCKETS = {"0.1": 0.3, "0.5": 0.8, "1": 0.9, "2": 0.97, "5": 1.0, "10": 1.0, "+Inf": 1.0}


def labels(name: str, **more: str) -> LabelSet:
    return tuple(sorted({"__name__": name, **TARGET, **more}.items()))


def series(bad: Values, fault: str, *, seed: int = 3, sources: int = 2) -> dict[LabelSet, Values]:
    """Every series over slots of which ``bad`` (0 or 1) are broken by ``fault``."""
    random = np.random.default_rng(seed)
    slots = len(bad)
    found: dict[LabelSet, Values] = {}
    for number in range(sources):
        source = f"source-{number}"
        total = random.integers(40, 60, slots).astype(float)
        errors = np.rint(total * 0.3 * bad * (fault == "errors"))
        slow = 0.5 * bad * (fault == "slow")
        failed = np.rint(3 * total * bad * (fault == "upstream"))
        for status, grown in (("success", total - errors), ("error", errors)):
            found[labels("sync_operations_total", source=source, status=status)] = np.cumsum(grown)
        for le, share in _BUCKETS.items():
            within = share * (1 - slow) if float(le) <= 5 else np.ones(slots)
            name = labels("sync_duration_seconds_bucket", source=source, le=le)
            found[name] = np.cumsum(np.rint(total * within))
        for outcome, grown in (("success", 5 * total - failed), ("server_error", failed)):
            name = labels("upstream_requests_total", upstream=source, outcome=outcome)
            found[name] = np.cumsum(grown)
    idle = random.integers(0, 6, slots).astype(float)
    found[labels("db_connection_pool_in_use")] = np.where(bad * (fault == "pool") > 0, 20.0, idle)
    found[labels("db_connection_pool_limit")] = np.full(slots, 20.0)
    down = bad * (fault == "down") > 0
    found = {name: np.where(down, np.nan, values) for name, values in found.items()}
    found[labels("up")] = np.where(down, 0.0, 1.0)
    return found


def history(lead_s: float, fault_s: float, tail_s: float, fault: str) -> History:
    """Healthy, ``fault``, healthy again."""
    slots = [round(part / INTERVAL_S) for part in (lead_s, fault_s, tail_s)]
    bad = np.repeat([0.0, 1.0, 0.0], slots)
    stretches = tuple(
        Stretch(name, part)
        for name, part in (("healthy", lead_s), (fault, fault_s), ("healthy", tail_s))
    )
    return History(INTERVAL_S, series(bad, fault), stretches)


def segments(fault: str, slots: int = 41, *, sources: int = 2) -> tuple[Segment, Segment]:
    """A healthy segment and one of ``fault``, of a drill called ``drill-FAULT``."""
    return tuple(  # type: ignore[return-value]
        Segment(
            name=name,
            drill=f"drill-{fault}",
            interval_s=INTERVAL_S,
            factor=60.0,
            series=(own := series(np.full(slots, bad), fault, sources=sources)),
            kinds=kinds(own),
        )
        for name, bad in (("healthy", 0.0), (fault, 1.0))
    )


def kinds(of: Mapping[LabelSet, Values]) -> dict[str, Kind]:
    names = {dict(label_set)["__name__"] for label_set in of}
    return {
        name: Kind.COUNTER if name.endswith(("_total", "_bucket")) else Kind.GAUGE for name in names
    }


# The alerts that the histories here have series for.
SPOKEN_OF = {
    *("HighErrorRate", "SyncLatencyHigh", "UpstreamUnavailable"),
    *("DatabaseConnectionPoolExhausted", "APIUnavailable", "NoSuccessfulSyncs"),
}


def spoken_of(folder: Path) -> Path:
    """The shipped rules without those that nothing is recorded for, written below ``folder``."""
    yaml = YAML()
    rules = yaml.load(ROOT / "monitoring" / "alerts.yml")
    for group in rules["groups"]:
        group["rules"] = [rule for rule in group["rules"] if rule["alert"] in SPOKEN_OF]
    path = folder / "spoken-of.yml"
    yaml.dump(rules, path)
    return path


def rule_set(path: Path = ROOT / "monitoring" / "alerts.yml", interval_s: float = 15.0) -> RuleSet:
    return RuleSet((load_rules(path),), interval_s)


TABLE = """\
faults:
  errors: {for: 30m, blip: 30s, fires: [HighErrorRate]}
  slow: {for: 30m, fires: [SyncLatencyHigh]}
  upstream: {for: 30m, fires: [UpstreamUnavailable]}
  pool: {for: 30m, fires: [DatabaseConnectionPoolExhausted]}
  down: {for: 30m, fires: [APIUnavailable], may_fire: [NoSuccessfulSyncs]}
"""
# The guide's rules define fewer alerts.
GUIDE_TABLE = """\
faults:
  errors: {for: 30m, fires: [HighErrorRate]}
  slow: {for: 30m, fires: [SyncLatencyHigh]}
  pool: {for: 30m, fires: [DatabaseConnectionPoolExhausted]}
  down: {for: 30m, fires: [APIUnavailable]}
"""


def write(folder: Path) -> None:
    """The segments of all faults, and tables for them, to try the command on."""
    for fault in FAULTS:
        for segment in segments(fault):
            save(segment, folder / "segments")
    (folder / "expect.yml").write_text(TABLE, encoding="utf-8")
    (folder / "guide.yml").write_text(GUIDE_TABLE, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
