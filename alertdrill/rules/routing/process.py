"""An Alertmanager of one's own: a child process on loopback, told and asked through its API."""

from __future__ import annotations

import re
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from alertdrill.errors import AlertdrillError, ComponentNotReady
from alertdrill.rules.routing.binary import Program
from alertdrill.wait import eventually

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
VERSION_TIMEOUT_S = 20.0
CALL_TIMEOUT_S = 15.0
# Nobody refreshes the alerts here; a run takes minutes at most.
_FIRES_FOR = timedelta(hours=12)
_LOG_LINES = 2_000

# The program must not outlive this process, however it ends. A watcher reads a pipe that only
# this process holds, and ends the program when it breaks; the shell then removes the data. It
# must not say that the program was killed: nobody may be left to read that, and writing ends it.
_WATCHED = """
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ read -r line; kill -KILL $child; } <&3 2>/dev/null &
watcher=$!
exec 3<&- 2>/dev/null
wait $child
code=$?
kill $watcher
rm -rf "$ALERTDRILL_SCRATCH"
exit $code
"""
_LISTENING = re.compile(r'msg="Listening on" address="?(127\.0\.0\.1:\d+)')
_ERROR = re.compile(r' err="(?P<words>(?:\\.|[^"\\])*)"| err=(?P<word>\S+)')


class ConfigRefused(AlertdrillError):
    """Alertmanager does not start with a configuration; the words are its own."""


@dataclass(frozen=True)
class Status:
    """What Alertmanager says of one alert: where it goes, and what keeps it quiet.

    ``inhibited_by`` has fingerprints of alerts, ``silenced_by`` the ids of silences.
    """

    fingerprint: str
    labels: Mapping[str, str]
    receivers: tuple[str, ...]
    inhibited_by: tuple[str, ...]
    silenced_by: tuple[str, ...]


class Alertmanager:
    """Start with ``with``; process and data are gone at the end.

    Raises ConfigRefused when it refuses ``config``, ComponentNotReady when it doesn't start for
    another reason.
    """

    def __init__(self, program: Program, config: Path) -> None:
        self._program = program
        self._config = config
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._address: str | None = None
        self._said = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._client: httpx.Client | None = None

    def __enter__(self) -> Alertmanager:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _start(self) -> None:
        scratch = tempfile.mkdtemp(prefix="alertdrill-alertmanager-")
        command = [
            str(self._program.path),
            f"--config.file={self._config.resolve()}",
            f"--storage.path={scratch}/data",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        ]
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHED, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                cwd=self._program.folder,
                env={"ALERTDRILL_SCRATCH": scratch, "PATH": "/usr/bin:/bin"},
                start_new_session=True,  # a Ctrl-C is for this process, which ends it in order
            )
        except OSError as error:
            raise ComponentNotReady(f"Alertmanager can't be started: {error}") from error
        threading.Thread(
            target=self._drain, args=(self._process,), name="alertmanager-log", daemon=True
        ).start()
        if not self._said.wait(START_TIMEOUT_S) or self._address is None:
            raise self._not_started()
        self._client = httpx.Client(
            base_url=f"http://{self._address}/api/v2", timeout=CALL_TIMEOUT_S, trust_env=False
        )
        eventually(self._ready, timeout_s=START_TIMEOUT_S, what="Alertmanager to be ready")

    def _drain(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self._log.append(line.rstrip())
            match = _LISTENING.search(line)
            if match:
                self._address = match[1]
                self._said.set()
        self._said.set()

    def _not_started(self) -> AlertdrillError:
        errors = self.errors()
        last = self._log[-1] if self._log else "it said nothing"
        if errors and any("configuration file" in line for line in self._log):
            return ConfigRefused(errors[-1])
        return ComponentNotReady(f"Alertmanager ({self._program.path}) did not start: {last}")

    def _ready(self) -> bool:
        try:
            return self._api.get("/status", timeout=5.0).status_code == 200
        except httpx.TransportError:
            return False

    def _stop(self) -> None:
        if self._client is not None:
            self._client.close()
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(timeout=STOP_TIMEOUT_S)

    @property
    def _api(self) -> httpx.Client:
        assert self._client is not None, "Alertmanager was not started"
        return self._client

    def errors(self) -> list[str]:
        """What went wrong, in its own words, oldest first."""
        found = []
        for line in list(self._log):
            match = _ERROR.search(line)
            if match:
                found.append(_unquoted(match["words"]) if match["words"] else match["word"])
        return found

    def fire(self, alerts: Iterable[tuple[Mapping[str, str], Mapping[str, str]]]) -> None:
        """Post alerts (labels, annotations) as Prometheus does while they fire."""
        self._post_alerts(alerts, _FIRES_FOR)

    def resolve(self, alerts: Iterable[tuple[Mapping[str, str], Mapping[str, str]]]) -> None:
        """Post alerts as Prometheus does when they have ended."""
        self._post_alerts(alerts, timedelta())

    def _post_alerts(
        self, alerts: Iterable[tuple[Mapping[str, str], Mapping[str, str]]], ends_in: timedelta
    ) -> None:
        now = datetime.now(UTC)
        times = {"endsAt": (now + ends_in).isoformat()}
        if ends_in:
            times["startsAt"] = now.isoformat()
        self._call(
            "POST",
            "/alerts",
            [
                {"labels": dict(labels), "annotations": dict(annotations), **times}
                for labels, annotations in alerts
            ],
        )

    def statuses(self) -> list[Status]:
        """Every alert that fires now."""
        return [
            Status(
                fingerprint=row["fingerprint"],
                labels=row["labels"],
                receivers=tuple(receiver["name"] for receiver in row["receivers"]),
                inhibited_by=tuple(row["status"]["inhibitedBy"]),
                silenced_by=tuple(row["status"]["silencedBy"]),
            )
            for row in self._call("GET", "/alerts").json()
        ]

    def silence(self, alertname: str) -> str:
        """Silence every alert of that name; returns the silence's id."""
        now = datetime.now(UTC)
        body = {
            "matchers": [
                {"name": "alertname", "value": alertname, "isRegex": False, "isEqual": True}
            ],
            "startsAt": now.isoformat(),
            "endsAt": (now + _FIRES_FOR).isoformat(),
            "createdBy": "alertdrill",
            "comment": "does a silence keep it quiet?",
        }
        return str(self._call("POST", "/silences", body).json()["silenceID"])

    def expire(self, silence: str) -> None:
        self._call("DELETE", f"/silence/{silence}")

    def _call(self, method: str, path: str, body: object = None) -> httpx.Response:
        arguments: dict[str, Any] = {} if body is None else {"json": body}
        try:
            answer = self._api.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise AlertdrillError(f"Alertmanager did not answer {path}: {error}") from error
        if not answer.is_success:
            words = answer.text.strip()[:300]
            raise AlertdrillError(f"Alertmanager answered {answer.status_code} to {path}: {words}")
        return answer


def _unquoted(words: str) -> str:
    """logfmt's quotes taken off."""
    escapes = {"n": "\n", "t": "\t"}
    return re.sub(r"\\(.)", lambda match: escapes.get(match[1], match[1]), words)


def version(program: Program) -> str:
    """What it says of itself, e.g. ``0.28.1``. Raises ComponentNotReady."""
    try:
        done = subprocess.run(
            [str(program.path), "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            check=True,
            cwd=program.folder,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ComponentNotReady(f"Alertmanager does not say its version: {error}") from error
    words = (done.stdout or done.stderr).split()
    return words[2] if len(words) > 2 else "unknown"
