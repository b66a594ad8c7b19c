"""report.html: it says what the verdict document says, and needs nothing else."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from alertdrill.load.protocol import Finished
from alertdrill.report.document import RunFacts, write_verdict
from alertdrill.report.folder import RunFolder
from alertdrill.report.histograms import write_histograms
from alertdrill.report.page import anchor, write_page

VOID = {"meta", "link", "br"}


class Page(HTMLParser):
    """What is on the page; raises when a tag is closed that isn't open."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.source = file.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.classes: dict[str, list[str]] = {}
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert self._open == [], f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids.append(values["id"])
        self.links += [values[name] for name in ("href", "src") if name in values]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open
        assert self._open.pop() == tag, f"{tag} closed out of order at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def part(self, identifier: str, tag: str) -> str:
        """The source of the element with this id."""
        found = re.search(rf'<{tag} id="{re.escape(identifier)}".*?</{tag}>', self.source, re.S)
        assert found, f"no {tag} with the id {identifier}"
        return found[0]


def alert(**more: Any) -> dict[str, Any]:
    return {
        "name": "High",
        "expected": "fires",
        "signal_s": 0.5,
        "pending_s": 1.0,
        "firing_s": 4.0,
        "notified_s": 4.5,
        "inhibited_s": None,
        "inactive_s": 9.0,
        "resolved_s": 9.5,
        "deadline_s": 8.0,
        "resolve_deadline_s": 5.0,
        "receivers": ["oncall"],
        **more,
    }


def drill(identifier: str, **more: Any) -> dict[str, Any]:
    return {
        "id": identifier,
        "title": f"title of {identifier}",
        "fault": f"fault({identifier})",
        "verdict": "pass",
        "reason": None,
        "findings": [],
        "traffic": {"requests": 1234, "met_fault": 56, "unit": "refused connections"},
        "alerts": [alert()],
        "checks": [],
        "heal_s": 6.0,
        "healed_s": 7.0,
        "wall_s": 20.0,
        "stack": "run-gw0",
        **more,
    }


def finding(message: str, reason: str = "alert_did_not_fire") -> dict[str, str]:
    return {"reason": reason, "verdict": "fail", "message": message}


COMPONENT = {
    "component": "postgres",
    "image": "alertdrill/postgres:940c",
    "source": "built",
    "digest": None,
    "version": "17",
    "ready_s": 14.1,
}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run-1").ensure()


def page(folder: RunFolder, **facts: Any) -> Page:
    """The page of the run in ``folder``, checked for what every page must be."""
    defaults = {"command": ["pytest", "-k", "a b"], "wall_s": 83.7, "seed": 7, "factor": 60.0}
    rest = {"alerts": ["High"], "not_verified": []}
    write_verdict(folder, RunFacts(**{**defaults, **rest, **facts}))
    write_histograms(folder)
    made = Page(write_page(folder))
    assert len(made.ids) == len(set(made.ids)), "an id twice"
    needs_nothing_else(made, folder)
    return made


def needs_nothing_else(made: Page, folder: RunFolder) -> None:
    assert not {"script", "img", "iframe", "object"} & set(made.tags)
    assert not re.search(r"url\(|@import|\bon\w+=", made.source)
    for link in made.links:
        if link.startswith("#"):
            assert unquote(link[1:]) in made.ids, f"{link} leads nowhere"
        elif link != "data:,":
            assert (folder.path / link).exists(), f"{link} is no file of the run"


def add_timeline(
    folder: RunFolder, identifier: str, *events: tuple[float, str, str | None]
) -> None:
    with folder.timeline.open("a") as out:
        for at, what, name in events:
            row = {"utc": "", "monotonic": 100 + at, "drill": identifier, "event": what}
            out.write(json.dumps(row | ({"alert": name} if name else {})) + "\n")


def add_load(folder: RunFolder, identifier: str, *ends: tuple[float, bool, float]) -> None:
    home = folder.path / "load" / identifier
    home.mkdir(parents=True)
    lines = [
        Finished(100 + at, 99 + at, "U", "GET /", ok, 200, ms, None if ok else "HTTP 503").line()
        for at, ok, ms in ends
    ]
    (home / "requests.jsonl").write_bytes(b"".join(lines))


def test_the_top_says_what_the_run_was(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a"))
    made = page(folder)
    assert "<title>pass · run-1</title>" in made.source
    for words in (
        "✓ pass run run-1",
        "drills 1 pass",
        "divided by 60",
        "seed 7",
        "wall time 1 min 24 s",
        "command pytest -k 'a b'",
    ):
        assert words in made.text


def test_the_real_clock_is_called_so(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a"))
    assert "clock real" in page(folder, factor=1).text


def test_a_drill_tells_its_findings_and_times(folder: RunFolder) -> None:
    words = "High stayed pending for 21.0 s (deadline 16.5 s)"
    folder.add_drill(
        "a", drill("a", verdict="fail", reason="alert_did_not_fire", findings=[finding(words)])
    )
    part = page(folder).part("a", "article")
    assert words in part
    assert "1,234 requests finished" in part
    assert "56 refused connections met it" in part
    row = page(folder).part(anchor("a", "High"), "tr")
    cells = re.findall(r">([\d.–]+)(?: <small>≤ ([\d.]+)</small>)?<", row)
    assert cells == [
        ("0.50", ""),
        ("1.00", ""),
        ("4.00", ""),
        ("4.50", "8.00"),
        ("–", ""),
        ("9.00", ""),
        ("9.50", "12.00"),
    ]


@pytest.mark.parametrize("late", [{"notified_s": 8.1}, {"resolved_s": 12.1}])
def test_what_came_after_its_deadline_stands_out(folder: RunFolder, late: dict[str, float]) -> None:
    folder.add_drill("a", drill("a"))
    assert "late" not in page(folder).part("a--High", "tr"), "the clean twin"
    folder.add_drill("a", drill("a", alerts=[alert(**late)]))
    assert page(folder).part("a--High", "tr").count("late") == 1


def test_the_worst_drill_comes_first(folder: RunFolder) -> None:
    for name, verdict in (("a", "pass"), ("b", "unknown"), ("c", "fail")):
        folder.add_drill(name, drill(name, verdict=verdict))
    made = page(folder)
    assert [i for i in made.ids if i in ("a", "b", "c")] == ["c", "b", "a"]
    assert "1 fail, 1 unknown, 1 pass" in made.text


def test_an_empty_run_is_no_pass(folder: RunFolder) -> None:
    folder.add_plan("main", {})
    folder.add_error("postgres did not get ready\n--- its last log lines\nFATAL")
    made = page(folder)
    assert "<title>unknown · run-1</title>" in made.source
    assert "No drill ran, so nothing was proven." in made.text
    assert "FATAL" in made.text
    assert "No stack came up." in made.text


def test_an_interrupted_drill_keeps_its_picture(folder: RunFolder) -> None:
    """Its entry is all None; the timeline and the load are still there."""
    folder.add_plan("gw0", {"a": {"title": "A", "test": "t::a"}})
    add_timeline(
        folder, "a", (0.0, "injected", None), (1.0, "pending", "High"), (2.0, "firing", "High")
    )
    add_load(folder, "a", (1.0, True, 10.0), (1.5, False, 900.0))
    made = page(folder, interrupted=True)
    assert "Interrupted:" in made.text
    part = made.part("a", "article")
    assert "it was planned, and left no result" in part
    assert '<rect class="pending"' in part
    assert "1 × HTTP 503" in part


def test_a_drill_that_broke_nothing_says_so_instead_of_a_picture(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a", alerts=[], heal_s=None, healed_s=None))
    part = page(folder).part("a", "article")
    assert "<svg" not in part
    assert "No picture" in part
    assert "No request of its load finished." in part


def test_the_load_is_told_before_under_and_after_the_fault(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a"))
    add_timeline(folder, "a", (0.0, "injected", None), (7.0, "healed", None), (9.0, "ended", None))
    add_load(folder, "a", (-1.0, True, 11.0), (2.0, False, 222.0), (8.0, True, 33.0))
    part = page(folder).part("a", "article")
    rows = re.findall(r'<th scope="row">([a-z ]+)</th>((?:<td class="n">[^<]*</td>)+)', part)
    numbers = {name: re.findall(r">([^<]+)</td>", cells) for name, cells in rows}
    assert numbers["before the fault"] == ["1", "0", "11.0", "11.0", "11.0", "11.0"]
    assert numbers["under the fault"] == ["1", "1", "222.0", "222.0", "222.0", "222.0"]
    assert numbers["from healing on"] == ["1", "0", "33.0", "33.0", "33.0", "33.0"]
    assert numbers["the whole load"] == ["3", "1", "33.0", "222.0", "222.0", "222.0"]
    assert 'href="load/a.hgrm"' in part


def test_the_matrix_tells_expected_from_unexpected(folder: RunFolder) -> None:
    quiet, missed = alert(name="Low", expected="quiet"), alert(name="Lost", firing_s=None)
    folder.add_drill("a", drill("a", alerts=[alert(), quiet, missed]))
    made = page(folder, alerts=["High", "Low", "Lost", "Silent"])
    matrix = made.source[made.source.index('class="matrix"') :]
    marks = re.findall(r'href="#([\w-]+)" title="([^"]+)"', matrix)
    assert marks == [
        ("a--High", "fired, as expected"),
        ("a--Lost", "should have fired, and did not"),
        ("a--Low", "fired, and should have stayed quiet"),
    ]
    assert matrix.count("never fired") == 2, "Lost and Silent"


def test_a_drill_tells_what_was_seen_beside_its_alerts(folder: RunFolder) -> None:
    lost = {"id": "promises", "verdict": "fail", "reason": "write_lost", "seen": "1 of 9 lost"}
    unasked = {
        "id": "traces",
        "verdict": "unknown",
        "reason": "not_verified",
        "seen": "",
        "not_verified": "no store",
    }
    folder.add_drill("a", drill("a", checks=[lost, unasked]))
    made = page(folder)
    assert "promises 1 of 9 lost (write_lost)" in made.text
    assert "the traces that drills expect no store" in made.text


def test_stack_checks_and_what_is_not_verified(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a"))
    unseen = [{"what": "scrape job docker", "why": "down here"}]
    stack = {"run": "run-1-gw0", "ready_s": 15.0, "components": [COMPONENT], "unseen": unseen}
    folder.add_stack("gw0", stack)
    kibana = {"what": "Kibana", "why": "no image"}
    made = page(folder, alerts=["High", "Low"], not_verified=[kibana], failed_tests=["t::x"])
    for words in (
        ["postgres", "17", "alertdrill/postgres:940c", "built", "14.10"],
        ["fail", "t::x", "test", "test_failed"],
        ["unknown", "Low", "coverage", "not_covered"],
        ["Kibana", "no image"],
        ["scrape job docker", "down here"],
    ):
        assert re.search(r"\W+".join(map(re.escape, words)), re.sub(r"<[^>]*>", " ", made.source))


HOSTILE = '<script>alert("x")</script>&\'"><b>'


def test_what_others_wrote_is_text_and_nothing_else(folder: RunFolder) -> None:
    """Alert names, messages, faults and commands come from files that this page doesn't trust."""
    folder.add_drill(
        "a",
        drill(
            "a",
            title=HOSTILE,
            fault=HOSTILE,
            verdict="fail",
            reason=HOSTILE,
            findings=[finding(HOSTILE, HOSTILE)],
            alerts=[alert(name=HOSTILE, receivers=[HOSTILE])],
            traffic={"requests": 1, "met_fault": 1, "unit": HOSTILE},
            stack=HOSTILE,
        ),
    )
    add_timeline(
        folder, "a", (0.0, "injected", None), (1.0, "firing", HOSTILE), (2.0, "notified", HOSTILE)
    )
    add_load(folder, "a", (1.0, True, 1.0))
    folder.add_error(HOSTILE)
    hostile = dict.fromkeys(COMPONENT, HOSTILE) | {"ready_s": 1.0}
    unseen = [{"what": HOSTILE, "why": HOSTILE}]
    stack = {"run": HOSTILE, "ready_s": 1.0, "components": [hostile], "unseen": unseen}
    folder.add_stack("gw0", stack)
    made = page(folder, alerts=[HOSTILE], command=[HOSTILE], failed_tests=[HOSTILE])
    assert "b" not in made.tags
    assert made.text.count(HOSTILE) >= 15


def test_half_a_character_in_a_message_does_not_cost_the_page(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a", findings=[finding("odd \ud83d end")]))
    assert "odd ? end" in page(folder).text


def test_a_cut_timeline_is_said_and_the_rest_is_shown(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a"))
    add_timeline(folder, "a", (0.0, "injected", None), (9.0, "ended", None))
    assert "can't be read" not in page(folder).text, "the clean twin"
    with folder.timeline.open("a") as out:
        out.write('{"utc": "2026-11-')
    made = page(folder)
    assert "1 line of timeline.jsonl can't be read" in made.text
    assert "<svg" in made.part("a", "article")


def test_an_alert_can_be_linked_to_whatever_its_name_is(folder: RunFolder) -> None:
    assert anchor("refuses", "High") == "refuses--High"
    assert anchor("refuses") == "refuses"
    folder.add_drill("a", drill("a", alerts=[alert(name="High  error rate")]))
    assert "a--High-error-rate" in page(folder, alerts=["High  error rate"]).ids


def test_no_verdict_is_no_page(folder: RunFolder) -> None:
    with pytest.raises(FileNotFoundError):
        write_page(folder)
    assert not folder.report.exists()
