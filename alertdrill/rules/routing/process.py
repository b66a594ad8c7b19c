"""An Alertmanager of one's own: a child process on loopback, told and asked through its API."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from alertdrill.errors import AlertdrillError, ComponentNotReady
from alertdrill.rules.child import START_TIMEOUT_S, WatchedChild
from alertdrill.rules.programs import Program
from alertdrill.wait import eventually

VERSION_TIMEOUT_S = 20.0
CALL_TIMEOUT_S = 15.0
# Nobody refreshes the alerts here; a run takes minutes at most.
_FIRES_FOR = timedelta(hours=12)

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
        self._child: WatchedChild | None = None
        self._client: httpx.Client | None = None

    def __enter__(self) -> Alertmanager:
        self._child = WatchedChild("Alertmanager")
        try:
            self._start(self._child)
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

    def _start(self, child: WatchedChild) -> None:
        command = [
            str(self._program.path),
            f"--config.file={self._config.resolve()}",
            f"--storage.path={child.scratch}/data",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        ]
        try:
            address = child.start(command, self._program.folder)
        except ComponentNotReady as error:
            said = self.errors()
            if said and any("configuration file" in line for line in list(child.log)):
                raise ConfigRefused(said[-1]) from error
            raise
        self._client = httpx.Client(
            base_url=f"http://{address}/api/v2", timeout=CALL_TIMEOUT_S, trust_env=False
        )
        eventually(self._ready, timeout_s=START_TIMEOUT_S, what="Alertmanager to be ready")

    def _ready(self) -> bool:
        try:
            return self._api.get("/status", timeout=5.0).status_code == 200
        except httpx.TransportError:
            return False

    def _stop(self) -> None:
        if self._client is not None:
            self._client.close()
        if self._child is not None:
            self._child.close()

    @property
    def _api(self) -> httpx.Client:
        assert self._client is not None, "Alertmanager was not started"
        return self._client

    def errors(self) -> list[str]:
        """What went wrong, in its own words, oldest first."""
        found = []
        for line in [] if self._child is None else list(self._child.log):
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
