"""Backfill: a history's series as remote-write requests, stale markers included.

Remote write rather than blocks made of OpenMetrics text: that text can't say that a series ended
(its NaN is a number like any other), and an alert lives or dies by it. It also takes several
histories one after another, and series that were computed from earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from alertdrill.rules.replay.model import LabelSet, Values

# The one NaN that means "this series has ended", by its bits.
STALE = np.array([0x7FF0000000000002], np.uint64).view(np.float64)[0]

_REQUEST_BYTES = 8_000_000
# Field tags of the messages WriteRequest, TimeSeries, Label and Sample (protocol buffers).
_TIMESERIES, _LABEL, _SAMPLE, _NAME, _VALUE = b"\x0a", b"\x0a", 0x12, b"\x0a", b"\x12"
_SAMPLE_VALUE, _SAMPLE_TIME = 0x09, 0x10
# A time in milliseconds between 1971 and 2109 takes six bytes, so every sample has one size.
_TIME_BYTES = 6
_TIME_RANGE_MS = range(1 << 7 * (_TIME_BYTES - 1), 1 << 7 * _TIME_BYTES)
_SAMPLE_BYTES = 2 + 1 + 8 + 1 + _TIME_BYTES


def requests(series: Mapping[LabelSet, Values], base_ms: int, interval_ms: int) -> Iterator[bytes]:
    """Requests that write ``series``; slot ``i`` is at ``base_ms + i * interval_ms``.

    NaN is no sample; after a sample it is Prometheus' stale marker, as after a failed scrape or
    when a target no longer exposes the series.
    """
    slots = max((len(values) for values in series.values()), default=0)
    if not slots:
        return
    last_ms = base_ms + (slots - 1) * interval_ms
    if base_ms not in _TIME_RANGE_MS or last_ms not in _TIME_RANGE_MS:
        raise ValueError(f"times from {base_ms} to {last_ms} ms are out of range")
    width = max(1, _REQUEST_BYTES // (_SAMPLE_BYTES * len(series)))
    heads = {labels: _labels(labels) for labels in series}
    for start in range(0, slots, width):
        end = min(start + width, slots)
        times = _times(base_ms + np.arange(start, end, dtype=np.int64) * interval_ms)
        body = b"".join(
            _timeseries(heads[labels], times, *_marked(values, start, end))
            for labels, values in series.items()
        )
        if body:
            yield _snappy(body)


def _marked(values: Values, start: int, end: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The samples of slots ``start`` to ``end``, and their places; gaps begin with a marker."""
    part = values[start:end]
    absent = np.isnan(part)
    if not absent.any():
        return part, np.arange(len(part))
    before = np.empty(len(part), np.bool_)
    before[0] = start == 0 or bool(np.isnan(values[start - 1]))
    before[1:] = absent[:-1]
    written = ~absent | ~before
    return np.where(absent, STALE, part)[written], np.flatnonzero(written)


def _times(times_ms: NDArray[np.int64]) -> NDArray[np.uint8]:
    shifts = np.arange(0, 7 * _TIME_BYTES, 7)
    septets = (times_ms[:, None] >> shifts) & 0x7F
    septets[:, :-1] |= 0x80
    return septets.astype(np.uint8)


def _timeseries(
    head: bytes,
    times: NDArray[np.uint8],
    values: NDArray[np.float64],
    places: NDArray[np.int64],
) -> bytes:
    if not len(values):
        return b""
    rows = np.empty((len(values), _SAMPLE_BYTES), np.uint8)
    rows[:, 0] = _SAMPLE
    rows[:, 1] = _SAMPLE_BYTES - 2
    rows[:, 2] = _SAMPLE_VALUE
    rows[:, 3:11] = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8)
    rows[:, 11] = _SAMPLE_TIME
    rows[:, 12:] = times[places]
    message = head + rows.tobytes()
    return _TIMESERIES + _varint(len(message)) + message


def _labels(labels: LabelSet) -> bytes:
    return b"".join(_field(_LABEL, b"".join(_label(*pair))) for pair in labels)


def _label(name: str, value: str) -> Iterable[bytes]:
    return _field(_NAME, name.encode()), _field(_VALUE, value.encode())


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _snappy(content: bytes) -> bytes:
    """Snappy's block format with one literal: over loopback, compressing costs more than it
    saves."""
    return _varint(len(content)) + b"\xfc" + (len(content) - 1).to_bytes(4, "little") + content
