"""What can be wrong with where alerts go: a code for machines, words for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from alertdrill.verdict import Verdict


class Code(StrEnum):
    """``_WARNINGS`` change no verdict, ``_UNPROVEN`` make it unknown, all others fail."""

    WRONG_RECEIVER = "wrong_receiver"
    WRONG_LABELS = "wrong_labels"
    DEFAULT_ROUTE = "default_route"
    NO_RECEIVER = "no_receiver"
    NOT_NOTIFIED = "not_notified"
    NOT_REPEATED = "not_repeated"
    NEVER_RESOLVED = "never_resolved"
    RESOLVED_UNTOLD = "resolved_untold"
    INHIBITS_ITSELF = "inhibits_itself"
    INHIBIT_ONE_ANOTHER = "inhibit_one_another"
    ALWAYS_INHIBITED = "always_inhibited"
    NOT_INHIBITED = "not_inhibited"
    DEAD_INHIBITION = "dead_inhibition"
    NOT_SILENCED = "not_silenced"
    TEMPLATE_FAILED = "template_failed"
    TEMPLATE_LABEL = "template_label"
    NOT_RENDERED = "not_rendered"
    NOT_UNDERSTOOD = "not_understood"
    SOMETIMES_EMPTY = "sometimes_empty"
    MERGED_SEVERITIES = "merged_severities"
    UNUSED_INHIBITION = "unused_inhibition"


_WARNINGS = frozenset({Code.SOMETIMES_EMPTY, Code.MERGED_SEVERITIES, Code.UNUSED_INHIBITION})
_UNPROVEN = frozenset({Code.NOT_RENDERED, Code.NOT_UNDERSTOOD})


@dataclass(frozen=True)
class Finding:
    code: Code
    message: str

    @property
    def verdict(self) -> Verdict | None:
        """None: a warning."""
        if self.code in _WARNINGS:
            return None
        return Verdict.UNKNOWN if self.code in _UNPROVEN else Verdict.FAIL

    @property
    def level(self) -> str:
        return "warning" if self.verdict is None else self.verdict.word

    def document(self) -> dict[str, str]:
        return {"code": self.code.value, "level": self.level, "message": self.message}


_FEW = 6


def few(names: Iterable[str]) -> str:
    """``names`` in a row, the first six of them where there are many."""
    found = sorted(names)
    more = f" and {len(found) - _FEW} more" if len(found) > _FEW else ""
    return ", ".join(found[:_FEW]) + more


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """Of something that was looked at: a pass, unless a finding says otherwise."""
    bad = [finding.verdict for finding in findings if finding.verdict is not None]
    return Verdict.worst(bad) if bad else Verdict.PASS
