"""The log shipper and the log store: every event arrives once, in its index, whatever broke."""

from __future__ import annotations

import json
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from alertdrill.errors import SignalError
from alertdrill.faults.container import Pause, Stop
from alertdrill.faults.contract import Fault
from alertdrill.faults.partition import Partition
from alertdrill.signals.http import JsonApi
from alertdrill.signals.logs import PAGE, StoredLogs
from alertdrill.stack.run import Stack
from alertdrill.wait import eventually
from fixtures.stack import STACK
from tests.stack.small import ROOT, references

COMPONENTS = ("elasticsearch", "logstash", "elasticsearch-exporter", "receiver")
ARRIVED_WITHIN_S = 40.0
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
    """To the shipper's port, one line per event; it has read them when this returns."""
    with socket.create_connection(stack.address("logstash", "tcp"), timeout=30) as shipper:
        shipper.sendall("".join(f"{line}\n" for line in lines).encode())
        shipper.shutdown(socket.SHUT_WR)
        assert shipper.recv(1) == b"", "closed by whoever has read to the end"


def write(stack: Stack, subject: str, part: int) -> None:
    """``LINES`` lines into a file of their own that the shipper reads."""
    line = json.dumps({"message": subject, "number": "NUMBER"}).replace("NUMBER", "%s")
    file = f"/var/log/bakhmach/{subject}-{part}.log"
    program = f"for i in $(seq {LINES}); do printf '{line}\\n' $i; done > {file}"
    assert stack.exec("logstash", ["sh", "-c", program])[0] == 0


def count(store: JsonApi, index: str, query: str) -> int:
    found: int = store.get(f"/{index}/_count", {"q": query})["count"]
    return found


def await_count(store: JsonApi, index: str, query: str, wanted: int) -> None:
    """Until ``wanted`` events match, and one second longer: no more of them may come."""

    def all_there() -> bool:
        try:
            return count(store, index, query) >= wanted
        except SignalError:  # of an index that has just been made
            return False

    eventually(all_there, timeout_s=ARRIVED_WITHIN_S, what=f"{wanted} × {query}")
    time.sleep(1.0)  # nothing tells that nothing more comes
    assert count(store, index, query) == wanted


@pytest.mark.docker
def test_each_of_many_events_arrives_once_and_can_be_read(stack: Stack, store: JsonApi) -> None:
    now = datetime.now(UTC)
    event = {
        "@timestamp": now.isoformat(),
        "type": "app",
        "message": "one of many",
        "log.level": "INFO",
    }
    send(stack, *(json.dumps({**event, "number": number}) for number in range(EVENTS)))
    await_count(store, "bakhmach-app-*", 'message:"one of many"', EVENTS)

    with closing(StoredLogs(stack.url("elasticsearch"), "bakhmach-app-*")) as logs:
        read = Counter(line["number"] for line in logs.since(now))
        assert read == Counter(range(EVENTS))
        assert logs.since(now + timedelta(seconds=1)) == []


@pytest.mark.docker
def test_events_of_others_and_what_is_no_event_have_an_index_of_their_own(
    stack: Stack, store: JsonApi
) -> None:
    send(stack, '{"message": "of another", "type": "other"}', "no event at all")
    await_count(store, "bakhmach-other-*", 'message:"of another"', 1)
    await_count(store, "bakhmach-other-*", "tags:_jsonparsefailure", 1)
    assert count(store, "bakhmach-app-*", 'message:"of another"') == 0


@pytest.mark.docker
@pytest.mark.parametrize(
    "fault",
    [
        Pause("logstash"),
        Stop("logstash"),
        Pause("elasticsearch"),
        Partition("logstash", from_=("elasticsearch",), python_of="receiver"),
    ],
    ids=lambda fault: fault.name,
)
def test_lines_written_while_something_is_broken_arrive_once(
    stack: Stack, store: JsonApi, fault: Fault
) -> None:
    subject = re.sub(r"\W+", "", fault.name)
    needs_shipper = not isinstance(fault, Partition) and fault.breaks == {"logstash"}
    write(stack, subject, 1)
    await_count(store, "bakhmach-app-*", f"message:{subject}", LINES)
    try:
        fault.inject(stack)
        assert fault.is_effective(stack).holds
        if not needs_shipper:  # it writes the file
            write(stack, subject, 2)
            time.sleep(6.0)  # longer than the shipper waits for an answer: it sends again
        if fault.name != "pause(elasticsearch)":
            assert count(store, "bakhmach-app-*", f"message:{subject}") == LINES
    finally:
        fault.heal(stack)
    if needs_shipper:
        write(stack, subject, 2)
    await_count(store, "bakhmach-app-*", f"message:{subject}", 2 * LINES)


@pytest.mark.docker
def test_what_was_read_and_not_stored_outlives_a_restart_of_the_shipper(
    stack: Stack, store: JsonApi
) -> None:
    hangs, stops = Pause("elasticsearch"), Stop("logstash")
    hangs.inject(stack)
    try:
        send(stack, *(json.dumps({"type": "app", "message": "restarted"}) for _ in range(LINES)))
        time.sleep(1.0)  # until they were handed on to what outlives a restart
        stops.inject(stack)
    finally:
        stops.heal(stack)
        hangs.heal(stack)
    await_count(store, "bakhmach-app-*", "message:restarted", LINES)


@pytest.mark.docker
def test_the_exporter_counts_what_each_index_takes(stack: Stack, store: JsonApi) -> None:
    send(stack, json.dumps({"type": "app", "message": "counted"}))
    await_count(store, "bakhmach-app-*", "message:counted", 1)
    stored = store.get("/bakhmach-app-*/_count")["count"]
    url = stack.url("elasticsearch-exporter") + "/metrics"
    name = "elasticsearch_index_stats_indexing_index_total{"

    def all_counted() -> bool:
        """One scrape has nothing of the indices where the store took longer than the exporter's
        patience, as any scrape may."""
        answer = httpx.get(url, timeout=10, trust_env=False)
        lines = [line for line in answer.text.splitlines() if line.startswith(name)]
        return sum(float(x.rpartition(" ")[2]) for x in lines if "bakhmach-app-" in x) >= stored

    eventually(all_counted, timeout_s=ARRIVED_WITHIN_S, what=f"{stored} events in the exporter")


def test_the_stand_in_does_what_the_pipeline_says() -> None:
    pipeline = (ROOT / "monitoring/logstash/pipeline.conf").read_text()
    stand_in = (ROOT / "images/logstash/rsyslog.conf").read_text()
    said = {
        "port": (r"port => (\d+)", r'imtcp" port="(\d+)"'),
        "path": (r'path => "(.+)"', r'file="(.+?)"'),
        "type": (r'  type => "(\w+)"', r'set \$\.type = "(\w+)"'),
        "indices": (r'"(bakhmach-\w+)"', r'"(bakhmach-\w+)"'),
        "host": (r'hosts => \["(\w+):9200"\]', r'server="(\w+)" serverPort="9200"'),
        "action": (r'action => "(\w+)"', r'writeOperation="(\w+)"'),
    }
    for what, (ours, theirs) in said.items():
        found = re.findall(ours, pipeline)
        assert found, what
        assert re.findall(theirs, stand_in) == found, what
