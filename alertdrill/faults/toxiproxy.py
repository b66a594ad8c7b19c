"""A client of Toxiproxy's API; every change is verified by reading the proxy back.

docs/decisions/0001-toxiproxy-client.md says why it isn't toxiproxy-python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from alertdrill.errors import DeadlineExceeded, FaultError
from alertdrill.faults.contract import Target
from alertdrill.faults.ledger import refusals
from alertdrill.wait import eventually

PROXY = "toxiproxy"
TOXIC_PREFIX = "alertdrill-"
RESTARTED_WITHIN_S = 15.0
_BYTES = re.compile(r"^toxiproxy_proxy_received_bytes_total\{(.*)\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Proxy:
    """A proxy as the server describes it; ``toxics`` by name."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: Mapping[str, Mapping[str, Any]]

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])


class Unanswered(FaultError):
    """The server took the question and said nothing."""


class Toxiproxy:
    """One server. Every method raises FaultError when the server can't do what was asked."""

    def __init__(
        self,
        base_url: str,
        timeout_s: float = 5.0,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._transport = transport

    def proxies(self) -> dict[str, Proxy]:
        try:
            return {
                name: Proxy(
                    name,
                    p["listen"],
                    p["upstream"],
                    p["enabled"],
                    {t["name"]: t for t in p["toxics"]},
                )
                for name, p in self._call("GET", "/proxies").json().items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FaultError(f"Toxiproxy gave no list of proxies: {error!r}") from error

    def proxy(self, name: str) -> Proxy:
        proxies = self.proxies()
        if name not in proxies:
            raise FaultError(f"Toxiproxy has no proxy {name!r}; it has {sorted(proxies)}")
        return proxies[name]

    def enable(self, name: str, enabled: bool = True) -> None:
        """Listen again. Changes nothing when it does already."""
        if self.proxy(name).enabled != enabled:
            self._call("POST", f"/proxies/{name}", {"enabled": enabled})
            if self.proxy(name).enabled != enabled:
                raise FaultError(f"Toxiproxy said yes, but {name}.enabled is not {enabled}")

    def disable(self, name: str) -> None:
        """Stop listening; established connections are closed."""
        self.enable(name, False)

    def add_toxic(
        self,
        proxy: str,
        name: str,
        kind: str,
        *,
        stream: str = "downstream",
        toxicity: float = 1.0,
        attributes: Mapping[str, int] | None = None,
    ) -> None:
        """``toxicity`` is the share of connections, not of requests. Names start with
        ``alertdrill-``, so that what a run leaves behind is known as its own."""
        wanted = {"name": name, "type": kind, "stream": stream, "toxicity": toxicity}
        asked = dict(attributes or {})
        self._call("POST", f"/proxies/{proxy}/toxics", wanted | {"attributes": asked})
        found = self.proxy(proxy).toxics.get(name, {})
        # The server adds its defaults to the attributes, so these are compared as asked.
        if not (
            wanted.items() <= {key: found.get(key) for key in wanted}.items()
            and asked.items() <= dict(found.get("attributes", {})).items()
        ):
            raise FaultError(
                f"Toxiproxy said yes to {wanted} with {asked} on {proxy}, but it has {dict(found)}"
            )

    def remove_toxic(self, proxy: str, name: str) -> None:
        """Changes nothing when there is no such toxic."""
        if name in self.proxy(proxy).toxics:
            self._call("DELETE", f"/proxies/{proxy}/toxics/{name}")
            if name in self.proxy(proxy).toxics:
                raise FaultError(f"Toxiproxy said yes, but {proxy} still has the toxic {name}")

    def reset(self) -> None:
        """Enable every proxy and remove every toxic; the server's own reset stops at its first
        failure, this one tries all and then raises for those that failed."""
        failed = []
        for proxy in self.proxies().values():
            for toxic in proxy.toxics:
                try:
                    self.remove_toxic(proxy.name, toxic)
                except FaultError as error:
                    failed.append(str(error))
            try:
                self.enable(proxy.name)
            except FaultError as error:
                failed.append(str(error))
        if failed:
            raise FaultError("Toxiproxy is not clean: " + "; ".join(failed))

    def finished_bytes(self, proxy: str) -> int:
        """Bytes received from both sides on connections that have ended: the server counts a
        connection only then. Needs ``-proxy-metrics``."""
        text = self._call("GET", "/metrics").text
        return sum(
            int(float(value))
            for labels, value in _BYTES.findall(text)
            if f'proxy="{proxy}"' in labels
        )

    def _call(self, method: str, path: str, json: object = None) -> httpx.Response:
        try:
            # Plain HTTP on loopback: no proxy of the environment, no certificates to load.
            with httpx.Client(
                timeout=self._timeout_s, trust_env=False, verify=False, transport=self._transport
            ) as client:
                answer = client.request(method, self._url + path, json=json)
        except httpx.ReadTimeout as error:
            raise Unanswered(
                f"{method} {self._url}{path} was not answered within {self._timeout_s:g} s"
            ) from error
        except httpx.HTTPError as error:
            raise FaultError(
                f"{method} {self._url}{path} failed: {str(error) or type(error).__name__}"
            ) from error
        if not answer.is_success:
            raise FaultError(
                f"{method} {self._url}{path} gave {answer.status_code}: {answer.text.strip()[:200]}"
            )
        return answer


def toxiproxy(stack: Target) -> Toxiproxy:
    """The server of ``stack``."""
    return Toxiproxy(stack.url(PROXY, "api"))


def without_toxic(stack: Target, proxy: str, name: str) -> None:
    """Remove a toxic, whatever it takes.

    Where a client went away amid an answer, the server may wait for it for ever, and answers
    nothing more (toxiproxy 558). Started anew it has its proxies and no toxic; what was connected
    is then cut. Raises FaultError.
    """
    try:
        toxiproxy(stack).remove_toxic(proxy, name)
    except Unanswered as hangs:
        with refusals(f"{PROXY}, started anew since it hangs"):
            stack.container(PROXY).restart(timeout=0)
        try:
            eventually(
                lambda: _is_without(stack, proxy, name),
                timeout_s=RESTARTED_WITHIN_S,
                what=f"{PROXY} to answer again",
            )
        except DeadlineExceeded as error:
            raise FaultError(f"{hangs}; started anew: {error}") from error


def _is_without(stack: Target, proxy: str, name: str) -> bool:
    try:
        return name not in toxiproxy(stack).proxy(proxy).toxics
    except FaultError:
        return False
