"""``trip.html``: a trip point on one page: what the alert's expression had at each dose."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alertdrill.report.page import GLYPHS, environment
from alertdrill.report.picture import WIDTH, Row
from alertdrill.trip.axis import DURATION, Axis

HEIGHT = 320.0
LEFT = 64.0
RIGHT = 36.0
TOP = 16.0
BASE = 272.0
HEADROOM = 1.15
MOST_TICKS = 8
MINUTE_S = 60.0


@dataclass(frozen=True)
class Dot:
    """One reading; ``low`` and ``high`` are the ends of what its value wavered between."""

    x: float
    y: float
    low: float
    high: float
    kind: str
    words: str


@dataclass(frozen=True)
class Curve:
    """All of it in units of one SVG of ``width`` × ``height``, whose plot ends at ``base``.

    ``band``       x and width of the stretch in which the trip point lies
    ``threshold``  its height; None: the values can't be compared with one, and what fired stands
                   above what was quiet
    ``own``        x of the drill's own dose
    """

    width: float
    height: float
    left: float
    base: float
    dots: tuple[Dot, ...]
    doses: tuple[tuple[float, str], ...]
    values: tuple[tuple[float, str], ...]
    threshold: float | None
    band: tuple[float, float] | None
    own: float


def curve_of(document: Row) -> Curve:
    """The curve of a ``trip.json``."""
    axis = Axis(**document["axis"])
    readings = sorted(document["readings"], key=lambda r: float(r["dose"]))
    across = _Across.of(axis, [r["dose"] for r in readings])
    limit = document["threshold"] and float(document["threshold"]["value"])
    highest = max([*(r["value"]["high"] for r in readings if r["value"]), limit or 0.0])
    up = _Up(HEADROOM * highest if limit is not None and highest > 0 else None)
    from_, quiet = document["fires_from"], document["quiet_up_to"]
    band = None
    if from_ is not None:
        start = across.x(axis.least if quiet is None else quiet)
        band = (start, round(max(across.x(from_) - start, 1.5), 1))
    return Curve(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        base=BASE,
        dots=tuple(_dot(r, axis, across, up) for r in readings),
        doses=tuple(across.ticks()),
        values=tuple(up.ticks()),
        threshold=None if up.top is None or limit is None else up.y(limit),
        band=band,
        own=across.x(axis.own),
    )


def write_trip_page(folder: Path, document: Row) -> Path:
    """Write ``trip.html`` below ``folder``, and return its path. Raises OSError."""
    axis = Axis(**document["axis"])
    page = folder / "trip.html"
    html = (
        environment()
        .get_template("trip.html.j2")
        .render(trip=document, curve=curve_of(document), dose=axis.words, glyphs=GLYPHS)
    )
    page.write_bytes(html.encode("utf-8", "replace"))
    return page


def _dot(reading: Row, axis: Axis, across: _Across, up: _Up) -> Dot:
    value: dict[str, float] | None = reading["value"]
    fired = bool(reading["fired"])
    what = "fires" if fired else "stays quiet"
    words = f"{axis.words(reading['dose'])}: {what}"
    if up.top is None or value is None:
        # Without a value it still has its place: on the ground, or for want of any, by its kind.
        y = TOP + 40 if fired and up.top is None else BASE if up.top is not None else BASE - 40
        low = high = y
    else:
        y, low, high = up.y(value["mean"]), up.y(value["low"]), up.y(value["high"])
        words += f", value {value['mean']:.3g} ({value['low']:.3g} to {value['high']:.3g})"
    return Dot(across.x(reading["dose"]), y, low, high, "fires" if fired else "quiet", words)


@dataclass(frozen=True)
class _Across:
    """Doses to SVG units."""

    axis: Axis
    start: float
    end: float

    @classmethod
    def of(cls, axis: Axis, doses: Sequence[float]) -> _Across:
        end = max([*doses, axis.own])
        return cls(axis, min([axis.least, *doses]) if axis.logarithmic else 0.0, end)

    def x(self, dose: float) -> float:
        at, start, end = dose, self.start, self.end
        if self.axis.logarithmic:
            at, start, end = math.log(max(dose, start)), math.log(start), math.log(end)
        share = (at - start) / (end - start) if end > start else 0.5
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def ticks(self) -> Iterator[tuple[float, str]]:
        if not self.axis.logarithmic:
            per = MINUTE_S if self.axis.unit == DURATION else 1.0
            step = per * _step(self.end / MOST_TICKS / per)
            for n in range(int(self.end / step * (1 + 1e-9)) + 1):
                yield self.x(n * step), self.axis.words(n * step) if n else "0"
            return
        for decade in range(math.floor(math.log10(self.start)), math.ceil(math.log10(self.end))):
            for digit in (1, 2, 5):
                dose = digit * 10.0**decade
                if self.start <= dose <= self.end:
                    yield self.x(dose), self.axis.words(dose)


@dataclass(frozen=True)
class _Up:
    """Values to SVG units; ``top`` None: there is no value to compare."""

    top: float | None

    def y(self, value: float) -> float:
        assert self.top is not None
        inside = min(max(value, 0.0), self.top)
        return round(BASE - inside / self.top * (BASE - TOP), 1)

    def ticks(self) -> Iterator[tuple[float, str]]:
        if self.top is None:
            return
        step = _step(self.top / MOST_TICKS)
        for n in range(int(self.top / step) + 1):
            yield self.y(n * step), f"{n * step:g}"


def _step(least: float) -> float:
    """The smallest of 1, 2, 5 and their tenfolds that isn't smaller than ``least``."""
    decade: float = 10.0 ** math.floor(math.log10(least))
    return next(float(f"{n * decade:.3g}") for n in (1, 2, 5, 10) if n * decade >= least * 0.999)
