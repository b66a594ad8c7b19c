"""What the load measured, read back from the run folder, and its latencies as ``.hgrm`` files."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from alertdrill.load.protocol import Finished, decode
from alertdrill.load.window import Record
from alertdrill.report.folder import RunFolder

# A histogram counts whole microseconds; the file shows milliseconds.
US_PER_MS = 1000
SIGNIFICANT_FIGURES = 3


@dataclass(frozen=True)
class Requests:
    """What a drill's load told; ``unreadable`` counts the lines that hold no event, such as the
    last one of a run that was killed."""

    record: Record = field(default_factory=Record)
    unreadable: int = 0


def read_requests(file: Path) -> Requests:
    """The events in ``requests.jsonl``; none when there is no such file."""
    record, unreadable = Record(), 0
    if file.exists():
        with file.open("rb") as lines:
            for line in lines:
                try:
                    record.add(decode(line))
                except ValueError:
                    unreadable += 1
    return Requests(record, unreadable)


def write_histograms(folder: RunFolder) -> list[Path]:
    """Write ``load/<drill>.hgrm`` for each drill whose load finished a request.

    It covers the whole load of the drill: baseline, fault and recovery. A drill without a
    finished request gets no file. Returns the files written.
    """
    written = []
    for source in sorted(folder.path.glob("load/*/requests.jsonl")):
        finished = read_requests(source).record.finished
        if finished:
            file = source.parent.with_name(f"{source.parent.name}.hgrm")
            file.write_bytes(percentile_distribution(finished))
            written.append(file)
    return written


def percentile_distribution(finished: Sequence[Finished]) -> bytes:
    """Response times in milliseconds, failed requests included, in the text format of the
    HdrHistogram tools: a line per percentile, and mean, deviation and maximum at the end.

    Each value is exact to a microsecond or three significant figures, whichever is coarser.
    ``finished`` must not be empty.
    """
    values = [round(one.ms * US_PER_MS) for one in finished]
    # Beyond its highest value a histogram drops what it is told to record; a range wider than
    # needed costs time, since the library walks through all of it.
    histogram = HdrHistogram(1, max(2, *values), SIGNIFICANT_FIGURES)
    for value in values:
        histogram.record_value(value)
    out = io.BytesIO()
    histogram.output_percentile_distribution(out, US_PER_MS)
    return _DEVIATION.sub(_scaled, out.getvalue())


# The library scales every value but this one.
_DEVIATION = re.compile(rb"(?<=StdDeviation   = )[ .\d]+")


def _scaled(deviation: re.Match[bytes]) -> bytes:
    return b"%12.*f" % (SIGNIFICANT_FIGURES, float(deviation[0]) / US_PER_MS)
