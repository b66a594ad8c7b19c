"""A load is a value, and a wrong one is refused with a sentence."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

import loadtests
from alertdrill.errors import UsageError
from alertdrill.load.plan import Load


def test_a_load_is_a_value() -> None:
    one = Load("loadtests/hub.py", {"SyncUser": 6, "ApiUser": 20})
    same = Load("loadtests/hub.py", {"ApiUser": 20.0, "SyncUser": 6.0})
    assert one == same
    assert hash(one) == hash(same)
    assert one != Load("loadtests/hub.py", {"SyncUser": 6, "ApiUser": 21})
    assert copy.deepcopy(one) == one
    assert one.total_rps == 26.0
    assert one.users == {"ApiUser": 160, "SyncUser": 48}


def test_rates_cannot_be_changed_behind_its_back() -> None:
    rates = {"SyncUser": 6.0}
    load = Load("loadtests/hub.py", rates)
    rates["SyncUser"] = 600.0
    assert load.total_rps == 6.0


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"locustfile": "/etc/locust.py"}, "below the project's root"),
        ({"locustfile": "../locust.py"}, "below the project's root"),
        ({"locustfile": "loadtests"}, "expected a .py file"),
        ({"rates": {}}, "rates is empty"),
        ({"rates": {"SyncUser": 0}}, "rate of SyncUser is 0"),
        ({"rates": {"SyncUser": -1}}, "rate of SyncUser is -1"),
        ({"rates": {"SyncUser": math.nan}}, "rate of SyncUser is nan"),
        ({"rates": {"SyncUser": math.inf}}, "rate of SyncUser is inf"),
        ({"rates": {"--web-port": 1}}, "no name of a user class"),
        ({"timeout_s": 0}, "timeout_s is 0"),
        ({"hold_s": -1}, "hold_s is -1"),
    ],
)
def test_a_wrong_load_is_refused(changed: dict[str, Any], words: str) -> None:
    right: dict[str, Any] = {"locustfile": "loadtests/hub.py", "rates": {"SyncUser": 1.0}}
    Load(**right)
    with pytest.raises(UsageError, match=words):
        Load(**{**right, **changed})


def test_the_hubs_loads_have_the_planned_rates() -> None:
    assert loadtests.sync_and_api().rates == {"SyncUser": 4.0, "ApiUser": 15.0}
    assert loadtests.api_only(200.0).rates == {"ApiUser": 200.0}
