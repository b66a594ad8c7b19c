"""Comments that switch a check off: ``# alertdrill: ignore AD301 because …``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from alertdrill.rules.lint.checks import BY_CODE
from alertdrill.rules.lint.finding import Finding, Spot
from alertdrill.rules.lint.source import Note, Source

_COMMENT = re.compile(r"#\s*alertdrill:\s*ignore\b(?P<rest>.*)")
_REST = re.compile(r"\s*(?P<codes>[\w, ]*?)\s*(?:\bbecause\b\s*(?P<reason>.*))?$")
# What is wrong with a suppression can't be suppressed.
_OWN = frozenset({"AD109", "AD110"})
_END = 10**9


@dataclass(frozen=True)
class Suppression:
    """``code`` is off for findings whose lines meet ``first`` to ``last``."""

    code: str
    spot: Spot
    first: int
    last: int

    def covers(self, finding: Finding) -> bool:
        first, last = finding.scope or (finding.spot.line, finding.spot.line)
        return finding.code == self.code and first <= self.last and self.first <= last


def suppressions(source: Source) -> tuple[Suppression, ...]:
    """Those of a file; what is wrong with them is noted in ``source`` (AD109)."""
    return tuple(_read(source))


def _read(source: Source) -> Iterator[Suppression]:
    lines = source.lines
    for number, line in enumerate(lines, 1):
        match = _COMMENT.search(line) if "alertdrill" in line else None
        if match is None:
            continue
        spot = Spot(number, match.start() + 1)
        rest = _REST.match(match["rest"].strip())
        codes = re.split(r"[\s,]+", rest["codes"].strip()) if rest and rest["codes"] else []
        reason = (rest["reason"] or "").strip() if rest else ""
        if not codes:
            source.note("AD109", "this names no check to switch off", spot)
        elif not reason:
            source.note("AD109", f"{', '.join(codes)} is switched off without a reason", spot)
        for code in codes:
            if code not in BY_CODE or code in _OWN:
                source.note("AD109", f"there is no check {code} to switch off", spot)
            elif reason:
                first, last = _scope(lines, number)
                yield Suppression(code, spot, first, last)


def _scope(lines: list[str], number: int) -> tuple[int, int]:
    """Which lines the comment in line ``number`` speaks of: its own; the next that is no
    comment, where it stands alone; all of them, at the top of the file."""
    if not lines[number - 1].lstrip().startswith("#"):
        return number, number
    if all(_is_blank(line) for line in lines[: number - 1]):
        return 1, _END
    following = number
    while following < len(lines) and _is_blank(lines[following]):
        following += 1
    return number, following + 1


def _is_blank(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith(("#", "---"))


def apply(
    findings: Iterable[Finding], found: tuple[Suppression, ...], given: frozenset[str]
) -> tuple[list[Finding], list[Note]]:
    """What is left of ``findings``, and a note (AD110) for each suppression without effect.

    ``given``: what the checks could look at. One that had nothing to look at may say nothing.
    """
    left: list[Finding] = []
    used: set[Suppression] = set()
    for finding in findings:
        hits = [s for s in found if s.covers(finding)]
        used.update(hits)
        if not hits:
            left.append(finding)
    idle = [
        Note("AD110", f"{s.code} is switched off here, and has nothing to say", s.spot)
        for s in found
        if s not in used and given.issuperset(BY_CODE[s.code].needs)
    ]
    return left, idle
