"""The log shipper and the log store: every event arrives once, in its index, whatever broke."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import httpx
import pytest

from alertdrill.faults.container import Pause
from alertdrill.faults.contract import Fault
from alertdrill.faults.partition import Partition
from alertdrill.signals.http import JsonApi
from alertdrill.signals.logs import PAGE, StoredLogs
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually
from fixtures.stack import STACK
from tests.stack.small import ROOT, references

pytestmark = pytest.mark.docker

COMPONENTS = ("elasticsearch", "logstash", "elasticsearch-exporter")
ARRIVED_WITHIN_S = 20.0
EVENTS = 2 * PAGE + 1
LINES = 200


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(STACK, COMPONENTS, images=references(COMPONENTS), project_root=ROOT) as stack:
        yield stack


@pytest.fixture(scope="module")
def store(stack: Stack) -> Iterator[JsonApi]:
    with closing(JsonApi(stack.url("elasticsearch"))) as store:
        yield store


def send(stack: Stack, *lines: str) -> None:
    """To the shipper's port, one line per event."""
    with socket.create_connection(stack.address("logstash", "tcp"), timeout=10) as shipper:
        shipper.sendall("".join(f"{line}\n" for line in lines).encode())


def write(stack: Stack, subject: str) -> None:
    """``LINES`` lines into a file that the shipper reads."""
    line = json.dumps({"message": subject, "number": "NUMBER"}).replace("NUMBER", "%s")
    program = f"for i in $(seq {LINES}); do printf '{line}\\n' $i; done >> /var/log/bakhmach/it.log"
    assert stack.exec("logstash", ["sh", "-c", program])[0] == 0


def count(store: JsonApi, index: str, query: str) -> int:
    found: int = store.get(f"/{index}/_count", {"q": query})["count"]
    return found


def await_count(store: JsonApi, index: str, query: str, wanted: int) -> None:
    """Until ``wanted`` events match, and one second longer: no more of them may come."""

    def all_there() -> bool:
        return count(store, index, query) >= wanted

    eventually(all_there, timeout_s=ARRIVED_WITHIN_S, what=f"{wanted} × {query}")
    time.sleep(1.0)  # nothing tells that nothing more comes
    assert count(store, index, query) == wanted


def test_each_of_many_events_arrives_once_and_can_be_read(stack: Stack, store: JsonApi) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    event = {"@timestamp": now, "type": "app", "message": "one of many", "log.level": "INFO"}
    send(stack, *(json.dumps({**event, "number": number}) for number in range(EVENTS)))
    await_count(store, "bakhmach-app-*", 'message:"one of many"', EVENTS)

    with closing(StoredLogs(stack.url("elasticsearch"), "bakhmach-app-*")) as logs:
        read = Counter(line["number"] for line in logs.since(now))
        assert read == Counter(range(EVENTS))
        later = datetime.fromtimestamp(time.time() + 1, UTC).isoformat(timespec="milliseconds")
        assert logs.since(later) == []


def test_events_of_others_and_what_is_no_event_have_an_index_of_their_own(
    stack: Stack, store: JsonApi
) -> None:
    send(stack, '{"message": "of another", "type": "other"}', "no event at all")
    await_count(store, "bakhmach-other-*", 'message:"of another"', 1)
    await_count(store, "bakhmach-other-*", "tags:_jsonparsefailure", 1)
    assert count(store, "bakhmach-app-*", 'message:"of another"') == 0


@pytest.mark.parametrize(
    "fault",
    [Pause("logstash"), Pause("elasticsearch"), Partition("logstash", from_=("elasticsearch",))],
    ids=lambda fault: fault.name,
)
def test_lines_written_while_something_is_broken_arrive_once(
    stack: Stack, store: JsonApi, fault: Fault, request: pytest.FixtureRequest
) -> None:
    subject = f"subject{abs(hash(request.node.name))}"
    write(stack, subject)
    await_count(store, "bakhmach-app-*", f"message:{subject}", LINES)
    fault.inject(stack)
    try:
        assert fault.is_effective(stack).ok
        if fault.name != "pause(logstash)":  # nothing can be written from inside of it then
            write(stack, subject)
        time.sleep(6.0)  # longer than the shipper waits for an answer: it sends again
        if fault.name != "pause(elasticsearch)":
            assert count(store, "bakhmach-app-*", f"message:{subject}") == LINES
    finally:
        fault.heal(stack)
    if fault.name == "pause(logstash)":
        write(stack, subject)
    await_count(store, "bakhmach-app-*", f"message:{subject}", 2 * LINES)


def test_the_exporter_counts_what_is_stored(stack: Stack, store: JsonApi) -> None:
    stored = store.get("/bakhmach-*/_count")["count"]
    url = stack.url("elasticsearch-exporter") + "/metrics"
    answer = httpx.get(url, timeout=10, trust_env=False)
    name = "elasticsearch_indices_indexing_index_total{"
    [line] = [line for line in answer.text.splitlines() if line.startswith(name)]
    assert float(line.rpartition(" ")[2]) >= stored > 0
