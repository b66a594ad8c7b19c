"""HTTP faults per request, as a mitmproxy addon: which requests fail is decided by a seed.

mitmproxy listens once per upstream (``--mode reverse:URL@0.0.0.0:PORT``); the port that a request
came in on says which service it is for. ``UPSTREAMS=github=8081,ai-studio=8082`` names the ports.
Faults are put and removed through an API on ``CONTROL_PORT`` (default 8470), a listener of its
own that no faulted request can reach:

    GET    /faults        {"faults": [config, seen, affected], "affected": {id: total since start}}
    PUT    /faults/{id}   a JSON object; an unknown field, kind or service is a 422 with a sentence
    DELETE /faults/{id}   and DELETE /faults: idempotent; requests that are being held go on
    GET    /requests      {service: requests since start}, with ?service= of one
    GET    /services      {service: the port that its requests come in on}
    GET    /-/ready

Of the requests that match a fault, the n-th (from 1, in order of arrival) fails if and only if
``Random(f"{seed}:{n}").random() < rate``, or when ``n`` is a multiple of ``every``: the same seed
gives the same requests. A request with the header ``X-Alertdrill-Probe`` is a proof, not traffic:
it is counted nowhere, has a sequence of its own, and is passed on untouched if the value is
``clean``.

Everything but the hooks at the end works without mitmproxy, so that it can be tested alone.
"""

# No postponed annotations: mitmproxy runs this file without entering it in sys.modules, where
# dataclasses would look them up.
import asyncio
import fnmatch
import json
import os
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from mitmproxy import http  # type: ignore[import-not-found]  # only in its image

PROBE_HEADER = "X-Alertdrill-Probe"
DEFAULT_CONTROL_PORT = 8470
BODY_LIMIT = 64 * 1024
IDLE_S = 30
REMEMBERED_FAULTS = 1_000
CLIENT_LOOK_S = 0.1
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_REQUIRED = object()


class Invalid(Exception):
    """A fault that was asked for makes no sense; the message is the answer's sentence."""


# --- what a fault may look like ------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """One field of a fault: what it accepts, in code and in words."""

    accepts: Callable[[Any], bool]
    must_be: str
    default: object = _REQUIRED


def _integer(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _count(default: object) -> Field:
    return Field(lambda v: _integer(v, 1, 10**9), "an integer from 1", default)


def _error_status(default: int) -> Field:
    return Field(lambda v: _integer(v, 400, 599), "an integer from 400 to 599", default)


_MATCH: dict[str, Field] = {
    "method": Field(
        lambda v: v is None or (isinstance(v, str) and v.isalpha() and v.isupper()),
        "a method in upper case, or null for all",
        None,
    ),
    "path": Field(
        lambda v: v is None or (isinstance(v, str) and v.startswith(("/", "*"))),
        "a path or a pattern like /items/*, or null for all",
        None,
    ),
}
_SHARE: dict[str, Field] = {
    "rate": Field(lambda v: _number(v, 0, 1), "a number from 0 to 1", 1.0),
    "seed": Field(lambda v: _integer(v, -(2**63), 2**63), "an integer", 0),
    "every": Field(
        lambda v: v is None or _integer(v, 1, 10**9), "an integer from 1, or null", None
    ),
}
KINDS: dict[str, dict[str, Field]] = {
    "status": {"code": _error_status(503), **_MATCH, **_SHARE},
    "rate_limit": {
        "retry_after_s": Field(lambda v: _integer(v, 0, 86_400), "an integer from 0 to 86400", 1),
        **_MATCH,
        **_SHARE,
    },
    "slow": {
        "delay_s": Field(lambda v: _number(v, 0, 600), "a number of seconds from 0 to 600"),
        **_MATCH,
        **_SHARE,
    },
    "hang": {**_MATCH, **_SHARE},
    "malformed": {**_MATCH, **_SHARE},
    "wrong_schema": {**_MATCH, **_SHARE},
    "truncated": {**_MATCH, **_SHARE},
    "fail_first": {"n": _count(_REQUIRED), "code": _error_status(503), **_MATCH},
}
BODY_KINDS = frozenset({"malformed", "wrong_schema", "truncated"})


def parse_fault(identifier: str, document: object, services: Mapping[str, int]) -> dict[str, Any]:
    """The complete configuration of a fault, defaults filled in. Raises Invalid."""
    if not _ID.fullmatch(identifier):
        raise Invalid(f"the id {identifier!r} must be of a-z, 0-9, '.', '_' and '-', at most 100")
    if not isinstance(document, dict):
        raise Invalid("a fault is a JSON object")
    kind, service = document.get("kind"), document.get("service")
    if not isinstance(kind, str) or kind not in KINDS:
        raise Invalid(f"kind {kind!r} is not known; there are {', '.join(sorted(KINDS))}")
    if not isinstance(service, str) or service not in services:
        raise Invalid(f"service {service!r} is not known; there are {', '.join(sorted(services))}")
    fields = KINDS[kind]
    unknown = sorted(set(document) - set(fields) - {"kind", "service"})
    if unknown:
        raise Invalid(f"{kind} has no field {unknown[0]!r}; it has {', '.join(sorted(fields))}")
    if document.get("every") is not None and "rate" in document:
        raise Invalid("rate and every exclude each other")
    config: dict[str, Any] = {"id": identifier, "kind": kind, "service": service}
    for name, allowed in fields.items():
        value = document.get(name, allowed.default)
        if value is _REQUIRED:
            raise Invalid(f"{kind} needs the field {name!r}: {allowed.must_be}")
        if not allowed.accepts(value):
            raise Invalid(f"{name} must be {allowed.must_be}, not {value!r}")
        config[name] = value
    return config


def parse_upstreams(text: str) -> dict[str, int]:
    """``github=8081,ai-studio=8082`` as service -> listen port. Raises ValueError."""
    services: dict[str, int] = {}
    for part in text.split(","):
        name, separator, port = part.strip().partition("=")
        if not (name and separator and port.isdecimal() and 0 < int(port) < 65_536):
            raise ValueError(f"UPSTREAMS: {part!r} is not service=port")
        if name in services or int(port) in services.values():
            raise ValueError(f"UPSTREAMS: {part!r} names a service or a port twice")
        services[name] = int(port)
    return services


# --- which requests fail -------------------------------------------------------------------


def fails(config: Mapping[str, Any], n: int, stream: str = "") -> bool:
    """Whether the ``n``-th matching request (from 1) fails. ``stream`` keeps sequences apart."""
    if config["kind"] == "fail_first":
        return bool(n <= config["n"])
    if config["every"] is not None:
        return bool(n % config["every"] == 0)
    return bool(random.Random(f"{stream}{config['seed']}:{n}").random() < config["rate"])


@dataclass
class ActiveFault:
    """A fault in force and what it has met so far."""

    config: dict[str, Any]
    seen: int = 0
    affected: int = 0
    probes: int = 0
    healed: asyncio.Event = field(default_factory=asyncio.Event)

    def matches(self, method: str, path: str) -> bool:
        wanted_method, wanted_path = self.config["method"], self.config["path"]
        return wanted_method in (None, method) and (
            wanted_path is None or fnmatch.fnmatchcase(path, wanted_path)
        )


class Registry:
    """All faults and counters; every method may be called from any thread."""

    def __init__(self, services: Mapping[str, int]) -> None:
        self.services = dict(services)
        self._lock = threading.Lock()
        self._active: dict[str, ActiveFault] = {}
        self._totals: dict[str, int] = {}
        self._requests = dict.fromkeys(self.services, 0)

    def put(self, identifier: str, document: object) -> ActiveFault | None:
        """Put a fault in force, its sequence from the start: the one it replaces. Raises Invalid.

        Totals outlive their fault: whoever reads them twice can subtract.
        """
        config = parse_fault(identifier, document, self.services)
        with self._lock:
            if identifier not in self._totals and len(self._totals) >= REMEMBERED_FAULTS:
                raise Invalid(f"{REMEMBERED_FAULTS} different ids are remembered; no more fit")
            replaced = self._active.pop(identifier, None)
            self._active[identifier] = ActiveFault(config)
            self._totals.setdefault(identifier, 0)
            return replaced

    def remove(self, identifier: str | None = None) -> list[ActiveFault]:
        """Take one fault (or all) out of force: those that were. They meet no later request."""
        with self._lock:
            names = list(self._active) if identifier is None else [identifier]
            return [self._active.pop(name) for name in names if name in self._active]

    def arrived(self, service: str, method: str, path: str) -> list[ActiveFault]:
        """Count one request and say which faults it meets, in the order they were put."""
        hits = []
        with self._lock:
            self._requests[service] += 1
            for fault in self._active.values():
                if fault.config["service"] == service and fault.matches(method, path):
                    fault.seen += 1
                    if fails(fault.config, fault.seen):
                        hits.append(fault)
        return hits

    def probed(self, service: str) -> list[ActiveFault]:
        """As ``arrived``, for a proof: method and path don't matter, and nothing is counted.

        ``fail_first`` meets every proof: were they counted, a second look would see it healed.
        """
        hits = []
        with self._lock:
            for fault in self._active.values():
                if fault.config["service"] == service:
                    fault.probes += 1
                    n = 1 if fault.config["kind"] == "fail_first" else fault.probes
                    if fails(fault.config, n, "probe:"):
                        hits.append(fault)
        return hits

    def met(self, fault: ActiveFault) -> None:
        """Count that ``fault`` has changed a request's fate."""
        with self._lock:
            fault.affected += 1
            self._totals[fault.config["id"]] += 1

    def faults(self) -> dict[str, Any]:
        with self._lock:
            return {
                "faults": [
                    fault.config | {"seen": fault.seen, "affected": fault.affected}
                    for fault in self._active.values()
                ],
                "affected": dict(self._totals),
            }

    def requests(self, service: str | None = None) -> dict[str, int]:
        """Requests per service. Raises Invalid when there is no such service."""
        with self._lock:
            if service is None:
                return dict(self._requests)
            if service not in self._requests:
                raise Invalid(
                    f"service {service!r} is not known; there are {', '.join(self._requests)}"
                )
            return {service: self._requests[service]}


# --- how long a request is held ------------------------------------------------------------


async def held(healed: asyncio.Event, client_waits: Callable[[], bool]) -> bool:
    """Hold until the fault is healed (True) or the client has given up (False).

    mitmproxy tells nobody that a client has hung up before its request is done, so it is looked
    at ten times a second.
    """
    while client_waits():
        try:
            await asyncio.wait_for(healed.wait(), CLIENT_LOOK_S)
        except TimeoutError:
            continue
        return client_waits()
    return False


# --- what happens to a body ----------------------------------------------------------------


def malformed(body: bytes) -> bytes:
    """The first half of ``body``; not JSON, whatever the body was."""
    half = body[: len(body) // 2]
    try:
        json.loads(half)
    except ValueError:
        return half
    return half + b","  # nothing may follow a whole document


def wrong_schema(body: bytes) -> bytes:
    """Well-formed JSON of another shape: keys renamed, a list wrapped in an object."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict):
        changed: object = {f"{key}_v2": value for key, value in document.items()}
    else:
        changed = {"value_v2": document}
    return json.dumps(changed).encode()


# --- the control API -----------------------------------------------------------------------


class ControlServer(ThreadingHTTPServer):
    """Serves the control API. ``release`` is told of faults that are no longer in force."""

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        registry: Registry,
        release: Callable[[list[ActiveFault]], None],
    ) -> None:
        super().__init__(address, ControlHandler)
        self.registry = registry
        self.release = release


class ControlHandler(BaseHTTPRequestHandler):
    """One connection to the control API."""

    server: ControlServer
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/-/ready":
            self._answer(200, {"status": "ready"})
        elif url.path == "/faults":
            self._answer(200, self.server.registry.faults())
        elif url.path == "/services":
            self._answer(200, self.server.registry.services)
        elif url.path == "/requests":
            service = parse_qs(url.query).get("service", [None])[-1]
            try:
                self._answer(200, self.server.registry.requests(service))
            except Invalid as error:
                self._answer(422, {"error": str(error)})
        else:
            self._not_found()

    def do_PUT(self) -> None:
        identifier = self._identifier()
        if identifier is None:
            self._not_found()
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > BODY_LIMIT:
            self._answer(413, {"error": f"a fault is at most {BODY_LIMIT} bytes, with a length"})
            return
        try:
            document = json.loads(self.rfile.read(int(length)))
        except ValueError as error:
            self._answer(400, {"error": f"the body is not JSON: {error}"})
            return
        try:
            replaced = self.server.registry.put(identifier, document)
        except Invalid as error:
            self._answer(422, {"error": str(error)})
            return
        self.server.release([replaced] if replaced else [])
        self._answer(200, self.server.registry.faults())

    def do_DELETE(self) -> None:
        identifier = None if self.path == "/faults" else self._identifier()
        if identifier is None and self.path != "/faults":
            self._not_found()
            return
        self.server.release(self.server.registry.remove(identifier))
        self._answer(200, self.server.registry.faults())

    def _identifier(self) -> str | None:
        prefix, _, identifier = self.path.rpartition("/")
        return identifier if prefix == "/faults" and identifier else None

    def _not_found(self) -> None:
        self._answer(404, {"error": f"there is no {self.command} {self.path}"})

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
        """Silent: the drill's timeline tells what was put and removed."""


# --- mitmproxy's hooks ---------------------------------------------------------------------

_HITS, _PROBE, _OURS = "alertdrill.hits", "alertdrill.probe", "alertdrill.ours"


class HttpFaults:
    """The addon: asks the registry about each request and does what it says."""

    def __init__(self) -> None:
        self.registry = Registry({})
        self._ports: dict[int, str] = {}
        self._control: ControlServer | None = None

    def load(self, loader: object) -> None:
        self.registry = Registry(parse_upstreams(os.environ.get("UPSTREAMS", "")))
        self._ports = {port: name for name, port in self.registry.services.items()}

    def running(self) -> None:
        """Called when the upstreams' listeners are up, so that readiness means them too."""
        from mitmproxy import ctx

        # Eagerly, a dead upstream would close the connection before the request was read: no
        # fault could meet it, and nothing would be counted. Lazily it is answered with a 502.
        ctx.options.update(connection_strategy="lazy")
        loop = asyncio.get_running_loop()

        def release(faults: list[ActiveFault]) -> None:
            for fault in faults:
                loop.call_soon_threadsafe(fault.healed.set)

        port = int(os.environ.get("CONTROL_PORT", DEFAULT_CONTROL_PORT))
        self._control = ControlServer(("0.0.0.0", port), self.registry, release)
        threading.Thread(target=self._control.serve_forever, name="control", daemon=True).start()

    def done(self) -> None:
        if self._control is not None:
            self._control.shutdown()
            self._control.server_close()

    def requestheaders(self, flow: "http.HTTPFlow") -> None:
        service = self._ports.get(flow.client_conn.sockname[1])
        if service is None or flow.error:
            return
        request = flow.request
        probe = request.headers.pop(PROBE_HEADER, None)
        if probe is None:
            hits = self.registry.arrived(service, request.method, request.path.partition("?")[0])
        else:
            hits = [] if probe == "clean" else self.registry.probed(service)
        flow.metadata[_HITS], flow.metadata[_PROBE] = hits, probe is not None
        # What no fault meets is passed through without being held in memory.
        request.stream = not hits
        if any(fault.config["kind"] in BODY_KINDS for fault in hits):
            # A 304, a part or a compressed body could not be damaged.
            for name in ("If-None-Match", "If-Modified-Since", "Range"):
                request.headers.pop(name, None)
            request.headers["Accept-Encoding"] = "identity"

    async def request(self, flow: "http.HTTPFlow") -> None:
        for fault in flow.metadata.get(_HITS, ()):
            config = fault.config
            if config["kind"] == "slow":
                self._met(flow, fault)
                try:
                    await asyncio.wait_for(fault.healed.wait(), config["delay_s"])
                except TimeoutError:
                    continue  # the whole delay has passed
            elif config["kind"] == "hang":
                self._met(flow, fault)
                if not await held(fault.healed, lambda: flow.client_conn.connected):
                    if flow.killable:
                        flow.kill()  # nobody waits for it: it must not reach the upstream
                    return
        for fault in flow.metadata.get(_HITS, ()):
            config = fault.config
            if config["kind"] in ("status", "fail_first"):
                self._refuse(flow, fault, config["code"], {})
                return
            if config["kind"] == "rate_limit":
                headers = {
                    "Retry-After": str(config["retry_after_s"]),
                    "X-RateLimit-Remaining": "0",
                }
                self._refuse(flow, fault, 429, headers)
                return

    def responseheaders(self, flow: "http.HTTPFlow") -> None:
        assert flow.response is not None
        flow.response.stream = not self._body_faults(flow)

    def response(self, flow: "http.HTTPFlow") -> None:
        response = flow.response
        assert response is not None
        for fault in self._body_faults(flow):
            response.decode(strict=False)
            body = response.raw_content
            if not body or flow.request.method == "HEAD":
                return  # nothing to damage, so the fault was not met
            # A client must not keep the damaged body as the valid one of this tag.
            for name in ("ETag", "Last-Modified"):
                response.headers.pop(name, None)
            if fault.config["kind"] == "malformed":
                response.content = malformed(body)
            elif fault.config["kind"] == "wrong_schema":
                response.content = wrong_schema(body)
            else:
                response.headers.pop("Transfer-Encoding", None)
                response.headers["Content-Length"] = str(len(body))
                response.headers["Connection"] = "close"
                response.raw_content = body[: len(body) // 2]
            self._met(flow, fault)

    @staticmethod
    def _body_faults(flow: "http.HTTPFlow") -> list[ActiveFault]:
        if flow.metadata.get(_OURS):
            return []
        hits: list[ActiveFault] = flow.metadata.get(_HITS, [])
        return [fault for fault in hits if fault.config["kind"] in BODY_KINDS]

    def _met(self, flow: "http.HTTPFlow", fault: ActiveFault) -> None:
        if not flow.metadata[_PROBE]:
            self.registry.met(fault)

    def _refuse(
        self, flow: "http.HTTPFlow", fault: ActiveFault, code: int, headers: dict[str, str]
    ) -> None:
        from mitmproxy import http

        self._met(flow, fault)
        flow.metadata[_OURS] = True
        body = json.dumps({"status": code, "message": "injected fault"})
        flow.response = http.Response.make(
            code, body, {"Content-Type": "application/json", **headers}
        )


addons = [HttpFaults()]
