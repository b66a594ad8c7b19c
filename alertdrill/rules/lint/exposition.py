"""What targets expose, read from their own pages: names, labels, types, bucket bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from alertdrill.errors import UsageError
from alertdrill.rules.document import read_text

TIMEOUT_S = 10.0
_URL = ("http://", "https://")
_ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

Series = Mapping[str, str]

_SAMPLE = re.compile(r"\s*(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)?\s*(?P<open>\{)?")
_PAIR = re.compile(r'\s*(?:"((?:\\.|[^"\\])*)"|([A-Za-z_][A-Za-z0-9_.]*))\s*(=)?\s*')
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"\s*,?')
_ESCAPE = re.compile(r"\\(.)")


@dataclass
class Exposition:
    """``series`` by metric name, ``types`` by family, ``highest`` value of each metric."""

    series: dict[str, list[Series]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    highest: dict[str, float] = field(default_factory=dict)

    def last_finite_bucket(self, name: str) -> float | None:
        """The highest finite ``le`` of the histogram whose buckets are called ``name``."""
        bounds = [as_float(series.get("le", "")) for series in self.series.get(name, ())]
        return max((bound for bound in bounds if math.isfinite(bound)), default=None)


def as_float(text: str) -> float:
    """NaN where ``text`` is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def load_exposition(places: Iterable[str]) -> Exposition:
    """One exposition of all ``places``: files, or http(s) URLs fetched within ten seconds.

    Raises UsageError when one can't be had or holds no series.
    """
    found = Exposition()
    for place in places:
        text = _fetch(place) if place.startswith(_URL) else read_text(Path(place))
        before = sum(map(len, found.series.values()))
        seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
        for number, line in enumerate(text.splitlines(), 1):
            if not _read_line(line, found, seen):
                raise UsageError(
                    f"not a text exposition of metrics: {line[:60]!r}", file=place, line=number
                )
        if sum(map(len, found.series.values())) == before:
            raise UsageError("exposes no series: nothing could be compared with it", file=place)
    return found


def _fetch(url: str) -> str:
    try:
        answer = httpx.get(
            url, timeout=TIMEOUT_S, follow_redirects=True, headers={"Accept": _ACCEPT}
        )
        return answer.raise_for_status().text
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"--metrics {url} can't be fetched: {reason}") from None


def _read_line(
    line: str, found: Exposition, seen: set[tuple[str, tuple[tuple[str, str], ...]]]
) -> bool:
    """Add what ``line`` says; False when it says nothing known."""
    if line.startswith("#"):
        words = line.split(maxsplit=3)
        if len(words) == 4 and words[1] == "TYPE":
            found.types[words[2].strip('"')] = words[3].strip()
        return True
    if not line.strip():
        return True
    match = _SAMPLE.match(line)
    assert match is not None
    name, at, labels = match["name"] or "", match.end(), dict[str, str]()
    if match["open"]:
        while at < len(line) and line[at] != "}":
            pair = _PAIR.match(line, at)
            if pair is None:
                return False
            key, at = _plain(pair[1]) if pair[1] is not None else pair[2], pair.end()
            if not pair[3]:  # a quoted name stands among the labels
                name = key
                at += line[at : at + 1] == ","
                continue
            value = _QUOTED.match(line, at)
            if value is None:
                return False
            labels[key], at = _plain(value[1]), value.end()
            while line[at : at + 1] == " ":
                at += 1
        at += 1
    value_words = line[at:].split()
    if not name or not value_words:
        return False
    number = as_float(value_words[0])
    if math.isnan(number) and value_words[0].lower() not in ("nan", "+nan", "-nan"):
        return value_words[0].startswith("{")  # a native histogram
    key_of_series = (name, tuple(sorted(labels.items())))
    if key_of_series not in seen:
        seen.add(key_of_series)
        found.series.setdefault(name, []).append(labels)
    if not math.isnan(number):
        found.highest[name] = max(number, found.highest.get(name, number))
    return True


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda m: {"n": "\n"}.get(m[1], m[1]), text)
