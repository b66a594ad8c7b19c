"""What a metric is: by the TYPE that it is exposed with, otherwise by the naming conventions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from alertdrill.rules.lint.exposition import Exposition
from alertdrill.rules.lint.labels import is_recorded_name
from alertdrill.rules.lint.words import words


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Guess:
    """``sure``: the exposition says so; otherwise only the name does."""

    kind: Kind
    sure: bool


_UNKNOWN = Guess(Kind.UNKNOWN, False)
_HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")
_GAUGE_ENDINGS = (
    "_ratio",
    "_percent",
    "_info",
    "_timestamp_seconds",
    "_celsius",
    "_resident_memory_bytes",
    "_in_use",
)

# Zero or one, by the conventions of exporters.
_FLAGS = ("up", "probe_success")
# Series that Prometheus makes itself.
SYNTHETIC = words(
    "up ALERTS ALERTS_FOR_STATE scrape_duration_seconds scrape_samples_scraped"
    " scrape_samples_post_metric_relabeling scrape_series_added scrape_timeout_seconds"
    " scrape_sample_limit scrape_body_size_bytes"
)


def kind_of(name: str, exposed: Exposition | None) -> Guess:
    """Counter or gauge. The buckets, sums and counts of histograms and summaries are counters."""
    if exposed is not None:
        told = _told(name, exposed)
        if told is not None:
            return Guess(told, True)
    if is_recorded_name(name):
        return _UNKNOWN
    if name.endswith(("_total", "_bucket")):
        return Guess(Kind.COUNTER, False)
    if name.endswith(_GAUGE_ENDINGS) or is_flag(name):
        return Guess(Kind.GAUGE, False)
    return _UNKNOWN


def _told(name: str, exposed: Exposition) -> Kind | None:
    kind = exposed.types.get(name)
    if kind in ("counter", "gauge"):
        return Kind(kind)
    for part in _HISTOGRAM_PARTS:
        base = exposed.types.get(name.removesuffix(part)) if name.endswith(part) else None
        if base == "histogram" or (base == "summary" and part != "_bucket"):
            return Kind.COUNTER
        if base == "gaugehistogram":
            return Kind.GAUGE
    if name.endswith("_total") and exposed.types.get(name.removesuffix("_total")) == "counter":
        return Kind.COUNTER
    return None


def is_flag(name: str, exposed: Exposition | None = None) -> bool:
    """Whether it says yes or no; what is exposed with more than 1 doesn't."""
    above = exposed is not None and exposed.highest.get(name, 0) > 1
    return name in _FLAGS or (name.endswith("_up") and not above)
