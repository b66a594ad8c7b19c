"""A lint's findings as text for people, and as JSON, SARIF 2.1.0 and JUnit for machines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from alertdrill.rules.lint.checks import BY_CODE
from alertdrill.rules.lint.finding import Finding, Severity
from alertdrill.rules.lint.run import Report

JSON_SCHEMA = "alertdrill.rules.check/1"
_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


def text(report: Report) -> str:
    """One line for each finding, below it what to do, and a sum at the end."""
    lines: list[str] = []
    for finding in report.findings:
        about = f"{finding.rule}: " if finding.rule else ""
        lines += [
            f"{finding.where} {finding.severity} {finding.code} {about}{finding.message}",
            f"    {finding.fix}",
        ]
    return "\n".join([*lines, summary(report)])


def summary(report: Report) -> str:
    errors, warnings = report.count(Severity.ERROR), report.count(Severity.WARNING)
    found = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
    return f"{found} in {_count(report.rules, 'rule')}, {_count(report.files, 'file')}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def as_json(report: Report) -> str:
    """See docs/rules-check.md for the document."""
    document = {
        "schema": JSON_SCHEMA,
        "files": report.files,
        "rules": report.rules,
        "errors": report.count(Severity.ERROR),
        "warnings": report.count(Severity.WARNING),
        "findings": [
            {
                "file": str(finding.file),
                "line": finding.spot.line,
                "column": finding.spot.column,
                "severity": str(finding.severity),
                "code": finding.code,
                "rule": finding.rule or None,
                "message": finding.message,
                "fix": finding.fix,
            }
            for finding in report.findings
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def sarif(report: Report) -> str:
    codes = sorted({finding.code for finding in report.findings})
    document = {
        "$schema": _SARIF,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {"name": "alertdrill", "rules": [_sarif_rule(c) for c in codes]}
                },
                "columnKind": "unicodeCodePoints",
                "results": [_sarif_result(f, codes.index(f.code)) for f in report.findings],
            }
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _sarif_rule(code: str) -> Mapping[str, Any]:
    check = BY_CODE[code]
    return {
        "id": code,
        "shortDescription": {"text": check.title},
        "fullDescription": {"text": check.why},
        "help": {"text": check.fix},
        "defaultConfiguration": {"level": str(check.severity)},
    }


def _sarif_result(finding: Finding, index: int) -> Mapping[str, Any]:
    about = f"{finding.rule}: " if finding.rule else ""
    region = {"startLine": finding.spot.line, "startColumn": finding.spot.column}
    place = {"artifactLocation": {"uri": _uri(finding.file)}, "region": region}
    return {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": str(finding.severity),
        "message": {"text": f"{about}{finding.message}. To do: {finding.fix}"},
        "locations": [{"physicalLocation": place}],
    }


def _uri(path: Path) -> str:
    """Relative to where the command ran, if it can be: code hosts find the line by it."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix().replace(" ", "%20")
    except ValueError:
        return path.resolve().as_uri()


# What XML 1.0 can't hold at all, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report) -> str:
    """A test case for each finding, failed by an error; and one that passed, if there is none."""
    suite = ElementTree.Element(
        "testsuite",
        name="alertdrill rules check",
        tests=str(max(len(report.findings), 1)),
        failures=str(len(report.findings)),
        errors="0",
        skipped="0",
    )
    for finding in report.findings:
        case = _case(suite, f"{finding.code} {finding.where}", str(finding.file))
        about = f"{finding.rule}: " if finding.rule else ""
        message = _xml(f"{about}{finding.message}")
        failure = ElementTree.SubElement(
            case, "failure", type=f"{finding.severity}", message=message
        )
        failure.text = _xml(f"{finding.where}: {about}{finding.message}\n{finding.fix}")
    if not report.findings:
        _case(suite, summary(report), "alertdrill")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _case(suite: ElementTree.Element, name: str, classname: str) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", name=_xml(name), classname=_xml(classname), time="0"
    )


def _xml(words: str) -> str:
    return _NOT_XML.sub("�", words)


FORMATS: Mapping[str, Callable[[Report], str]] = {
    "text": text,
    "json": as_json,
    "sarif": sarif,
    "junit": junit,
}
