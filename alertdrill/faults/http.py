"""Faults of single HTTP requests between the hub and its upstream APIs, seeded.

Toxiproxy's share is one of connections; a share of requests needs a proxy that speaks HTTP.
Here that is mitmproxy with the addon of ``images/http-faults/``, whose head describes its API.
"""

from __future__ import annotations

import json
import math
import zlib
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import httpx

from alertdrill.errors import FaultError, UsageError
from alertdrill.faults import vantage
from alertdrill.faults.contract import Dosage, Evidence, Exposure, Fault, Target
from alertdrill.faults.dosage import SHARE_OF_REQUESTS
from alertdrill.faults.guard import refuse_stranger, reversed_host
from alertdrill.faults.vantage import HttpAnswer

PROXY = "http-faults"
TIMEOUT_S = 5.0
PROBES_OF_ALL = 3
PROBES_AT_MOST = 300
MISSED_BY_CHANCE = 1e-6
# A fair share strays further from what was asked for once in 15,000 times.
MOST_SIGMAS = 4.0
HANGS_AFTER_S = 1.0


class HttpFaultProxy:
    """The proxy's control API. Every method raises FaultError when it can't do what was asked."""

    def __init__(self, base_url: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._url = base_url.rstrip("/")
        self._transport = transport

    def active(self) -> dict[str, dict[str, Any]]:
        """The faults in force, by id: their configuration, ``seen`` and ``affected``."""
        return {fault["id"]: fault for fault in self._call("GET", "/faults")["faults"]}

    def affected(self, identifier: str) -> int:
        """Requests that faults of this id have met since the proxy's start."""
        return int(self._call("GET", "/faults")["affected"].get(identifier, 0))

    def port(self, service: str) -> int:
        """Where the proxy listens for ``service``, in the run's network."""
        services = self._call("GET", "/services")
        if service not in services:
            raise FaultError(f"the HTTP fault proxy has no {service!r}; it has {sorted(services)}")
        return int(services[service])

    def put(self, identifier: str, config: dict[str, Any]) -> None:
        """Put a fault in force, its sequence from the start; verified by reading it back."""
        self._call("PUT", f"/faults/{identifier}", config)
        found = self.active().get(identifier, {})
        if {key: found.get(key) for key in config} != config:
            raise FaultError(
                f"the HTTP fault proxy said yes to {config}, but it has {found or 'no such fault'}"
            )

    def remove(self, identifier: str) -> None:
        """Changes nothing when there is no such fault."""
        self._call("DELETE", f"/faults/{identifier}")
        if identifier in self.active():
            raise FaultError(f"the HTTP fault proxy said yes, but {identifier} is still in force")

    def _call(self, method: str, path: str, document: object = None) -> Any:
        try:
            # Plain HTTP on loopback: no proxy of the environment, no certificates to load.
            with httpx.Client(
                timeout=TIMEOUT_S, trust_env=False, verify=False, transport=self._transport
            ) as client:
                answer = client.request(method, self._url + path, json=document)
            if answer.is_success:
                return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise FaultError(
                f"{method} {self._url}{path} failed: {str(error) or type(error).__name__}"
            ) from error
        raise FaultError(
            f"{method} {self._url}{path} gave {answer.status_code}: {answer.text.strip()[:300]}"
        )


def http_faults(stack: Target) -> HttpFaultProxy:
    return HttpFaultProxy(stack.url(PROXY, "control"))


@dataclass(frozen=True)
class _HttpFault(Fault):
    """What all faults of HTTP requests share.

    ``service``     the upstream whose requests fail
    ``method``      only requests with this method, e.g. ``"GET"``
    ``path``        only requests whose path fits this pattern, e.g. ``"/repos/*"``
    ``probe_path``  what the proof asks for; for damaged bodies it must answer with JSON
    ``seen_from``   the container that proves it; needs python3

    Proven by: it is in force as it was asked for, and met its share of the traffic where that is
    decided on arrival; requests of ``seen_from`` to the proxy fare as the fault says, and one that
    is marked to be left alone doesn't. Their decisions are made apart from those on the traffic,
    with the same share, and they are not counted. Counted: requests that the fault has changed.
    """

    layer = "HTTP"

    kind: ClassVar[str]

    service: str
    method: str | None = field(default=None, kw_only=True)
    path: str | None = field(default=None, kw_only=True)
    probe_path: str = field(default="/", kw_only=True)
    seen_from: str = field(default="receiver", kw_only=True)

    @property
    def name(self) -> str:
        return f"http_{self.kind}({self.service})"

    @property
    def identifier(self) -> str:
        """The id at the proxy: the same for equal faults, different for others."""
        config = json.dumps(self.config(), sort_keys=True).encode()
        return f"{self.kind}-{self.service}-{zlib.crc32(config):08x}"

    def config(self) -> dict[str, Any]:
        """What the proxy is told."""
        return {
            "kind": self.kind,
            "service": self.service,
            "method": self.method,
            "path": self.path,
        }

    def inject(self, stack: Target) -> None:
        proxy = http_faults(stack)
        upstream = reversed_host(stack.container(PROXY), proxy.port(self.service))
        refuse_stranger(stack, f"the HTTP fault proxy for {self.service}", upstream)
        proxy.put(self.identifier, self.config())

    def heal(self, stack: Target) -> None:
        http_faults(stack).remove(self.identifier)

    def is_effective(self, stack: Target) -> Evidence:
        in_force = http_faults(stack).active().get(self.identifier)
        if in_force is None:
            return Evidence(False, f"the proxy has no {self.identifier}")
        otherwise = {k: in_force.get(k) for k, v in self.config().items() if in_force.get(k) != v}
        if otherwise:
            return Evidence(False, f"{self.identifier} is in force with {otherwise}")
        complaint = self._wrong_share(in_force["seen"], in_force["affected"])
        if complaint is not None:
            return Evidence(False, complaint)
        clean, probes = self._probe(stack, self._probes())
        if clean.error is not None:
            return Evidence(False, f"{self.service} can't be reached at all: {clean.error}")
        bitten = sum(self._bites(clean, probe) for probe in probes)
        return Evidence(
            bitten > 0,
            f"{bitten} of {len(probes)} requests from {self.seen_from} to {self.service} met it; "
            f"one left alone {_told(clean)}, the first of these {_told(probes[0])}",
        )

    def is_healed(self, stack: Target) -> Evidence:
        if self.identifier in http_faults(stack).active():
            return Evidence(False, f"{self.identifier} is still in force")
        clean, probes = self._probe(stack, PROBES_OF_ALL)
        bitten = sum(self._bites(clean, probe) for probe in probes)
        return Evidence(
            clean.error is None and bitten == 0,
            f"the proxy has no such fault; {bitten} of {len(probes)} requests to {self.service} "
            f"met it; one left alone {_told(clean)}",
        )

    def exposure(self, stack: Target) -> Exposure:
        return Exposure(http_faults(stack).affected(self.identifier), "requests")

    def _probes(self) -> int:
        return PROBES_OF_ALL

    def _patience_s(self) -> float:
        return TIMEOUT_S

    def _wrong_share(self, seen: int, affected: int) -> str | None:
        """What is wrong with the share of the traffic that met it, if anything."""
        return None

    @abstractmethod
    def _bites(self, clean: HttpAnswer, probe: HttpAnswer) -> bool:
        """Whether ``probe`` met the fault, ``clean`` being how it goes without."""

    def _probe(self, stack: Target, count: int) -> tuple[HttpAnswer, list[HttpAnswer]]:
        port = http_faults(stack).port(self.service)
        return vantage.http_answers(
            stack, self.seen_from, PROXY, port, self.probe_path, count, self._patience_s()
        )


@dataclass(frozen=True)
class _Sampled(_HttpFault):
    """Meets a share of the requests.

    ``rate``   from 0 to 1
    ``seed``   the same seed picks the same requests, by their order of arrival
    ``every``  instead of a rate: exactly each ``every``-th request
    """

    # Whether a request has met it as soon as it has arrived, so that a share can be counted.
    met_on_arrival: ClassVar[bool] = False

    rate: float = field(default=1.0, kw_only=True)
    seed: int = field(default=7, kw_only=True)
    every: int | None = field(default=None, kw_only=True)

    @property
    def _share(self) -> float:
        return self.rate

    def config(self) -> dict[str, Any]:
        share = {"rate": self._share} if self.every is None else {"every": self.every}
        return super().config() | share | {"seed": self.seed}

    def seeded(self, seed: int) -> Fault:
        return replace(self, seed=seed)

    @property
    def dosage(self) -> Dosage | None:
        return SHARE_OF_REQUESTS if self.every is None else None

    def _wrong_share(self, seen: int, affected: int) -> str | None:
        if not self.met_on_arrival:
            return None
        share = self._share if self.every is None else 1 / self.every
        spread = MOST_SIGMAS * math.sqrt(seen * share * (1 - share))
        # One request at each end may be counted on one side only.
        if abs(affected - share * seen) <= spread + 1:
            return None
        return (
            f"{affected} of {seen} requests to {self.service} met it, "
            f"{share * seen:.0f} ± {spread:.0f} were asked for"
        )

    def _probes(self) -> int:
        """As many as it takes to meet the fault: surely, or but for once in a million."""
        if self.every is not None:
            return max(self.every, PROBES_OF_ALL)
        if self._share in (0, 1):
            return PROBES_OF_ALL
        wanted = math.ceil(math.log(MISSED_BY_CHANCE) / math.log1p(-self._share))
        return min(max(wanted, PROBES_OF_ALL), PROBES_AT_MOST)


@dataclass(frozen=True)
class HttpStatus(_Sampled):
    """A share of the requests is answered with ``status`` (400 to 599), without the upstream."""

    kind = "status"
    met_on_arrival = True

    status: int = 503
    rate: float = field(default=0.5, kw_only=True)

    def config(self) -> dict[str, Any]:
        return super().config() | {"code": self.status}

    def _bites(self, clean: HttpAnswer, probe: HttpAnswer) -> bool:
        return clean.status != self.status == probe.status


@dataclass(frozen=True)
class HttpRateLimited(_Sampled):
    """Requests are answered with 429 and ``Retry-After: retry_after_s``, without the upstream."""

    kind = "rate_limit"
    met_on_arrival = True

    retry_after_s: int = 1

    def config(self) -> dict[str, Any]:
        return super().config() | {"retry_after_s": self.retry_after_s}

    def _bites(self, clean: HttpAnswer, probe: HttpAnswer) -> bool:
        return clean.status != 429 == probe.status


@dataclass(frozen=True)
class HttpSlow(_Sampled):
    """Requests reach the upstream ``delay_s`` seconds later (0 to 600). Healing lets those that
    are waiting go on at once.

    ``quantile``, from 0 to less than 1, instead of ``rate`` or ``every``: the requests above this
    quantile are slow, those below are left alone. With 0.95 the median is as ever and the 99th
    percentile is ``delay_s`` later.
    """

    kind = "slow"

    delay_s: float
    quantile: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.quantile is None:
            return
        if not 0 <= self.quantile < 1:
            raise UsageError(f"a quantile is from 0 to less than 1, not {self.quantile}")
        if self.rate != 1 or self.every is not None:
            raise UsageError("a slow request takes a quantile, a rate or every, not two of them")

    @property
    def dosage(self) -> Dosage:
        return Dosage("delay_s", "delay of requests", "s", 0.01, 600.0, logarithmic=True)

    @property
    def _share(self) -> float:
        # 1 - 0.95 is 0.05 and a rounding error, which would be read as another configuration.
        return self.rate if self.quantile is None else round(1 - self.quantile, 12)

    def config(self) -> dict[str, Any]:
        return super().config() | {"delay_s": self.delay_s}

    def _patience_s(self) -> float:
        return self.delay_s + TIMEOUT_S

    def _bites(self, clean: HttpAnswer, probe: HttpAnswer) -> bool:
        least_s = 0.9 * self.delay_s
        # A busy machine may have held up the undisturbed one, too.
        slowed = probe.elapsed_s >= least_s and 2 * clean.elapsed_s <= self.delay_s
        return slowed or probe.elapsed_s - clean.elapsed_s >= least_s


@dataclass(frozen=True)
class HttpHang(_Sampled):
    """Requests are held, without an answer, until the client gives up; then they are dropped.

    Healing lets those that are still held go on to the upstream. Proven by: no answer in 1 s.
    """

    kind = "hang"

    def _patience_s(self) -> float:
        return HANGS_AFTER_S

    def _bites(self, clean: HttpAnswer, probe: HttpAnswer) -> bool:
        return clean.status is not None and probe.status is None and probe.error == "TimeoutError"


@dataclass(frozen=True)
class HttpMalformed(_Sampled):
    """Answers arrive whole, but their JSON breaks off."""

    kind = "malformed"

    def _bites(self, clean: HttpAnswer, probe: HttpAnswer) -> bool:
        return clean.shape is not None and probe.complete and probe.shape is None


@dataclass(frozen=True)
class HttpWrongSchema(_Sampled):
    """Answers are valid JSON of another shape: keys renamed, lists wrapped in an object."""

    kind = "wrong_schema"

    def _bites(self, clean: HttpAnswer, probe: HttpAnswer) -> bool:
        return None not in (clean.shape, probe.shape) and clean.shape != probe.shape


@dataclass(frozen=True)
class HttpTruncated(_Sampled):
    """The connection closes after half of the promised body."""

    kind = "truncated"

    def _bites(self, clean: HttpAnswer, probe: HttpAnswer) -> bool:
        return clean.complete and not probe.complete and probe.status == clean.status


@dataclass(frozen=True)
class HttpFailFirst(_HttpFault):
    """The first ``n`` requests are answered with ``status``, all later ones are left alone."""

    kind = "fail_first"

    n: int
    status: int = 503

    def config(self) -> dict[str, Any]:
        return super().config() | {"n": self.n, "code": self.status}

    def _bites(self, clean: HttpAnswer, probe: HttpAnswer) -> bool:
        return clean.status != self.status == probe.status


def _told(answer: HttpAnswer) -> str:
    what = answer.error or f"gave {answer.status}"
    if answer.status is not None and not answer.complete:
        what = f"gave {answer.status} and broke off"
    elif answer.complete and answer.shape is None:
        what += " without JSON"
    return f"{what} in {answer.elapsed_s * 1000:.0f} ms"
