"""Trip points for people, on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alertdrill.judge import role_of
from alertdrill.trip.axis import DURATION
from alertdrill.trip.result import Replayed, TripPoint, duration
from alertdrill.trip.search import Reading
from alertdrill.verdict import Verdict

STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.UNKNOWN: "yellow"}


def show_live(point: TripPoint, rows: Iterable[Replayed], console: Console) -> None:
    """Every dose that was tried, from the smallest on, and what follows; what replay says."""
    axis = point.search.axis
    columns = [axis.what, "alert", "fires after"]
    if point.threshold is not None:
        columns.append(f"value ({point.threshold})")
    table = _table(columns)
    for reading in sorted(point.search.readings, key=lambda r: (r.dose, r.fired)):
        own = " (the drill's)" if reading.dose == axis.own and axis.unit != DURATION else ""
        row = [
            axis.words(reading.dose) + own,
            "fires" if reading.fired else "quiet",
            duration(reading.after_s),
        ]
        table.add_row(*row, *([_value(reading)] if point.threshold is not None else []))
    if table.row_count:
        console.print(table)
    console.print(escape(point.sentence()), highlight=False, soft_wrap=True)
    if point.finding is not None:
        words = f"{point.finding.reason}: {point.finding.message}"
        console.print(escape(words), highlight=False, soft_wrap=True)
    for replayed in rows:
        console.print(escape(replayed.sentence()), highlight=False, soft_wrap=True)


def show_replayed(rows: Iterable[Replayed], console: Console) -> None:
    """A row for each pair."""
    table = _table(["alert", "drill", "fault", "it", "trips from (replay)", "share of it"])
    for row in rows:
        drill = row.pair.drill
        share = "–" if row.share is None else f"{row.share:.0%}"
        table.add_row(
            row.pair.alert,
            escape(drill.title),
            escape(drill.fault.name),
            role_of(drill, row.pair.alert).value,
            escape(_trips(row)),
            share,
        )
    console.print(table)


def _trips(row: Replayed) -> str:
    if row.unknown is not None:
        return f"unknown: {row.unknown}"
    if row.trips_from_s is None:
        return f"not in {duration(row.lasting_s)}"
    return duration(row.trips_from_s)


def _value(reading: Reading) -> str:
    value = reading.value
    if value is None:
        return "–"
    return f"{value.mean:.3g} ({value.low:.3g} to {value.high:.3g})"


def _table(columns: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table
