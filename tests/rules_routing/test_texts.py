"""Which labels receivers' templates print."""

from __future__ import annotations

import pytest

from alertdrill.rules.routing.texts import Reference, definitions, references

FILES = [
    '{{ define "title" }}{{ if .CommonLabels.team }}{{ .CommonLabels.team }}{{ end }}'
    '{{ .GroupLabels.alertname }}{{ end }}{{ define "body" }}{{ template "title" . }}'
    "{{ range .Alerts }}{{ .Annotations.summary }}{{ end }}{{ end }}",
    '{{ define "loop" }}{{ template "loop" . }}{{ end }}',
]


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("plain", []),
        ("{{ .CommonLabels.alertname }}", [".CommonLabels.alertname"]),
        ("{{ (index .Alerts 0).Labels.pod }}", [".Labels.pod"]),
        ("{{ $.CommonAnnotations.summary }}", [".CommonAnnotations.summary"]),
        ("{{ range .CommonLabels.SortedPairs }}{{ .Name }}{{ end }}", []),
        ("{{ with .CommonLabels.pod }}{{ . }}{{ end }}", []),
        (
            "{{ if .CommonLabels.a }}{{ .CommonLabels.a }}{{ .CommonLabels.b }}{{ end }}",
            [".CommonLabels.b"],
        ),
        ('{{ template "title" . }}', [".GroupLabels.alertname"]),
        ('{{ template "body" . }}', [".Annotations.summary", ".GroupLabels.alertname"]),
        ('{{ template "loop" . }}', []),
        ('{{ template "nowhere" . }}', []),
    ],
)
def test_what_a_text_prints(text: str, printed: list[str]) -> None:
    assert sorted(map(str, references(text, definitions(FILES)))) == printed


BODY = {
    "commonLabels": {"alertname": "A"},
    "groupLabels": {},
    "commonAnnotations": {},
    "alerts": [
        {"labels": {"alertname": "A", "pod": "1"}, "annotations": {}},
        {"labels": {"alertname": "A"}, "annotations": {"summary": "s"}},
    ],
}


@pytest.mark.parametrize(
    ("kind", "name", "common", "anywhere"),
    [
        ("CommonLabels", "alertname", True, True),
        ("CommonLabels", "pod", False, True),
        ("CommonLabels", "team", False, False),
        ("GroupLabels", "alertname", False, False),
        ("Labels", "pod", True, True),
        ("Annotations", "summary", True, True),
        ("CommonAnnotations", "summary", False, True),
        ("CommonAnnotations", "runbook", False, False),
    ],
)
def test_what_a_notification_has(kind: str, name: str, common: bool, anywhere: bool) -> None:
    reference = Reference(kind, name)
    assert (reference.is_in(BODY), reference.exists_in(BODY)) == (common, anywhere)
