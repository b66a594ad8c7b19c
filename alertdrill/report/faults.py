"""The faults as tables: which there are, and what the project expects of each that it drills."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from alertdrill.config import Sli
from alertdrill.drill import Drill
from alertdrill.faults.catalogue import Entry

HEAD = """# Faults

Made by `make docs` out of the code; a test fails when the two differ.

`alertdrill faults` prints the catalogue, `alertdrill fault inject` breaks a stack that \
`alertdrill up` started. What a drill's alerts are not told of here must stay quiet."""


@dataclass(frozen=True)
class Row:
    """One drill, its fault's entry in the catalogue, the runbooks of all alerts, and the SLIs."""

    drill: Drill
    entry: Entry
    runbook_urls: Mapping[str, str]
    slis: Sequence[Sli]

    @property
    def runbooks(self) -> Iterable[str]:
        for alert in sorted(self.drill.fires & self.runbook_urls.keys()):
            yield f"[{alert}]({_from_docs(self.runbook_urls[alert])})"


# The columns of the table of drills, in their order.
COLUMNS: dict[str, Callable[[Row], str]] = {
    "drill": lambda row: row.drill.title,
    "runs": lambda row: "by night" if row.drill.nightly else "in each gate",
    "fault": lambda row: f"`{row.drill.fault.name}`",
    "what it breaks": lambda row: _code(row.entry.breaks),
    "must fire": lambda row: _must_fire(row.drill),
    "inhibited": lambda row: _names(row.drill.inhibited),
    "may fire": lambda row: _names(row.drill.may_fire),
    "about the silence of": lambda row: _names(row.drill.stays_quiet),
    "health": lambda row: _health(row.drill),
    "clients' failures": lambda row: (
        "; ".join(f"{u} {f}" for u, f in row.drill.clients.items()) or "–"
    ),
    "SLO cost": lambda row: _cost(row.drill, row.slis),
    "log line": lambda row: str(row.drill.logs or "–"),
    "traces blame": lambda row: str(row.drill.blames or "–"),
    "runbook": lambda row: ", ".join(row.runbooks) or "–",
}


def _must_fire(drill: Drill) -> str:
    """Those that come and go are marked."""
    again = {alert: f"{alert} (twice)" for alert in drill.fires_again}
    return _names(again.get(alert, alert) for alert in drill.fires)


def _health(drill: Drill) -> str:
    match drill.health:
        case None:
            return "all well" if drill.spares_users else "–"
        case "unreachable":
            return "unreachable"
        case checks:
            words = {True: "well", False: "not well", None: "either"}
            return ", ".join(f"{name} {words[well]}" for name, well in checks.items()) or "all well"


def _cost(drill: Drill, slis: Iterable[Sli]) -> str:
    """Burn rates, as the SRE workbook defines them, that follow from how many requests fail."""
    if drill.spares_users or drill.is_control:
        return "within budget"
    burns = [
        f"{sli.name} {failing.at_least / (1 - sli.objective):.3g}"
        f" to {failing.at_most / (1 - sli.objective):.3g} × budget"
        for sli in slis
        if (failing := drill.clients.get(sli.user)) is not None
    ]
    return "; ".join(burns) or "–"


def markdown(
    entries: Sequence[Entry],
    drills: Sequence[Drill],
    runbooks: Mapping[str, str],
    slis: Sequence[Sli],
) -> str:
    """The whole document. ``runbooks``: where they are, by alert."""
    catalogue = [(e.layer, f"`{e.call}`", _code(e.breaks), _code(e.proven_by)) for e in entries]
    by_name = {entry.name: entry for entry in entries}
    rows = [Row(drill, by_name[type(drill.fault).__name__], runbooks, slis) for drill in drills]
    expected = [tuple(cell(row) for cell in COLUMNS.values()) for row in rows]
    return "\n\n".join(
        (
            HEAD,
            "## The catalogue",
            _markdown_table(("layer", "fault", "what it breaks", "proven by"), catalogue),
            "## The drills",
            _markdown_table(tuple(COLUMNS), expected),
        )
    )


def terminal_table(entries: Iterable[Entry]) -> Table:
    table = Table("layer", "fault", "what it breaks", "proven by", box=None, padding=(0, 2, 1, 0))
    for entry in entries:
        table.add_row(entry.layer, entry.call, _plain(entry.breaks), _plain(entry.proven_by))
    return table


def document(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """For machines; words without markup."""
    texts = ("breaks", "proven_by")
    return [
        {key: _plain(value) if key in texts else value for key, value in e.document().items()}
        for e in entries
    ]


def _markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (head, ["---"] * len(head), *rows)
    cells = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _names(alerts: Iterable[str]) -> str:
    return ", ".join(sorted(alerts)) or "–"


def _code(words: str) -> str:
    return words.replace("``", "`")


def _plain(words: str) -> str:
    return words.replace("``", "")


def _from_docs(url: str) -> str:
    return url if re.match(r"\w+:", url) else f"../{url}"
