"""One webhook call is one moment, however many alerts it tells of."""

from __future__ import annotations

from alertdrill.signals.notifications import _unpack


def test_the_alerts_of_one_call_have_one_time() -> None:
    alert = {"status": "firing", "labels": {"alertname": "A"}, "annotations": {}}
    body = {"groupKey": "g", "alerts": [alert, alert | {"status": "resolved"}] * 50}
    row = {"received_at": 1_800_000_000.0, "receiver": "oncall", "body": body}
    assert len({n.at for n in _unpack(row)}) == 1
