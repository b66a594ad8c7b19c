"""A figure, its target and whether it holds: printed for people or for machines."""

from __future__ import annotations

import argparse
import json
import operator
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from alertdrill.errors import AlertdrillError

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "≤": operator.le,
    "≥": operator.ge,
}
# The same codes as the command's own.
EXIT_USAGE = 2
EXIT_NOT_MEASURED = 3
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Target:
    """A bound on a value: ``relation`` is one of ``<``, ``≤`` and ``≥``."""

    relation: str
    bound: float

    def holds(self, value: float) -> bool:
        return _HOLDS[self.relation](value, self.bound)

    def __str__(self) -> str:
        return f"{self.relation} {self.bound:g}"


@dataclass(frozen=True)
class Figure:
    """One measured value. ``value`` None: it could not be measured; ``note`` says why."""

    what: str
    value: float | None
    unit: str
    target: Target | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """None without a target or without a value."""
        if self.target is None or self.value is None:
            return None
        return self.target.holds(self.value)

    def document(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "target": None if self.target is None else str(self.target),
            "holds": self.holds,
            "note": self.note,
        }


@dataclass(frozen=True)
class Detail:
    """A table of what a figure was made of. Numbers are shown with one digit, None as a dash."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str | float | None, ...]]

    def document(self) -> dict[str, Any]:
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows}


@dataclass(frozen=True)
class Report:
    """What one benchmark found, and on which machine."""

    title: str
    machine: str
    figures: tuple[Figure, ...]
    details: tuple[Detail, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 when a target is missed, else 3 when one could not be measured, else 0."""
        aimed = [figure for figure in self.figures if figure.target is not None]
        if any(figure.holds is False for figure in aimed):
            return 1
        return EXIT_NOT_MEASURED if any(figure.holds is None for figure in aimed) else 0

    def document(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "machine": self.machine,
            "figures": [figure.document() for figure in self.figures],
            "details": [detail.document() for detail in self.details],
        }

    def print(self, console: Console) -> None:
        console.print(f"{self.title}\n{self.machine}", highlight=False, soft_wrap=True)
        for detail in self.details:
            console.print(f"\n{detail.title}", highlight=False)
            console.print(_table(detail.columns, [_cells(row) for row in detail.rows]))
        console.print()
        columns = ("figure", "measured", "unit", "target", "holds", "note")
        console.print(_table(columns, [_figure_cells(figure) for figure in self.figures]))


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", action="store_true", help="print JSON for machines")
    return made


def present(measure: Callable[[], Report], as_json: bool) -> int:
    """Measure, print and return the exit code; an error on purpose is a sentence and a 2."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either way, clean up first
    try:
        report = measure()
    except AlertdrillError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    if as_json:
        print(json.dumps(report.document(), indent=2, ensure_ascii=False))
    else:
        console = Console()
        report.print(console if console.is_terminal else Console(width=120))
    return report.exit_code


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(_is_number(row[number]) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=number == 0)
    for row in rows:
        table.add_row(*row)
    return table


def _is_number(cell: str) -> bool:
    return cell in ("", "–") or cell.replace(",", "").replace(".", "").isdigit()


def _cells(row: Sequence[str | float | None]) -> list[str]:
    return [_shown(cell) for cell in row]


def _shown(cell: str | float | None, digits: int = 1) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.{digits}f}"


def _figure_cells(figure: Figure) -> list[str]:
    words = {True: "yes", False: "NO", None: "–"}
    value = "not measured" if figure.value is None else _shown(figure.value, digits=2)
    target = "–" if figure.target is None else str(figure.target)
    return [figure.what, value, figure.unit, target, words[figure.holds], figure.note]
