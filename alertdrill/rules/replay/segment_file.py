"""A segment on disk: gzipped OpenMetrics that ``promtool tsdb create-blocks-from`` takes as it is.

Slot ``i`` stands at ``i * interval_s`` seconds. What is no sample of the system stands in two
info metrics: ``alertdrill_segment_info``, what the segment is, and
``alertdrill_counter_info``, the counters that OpenMetrics can't call so by their names.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from alertdrill.errors import UsageError
from alertdrill.rules.replay.model import Kind, LabelSet, Segment, Values
from alertdrill.rules.replay.targets import metric_name

SCHEMA = "1"
INFO = "alertdrill_segment_info"
COUNTER_INFO = "alertdrill_counter_info"
# A loop over fewer slots than this would repeat chance, not behaviour.
MIN_SLOTS = 4
# Bounds of what is read: a file that unpacks to more is not a segment.
MAX_BYTES = 1 << 30
MAX_LINE = 1 << 20
MAX_SAMPLES = 50_000_000

_LABEL = re.compile(r'(?:([a-zA-Z_:][\w:]*)|"((?:[^"\\]|\\.)*)")(?:="((?:[^"\\]|\\.)*)")?(?:,|$)')
_TYPE = re.compile(r"# TYPE (\".+\"|\S+) (\w+)")
_PLAIN = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_UNESCAPED = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}
_SUFFIXES = ("_total", "_bucket", "_sum", "_count", "_info")


# --- writing -------------------------------------------------------------------------------------


def write_segment(segment: Segment, path: Path) -> None:
    """Write ``segment``; the file appears whole or not at all."""
    part = path.with_name(path.name + ".part")
    text = "\n".join(_lines(segment)) + "\n"
    # Level 1: most of what level 9 would save is saved, in a fifth of its time.
    part.write_bytes(gzip.compress(text.encode(), compresslevel=1, mtime=0))
    part.replace(path)


def _lines(segment: Segment) -> Iterator[str]:
    families = _families(segment)
    info = {
        "schema": SCHEMA,
        "name": segment.name,
        "drill": segment.drill,
        "interval_s": f"{segment.interval_s:.15g}",
        "factor": f"{segment.factor:.15g}",
        "slots": str(segment.slots),
    }
    yield f"# TYPE {INFO.removesuffix('_info')} info"
    yield f"{_head(INFO, info.items())} 1 0"
    untold = sorted(
        name
        for family in families
        if family.type == "unknown"
        for name in family.names
        if segment.kinds[name] is Kind.COUNTER
    )
    if untold:
        yield f"# TYPE {COUNTER_INFO.removesuffix('_info')} info"
        for name in untold:
            yield f"{_head(COUNTER_INFO, [('metric', name)])} 1 0"
    times = [f"{slot * segment.interval_s:.15g}" for slot in range(segment.slots)]
    for family in families:
        yield f"# TYPE {_name(family.name)} {family.type}"
        for group in family.groups():
            yield from _samples(group, times)
    yield "# EOF"


def _samples(group: list[tuple[LabelSet, Values]], times: list[str]) -> Iterator[str]:
    """All series of one metric, moment by moment, as OpenMetrics asks of a histogram."""
    heads = [
        _head(metric_name(labels), (pair for pair in labels if pair[0] != "__name__"))
        for labels, _ in group
    ]
    columns = [values.tolist() for _, values in group]
    for slot, time in enumerate(times):
        for head, values in zip(heads, columns, strict=True):
            value = values[slot]
            if value == value:  # not NaN
                yield f"{head} {value!r} {time}"


@dataclass
class _Family:
    name: str
    type: str
    names: tuple[str, ...]
    series: list[tuple[LabelSet, Values]] = field(default_factory=list)

    def groups(self) -> list[list[tuple[LabelSet, Values]]]:
        """Series that form one metric: all of a histogram but for ``le``."""
        found: dict[LabelSet, list[tuple[LabelSet, Values]]] = defaultdict(list)
        apart = ("__name__", "le", "quantile") if self.type in ("histogram", "summary") else ()
        for labels, values in self.series:
            key = tuple(pair for pair in labels if pair[0] not in apart)
            found[key].append((labels, values))
        for group in found.values():
            group.sort(key=lambda row: _place(row[0]))
        return [found[key] for key in sorted(found)]


def _place(labels: LabelSet) -> tuple[int, float]:
    """Buckets and quantiles in ascending order, then the count, then the sum."""
    found = dict(labels)
    bound = found.get("le", found.get("quantile"))
    if bound is None:
        return (1 if found["__name__"].endswith("_count") else 2, 0.0)
    try:
        return (0, float(bound))
    except ValueError:
        return (0, float("inf"))


def _families(segment: Segment) -> list[_Family]:
    """Every series in a family of the most telling type that its names allow."""
    labels_of: dict[str, set[str]] = defaultdict(set)
    for labels in segment.series:
        labels_of[metric_name(labels)].update(name for name, _ in labels)
    counters = {name for name in labels_of if segment.kinds[name] is Kind.COUNTER}
    family_of: dict[str, _Family] = {}

    def add(family: str, kind: str, *names: str) -> None:
        members = tuple(name for name in names if name in labels_of and name not in family_of)
        family_of.update(dict.fromkeys(members, _Family(family, kind, members)))

    for name in sorted(labels_of):
        base = name.removesuffix("_bucket")
        if name in counters and base != name and "le" in labels_of[name]:
            members = {name, f"{base}_sum", f"{base}_count"} & counters
            if base not in labels_of:
                add(base, "histogram", *sorted(members))
        if name not in counters and "quantile" in labels_of[name]:
            members = {f"{name}_sum", f"{name}_count"} & counters
            add(name, "summary", name, *sorted(members))
    taken = {family.name for family in family_of.values()}
    for name in sorted(set(labels_of) - set(family_of)):
        base = name.removesuffix("_total")
        if name not in counters:
            add(name, "unknown" if name.endswith(_SUFFIXES) else "gauge", name)
        elif base != name and base not in labels_of and base not in taken:
            add(base, "counter", name)
        else:
            add(name, "unknown", name)
    for labels, values in segment.series.items():
        family_of[metric_name(labels)].series.append((labels, values))
    return sorted({id(f): f for f in family_of.values()}.values(), key=lambda f: f.name)


def _head(name: str, labels: Iterable[tuple[str, str]]) -> str:
    pairs = [f"{_name(label)}={_quoted(value)}" for label, value in labels]
    if not _PLAIN.fullmatch(name):
        # The syntax of Prometheus 3 for names beyond the classic alphabet.
        return "{" + ",".join([_quoted(name), *pairs]) + "}"
    return name + ("{" + ",".join(pairs) + "}" if pairs else "")


def _name(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else _quoted(name)


def _quoted(value: str) -> str:
    value = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{value}"'


# --- reading -------------------------------------------------------------------------------------


def read_segment(path: Path, select: Collection[str] | None = None) -> Segment:
    """The segment in ``path``; with ``select``, only its series of these metrics and ``up``.

    Raises UsageError with file and line for a file that is cut short, is not a segment, unpacks
    to more than 1 GiB, or has a sample that is out of order or between two slots.
    """
    reader = _Reader(path, select)
    try:
        with gzip.open(path, "rb") as source:
            while line := source.readline(MAX_LINE):
                reader.take(line)
    except EOFError:
        raise reader.error("is cut short: the compressed data ends in the middle") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(f"is not a gzipped segment: {error}", file=path) from None
    except OSError as error:
        raise UsageError(f"can't be read: {error.strerror}", file=path) from None
    return reader.segment()


class _Reader:
    """One pass over the lines, keeping what a segment needs and where it went wrong."""

    def __init__(self, path: Path, select: Collection[str] | None) -> None:
        self._path = path
        self._select = None if select is None else {"up", *select}
        self._line = 0
        self._bytes = 0
        self._ended = False
        self._info: Mapping[str, str] = {}
        self._interval_s = 0.0
        self._factor = 0.0
        self._slots = 0
        self._types: dict[str, str] = {}
        self._counters: set[str] = set()
        self._row_of: dict[str, int] = {}
        self._labels: list[LabelSet] = []
        self._last: list[int] = []
        self._slot_of: dict[str, int] = {}
        self._rows: list[int] = []
        self._at: list[int] = []
        self._values: list[float] = []

    def error(self, message: str) -> UsageError:
        return UsageError(message, file=self._path, line=self._line or None)

    def take(self, raw: bytes) -> None:
        self._line += 1
        self._bytes += len(raw)
        if self._bytes > MAX_BYTES:
            raise self.error(f"unpacks to more than {MAX_BYTES:,} bytes; that is no segment")
        if self._ended:
            raise self.error("goes on after # EOF")
        try:
            line = raw.decode()
        except UnicodeDecodeError:
            raise self.error("is not UTF-8") from None
        if not line.endswith("\n"):
            raise self.error("is cut short, or its line is too long: the line doesn't end")
        line = line[:-1]
        if line.startswith("#"):
            self._comment(line)
        else:
            self._sample(line)

    def _comment(self, line: str) -> None:
        if line == "# EOF":
            self._ended = True
            return
        match = _TYPE.fullmatch(line)
        if match:
            self._types[_unquoted(match[1].strip('"'))] = match[2]
        elif not line.startswith(("# HELP ", "# UNIT ")):
            raise self.error(f"is not OpenMetrics: {line:.80}")

    def _sample(self, line: str) -> None:
        try:
            head, value_text, time_text = line.rsplit(" ", 2)
            value = float(value_text)
        except ValueError:
            raise self.error(f"is not a sample with a time stamp: {line:.80}") from None
        row = self._row_of.get(head)
        if row is None:
            row = self._row_of[head] = self._new_row(head)
        if row < 0:
            return
        slot = self._slot_of.get(time_text)
        if slot is None:
            slot = self._slot_of[time_text] = self._slot(time_text)
        if slot <= self._last[row]:
            raise self.error(f"is out of order: {line:.80}")
        self._last[row] = slot
        self._rows.append(row)
        self._at.append(slot)
        self._values.append(value)

    def _new_row(self, head: str) -> int:
        """A number for the series; below zero, its samples aren't kept."""
        labels = self._parse_head(head)
        name = labels.get("__name__", "")
        if name == INFO:
            self._take_info(labels)
            return -1
        if not self._info:
            raise self.error(f"is no segment: it doesn't begin with {INFO}")
        if name == COUNTER_INFO:
            self._counters.add(labels.get("metric", ""))
            return -1
        if self._select is not None and name not in self._select:
            return -1
        self._labels.append(tuple(sorted(labels.items())))
        self._last.append(-1)
        if len(self._labels) * self._slots > MAX_SAMPLES:
            raise self.error(f"has more than {MAX_SAMPLES:,} samples; select metrics")
        return len(self._labels) - 1

    def _parse_head(self, head: str) -> dict[str, str]:
        name, brace, rest = head.partition("{")
        labels = {"__name__": name} if name else {}
        body = rest.removesuffix("}")
        if brace and body == rest:
            raise self.error(f"has labels without an end: {head:.80}")
        position = 0
        while position < len(body):
            match = _LABEL.match(body, position)
            if match is None:
                raise self.error(f"has labels that can't be read: {head:.80}")
            plain, quoted, value = match.groups()
            label = plain if quoted is None else _unquoted(quoted)
            key, text = ("__name__", label) if value is None else (label, _unquoted(value))
            if key in labels:
                raise self.error(f"names the label {key} twice: {head:.80}")
            labels[key] = text
            position = match.end()
        if not labels.get("__name__"):
            raise self.error(f"has a series without a name: {head:.80}")
        return labels

    def _take_info(self, labels: Mapping[str, str]) -> None:
        if self._info:
            raise self.error(f"has a second {INFO}")
        if labels.get("schema") != SCHEMA:
            raise self.error(
                f"has schema {labels.get('schema')!r}; this version reads {SCHEMA!r}: record again"
            )
        try:
            self._interval_s = float(labels["interval_s"])
            self._factor = float(labels["factor"])
            self._slots = int(labels["slots"])
            good = self._interval_s > 0 and self._factor >= 1 and labels["name"] and labels["drill"]
        except (KeyError, ValueError) as error:
            raise self.error(f"has an {INFO} that can't be read: {error}") from None
        if not good:
            raise self.error(f"has an {INFO} with a value out of range")
        if self._slots < MIN_SLOTS:
            raise self.error(f"has {self._slots} slots; {MIN_SLOTS} are the least to build with")
        self._info = labels

    def _slot(self, text: str) -> int:
        try:
            exact = float(text) / self._interval_s
        except ValueError:
            raise self.error(f"has a time stamp that is no number: {text:.40}") from None
        slot = round(exact) if 0 <= exact < self._slots else -1
        if slot < 0 or abs(exact - slot) > 1e-6:
            raise self.error(
                f"has a sample at {text:.40} s, which is none of the {self._slots} slots of "
                f"{self._interval_s:g} s"
            )
        return slot

    def segment(self) -> Segment:
        if not self._ended:
            raise self.error("is cut short: there is no # EOF")
        if not self._labels:
            raise self.error("has no series to build with")
        matrix = np.full((len(self._labels), self._slots), np.nan)
        matrix[np.array(self._rows, dtype=np.intp), np.array(self._at, dtype=np.intp)] = (
            self._values
        )
        names = {metric_name(labels) for labels in self._labels}
        return Segment(
            name=self._info["name"],
            drill=self._info["drill"],
            interval_s=self._interval_s,
            factor=self._factor,
            series=dict(zip(self._labels, matrix, strict=True)),
            kinds={name: self._kind(name) for name in names},
        )

    def _kind(self, name: str) -> Kind:
        if name in self._counters or self._types.get(name) == "counter":
            return Kind.COUNTER
        if name in self._types:
            return Kind.GAUGE
        for suffix in _SUFFIXES:
            family = name.removesuffix(suffix)
            if family != name and self._types.get(family) in ("counter", "histogram", "summary"):
                return Kind.COUNTER
        return Kind.GAUGE


def _unquoted(text: str) -> str:
    if "\\" not in text:
        return text
    return re.sub(r"\\.", lambda match: _UNESCAPED.get(match[0], match[0]), text)
