"""Where every receiver's notifications arrive: an HTTP server on loopback, in this process."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote

READ_TIMEOUT_S = 10.0

# To Alertmanager, an alert is its labels.
Identity = frozenset[tuple[str, str]]


def identity(labels: Mapping[str, str]) -> Identity:
    return frozenset(labels.items())


@dataclass(frozen=True)
class Message:
    """One webhook call: a group of alerts, in one notification.

    ``at``        monotonic seconds when it was here
    ``statuses``  ``firing`` or ``resolved``, for each alert in it
    """

    at: float
    receiver: str
    group_key: str
    group_labels: Mapping[str, str]
    statuses: Mapping[Identity, str]
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Rendering:
    """One text of a receiver, rendered by Alertmanager; ``number`` is the text's own."""

    number: int
    text: str


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = READ_TIMEOUT_S
    server: _Server

    def do_POST(self) -> None:
        at = time.monotonic()
        content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            self.server.recorder.take(at, self.path, json.loads(content))
        except (ValueError, KeyError, TypeError) as error:
            self._answer(400, str(error))
            return
        self._answer(200, "ok")  # Slack's answer, by which Alertmanager tells success

    def _answer(self, code: int, words: str) -> None:
        body = words.encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what came is recorded."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Every group may be sent at once; a connection that finds no room comes again a second later.
    request_queue_size = 1_024
    recorder: Recorder

    def handle_error(self, request: Any, client_address: Any) -> None:
        """An Alertmanager that is stopped breaks its connections; that is no error to print."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Recorder:
    """Listens inside ``with``. Thread-safe.

    ``/notify/<receiver>`` takes webhooks, ``/render/<number>`` Slack messages whose text is a
    receiver's text.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: list[Message] = []
        self._renderings: list[Rendering] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.recorder = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="recorder", daemon=True
        )

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def notify_url(self, receiver: str) -> str:
        return f"{self._url}/notify/{quote(receiver, safe='')}"

    def render_url(self, number: int) -> str:
        return f"{self._url}/render/{number}"

    def take(self, at: float, path: str, body: Any) -> None:
        """Record what was posted. Raises KeyError, ValueError or TypeError for anything unknown."""
        kind, _, name = path.removeprefix("/").partition("/")
        if kind == "render":
            rendering = Rendering(int(name), body["attachments"][0].get("text", ""))
            with self._lock:
                self._renderings.append(rendering)
            return
        if kind != "notify":
            raise KeyError(f"nothing is expected at {path}")
        message = Message(
            at=at,
            receiver=unquote(name),
            group_key=body["groupKey"],
            group_labels=body["groupLabels"],
            statuses={identity(alert["labels"]): alert["status"] for alert in body["alerts"]},
            body=body,
        )
        with self._lock:
            self._messages.append(message)

    def messages(self, after: int = 0) -> tuple[Message, ...]:
        """Everything so far in the order of arrival, without the first ``after``."""
        with self._lock:
            return tuple(self._messages[after:])

    def told(self) -> set[Identity]:
        """Every alert of which any receiver was told."""
        return {who for message in self.messages() for who in message.statuses}

    def renderings(self) -> tuple[Rendering, ...]:
        with self._lock:
            return tuple(self._renderings)
