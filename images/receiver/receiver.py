"""The receiver at the end of the alerting chain: records what reached it, and when.

POST /notify/<receiver>     a notification of Alertmanager's webhook, for the named receiver;
                            for ``HEARTBEATS`` it keeps the dead man's switch from its alarm
POST /webhooks              a webhook of the system under test
GET  /notifications?after=N {"notifications": [{seq, received_at, receiver, body}]} with seq > N
GET  /webhooks?after=N      {"webhooks": [{seq, received_at, body}]} with seq > N
GET  /-/ready

``received_at`` is in seconds since the epoch. The last 10,000 of each are kept.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from deadmansswitch import DeadMansSwitch

KEPT = 10_000
BODY_LIMIT = 1024 * 1024
IDLE_S = 120
HEARTBEATS = "deadmansswitch"
# Whom the dead man's switch tells, and what.
ALARM_RECEIVER = "oncall"
ALARM_LABELS = {"alertname": "DeadMansSwitch", "severity": "critical"}
ALARM_ANNOTATIONS = {
    "summary": "The monitoring is dead",
    "description": "No heartbeat came from Prometheus through Alertmanager: no alert would come.",
    "runbook_url": "monitoring/runbooks/DeadMansSwitch.md",
}
_NOTIFY = re.compile(r"/notify/([^/]{1,200})")


class Journal:
    """The last ``kept`` entries, numbered from 1 without gaps."""

    def __init__(self, kept: int = KEPT) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=kept)
        self._lock = threading.Lock()
        self._last = 0

    def record(self, **entry: object) -> dict[str, Any]:
        # The clock is read under the lock: a later number never has an earlier time.
        with self._lock:
            self._last += 1
            numbered = {"seq": self._last, "received_at": time.time(), **entry}
            self._entries.append(numbered)
            return numbered

    def after(self, seq: int) -> list[dict[str, Any]]:
        with self._lock:
            return [entry for entry in self._entries if entry["seq"] > seq]


class Receiver(ThreadingHTTPServer):
    """Both journals behind one port, and the dead man's switch. ``echo`` prints every notification
    as a JSON line; ``patience_s`` is the longest silence of heartbeats, None for ever."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        *,
        kept: int = KEPT,
        echo: bool = True,
        patience_s: float | None = None,
    ) -> None:
        super().__init__(address, Handler)
        self.notifications = Journal(kept)
        self.webhooks = Journal(kept)
        self.echo = echo
        self._print_lock = threading.Lock()
        self.switch = DeadMansSwitch(
            patience_s,
            lambda alarm: self.notified(ALARM_RECEIVER, alarm),
            ALARM_LABELS,
            ALARM_ANNOTATIONS,
        )

    def notified(self, receiver: str, body: dict[str, Any]) -> dict[str, Any]:
        """Record a notification; the entry."""
        entry = self.notifications.record(receiver=receiver, body=body)
        self.show("notification", entry)
        if receiver == HEARTBEATS:
            self.switch.hear(body)
        return entry

    def show(self, kind: str, entry: dict[str, Any]) -> None:
        if self.echo:
            with self._print_lock:
                print(json.dumps({"kind": kind, **entry}), flush=True)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Receiver
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        journals = {
            "/notifications": ("notifications", self.server.notifications),
            "/webhooks": ("webhooks", self.server.webhooks),
        }
        if url.path == "/-/ready":
            self._answer(200, {"status": "ready"})
        elif url.path in journals:
            after = parse_qs(url.query).get("after", ["0"])[-1]
            if not after.isdecimal():
                self._answer(400, {"error": f"after must be a number from 0, not {after!r}"})
                return
            key, journal = journals[url.path]
            self._answer(200, {key: journal.after(int(after))})
        else:
            self._answer(404, {"error": f"there is no GET {url.path}"})

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        notify = _NOTIFY.fullmatch(path)
        if notify is None and path != "/webhooks":
            self._answer(404, {"error": f"there is no POST {path}"})
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self._answer(411, {"error": "a Content-Length is needed"})
            return
        if int(length) > BODY_LIMIT:
            self._answer(413, {"error": f"a body is at most {BODY_LIMIT} bytes"})
            return
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            self._answer(400, {"error": f"the body is not JSON: {error}"})
            return
        if not isinstance(body, dict):
            self._answer(400, {"error": "the body is not a JSON object"})
            return
        if notify is not None:
            entry = self.server.notified(unquote(notify[1]), body)
        else:
            entry = self.server.webhooks.record(body=body)
            self.server.show("webhook", entry)
        self._answer(200, {"seq": entry["seq"]})

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        if status >= 400:
            # The request's body may be unread; the next request must not begin inside it.
            self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: what arrived is printed as JSON, once."""


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument(
        "--patience-s",
        type=float,
        help="the longest silence of heartbeats, in seconds, before the alarm [no alarm]",
    )
    given = parser.parse_args(arguments)
    # As a container's first process it would otherwise ignore the signal.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (
        Receiver(("0.0.0.0", given.port), patience_s=given.patience_s) as server,
        server.switch,
    ):
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
