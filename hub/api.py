"""The HTTP interface. Input is checked here, whole, before anything is asked of anyone."""

from __future__ import annotations

import json
import math
import re
import time
import uuid
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from hub.errors import BadInput, Duplicate
from hub.health import Health
from hub.items import Item, Policy
from hub.metrics import Metrics
from hub.store import Store
from hub.sync import SyncRequest, Syncs
from hub.webhooks import DELIVERY, verify
from hub.webhooks import EVENT as EVENT_HEADER

MAX_BODY_BYTES = 1 << 20
MAX_PER_PAGE = 100
_MAX_ID = (1 << 63) - 1
_IDEMPOTENCY_KEY = r"^[\x21-\x7e]{1,200}$"

# PostgreSQL stores no NUL in a text.
_NO_NUL = r"^[^\x00]*$"
Key = Annotated[str, StringConstraints(pattern=_NO_NUL, min_length=1, max_length=200)]
Title = Annotated[str, StringConstraints(pattern=_NO_NUL, min_length=1, max_length=500)]
Body = Annotated[str, StringConstraints(pattern=_NO_NUL, max_length=100_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class SyncBody(_Strict):
    source: Literal["github", "ai-studio"] = "github"
    policy: Literal["ai_studio_wins", "github_wins", "manual"] = "ai_studio_wins"
    idempotency_key: Annotated[str, StringConstraints(pattern=_IDEMPOTENCY_KEY)] | None = None


class ResolveBody(_Strict):
    policy: Literal["ai_studio_wins", "github_wins"] = "ai_studio_wins"
    keys: list[Key] | None = None


class ItemBody(_Strict):
    title: Title
    body: Body = ""
    state: Literal["open", "closed"] = "open"


class NewItemBody(ItemBody):
    key: Key | None = None


B = TypeVar("B", bound=BaseModel)
T = TypeVar("T")


def blueprint(
    syncs: Syncs, store: Store, health: Health, metrics: Metrics, webhook_secret: str
) -> Blueprint:
    """Every route of the hub."""
    api = Blueprint("api", __name__)

    @api.get("/health")
    def get_health() -> Response:
        document, healthy = health.report()
        return _json(document, 200 if healthy else 503)

    @api.post("/api/v1/sync/bidirectional")
    def sync() -> Response:
        body = _body(SyncBody, optional=True)
        key = _idempotency_key(body.idempotency_key)
        result, replayed = syncs.run(SyncRequest(body.source, Policy(body.policy), key))
        response = _json(result)
        if replayed:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    @api.get("/api/v1/sync/status")
    def sync_status() -> Response:
        latest, success = store.last_runs()
        return _json(
            {
                "last": latest and latest.document(),
                "last_success": success and success.document(),
                "open_conflicts": store.count_open_conflicts(),
            }
        )

    @api.get("/api/v1/sync/history")
    def sync_history() -> Response:
        page, per_page = _paging()
        runs, more = store.history(page, per_page)
        return _json({"runs": runs, "page": page, "per_page": per_page, "has_more": more})

    @api.post("/api/v1/sync/resolve-conflicts")
    def resolve_conflicts() -> Response:
        body = _body(ResolveBody, optional=True)
        keys = store.resolve_conflicts(Policy(body.policy), body.keys)
        metrics.sync_conflicts_resolved.labels(body.policy).inc(len(keys))
        return _json({"resolved": len(keys), "keys": keys})

    @api.post("/api/v1/webhooks")
    def receive_webhook() -> Response:
        raw = request.get_data()
        verify(webhook_secret, request.headers, raw, time.time())
        delivery, event = _header(DELIVERY), _header(EVENT_HEADER)
        new = store.record_webhook(delivery, event, _json_object(raw))
        return _json({"status": "accepted" if new else "duplicate", "delivery": delivery}, 202)

    @api.get("/api/v1/items")
    def list_items() -> Response:
        page, per_page = _paging()
        items, more = store.list_items(page, per_page)
        return _json({"items": items, "page": page, "per_page": per_page, "has_more": more})

    @api.post("/api/v1/items")
    def create_item() -> Response:
        body = _body(NewItemBody)
        key = body.key or f"hub:{uuid.uuid4()}"
        try:
            item = store.create_item(Item(key, body.title, body.body, body.state, "hub"))
        except Duplicate as error:
            raise BadInput(f"there is an item with the key {key!r}", status=409) from error
        response = _json(item, 201)
        response.headers["Location"] = f"/api/v1/items/{item['id']}"
        return response

    @api.get("/api/v1/items/<item_id>")
    def get_item(item_id: str) -> Response:
        return _json(_found(store.get_item(_id(item_id))))

    @api.put("/api/v1/items/<item_id>")
    def update_item(item_id: str) -> Response:
        number, body = _id(item_id), _body(ItemBody)
        item = Item("", body.title, body.body, body.state, "hub")
        return _json(_found(store.update_item(number, item)))

    @api.delete("/api/v1/items/<item_id>")
    def delete_item(item_id: str) -> Response:
        _found(store.delete_item(_id(item_id)) or None)
        return Response(status=204)

    return api


def _json(document: object, status: int = 200) -> Response:
    text = json.dumps(document, default=_plain)
    return Response(text, status=status, content_type="application/json")


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _body(model: type[B], *, optional: bool = False) -> B:
    """The body as ``model``. An absent one means all defaults where ``optional``."""
    raw = request.get_data()
    if optional and not raw:
        return model()
    if not request.is_json:
        raise BadInput("the body must be application/json", status=415)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise BadInput("the body is not valid", errors=_errors(error)) from error


def _errors(error: ValidationError) -> list[dict[str, str]]:
    return [
        {"field": ".".join(map(str, each["loc"])), "message": each["msg"]}
        for each in error.errors(include_url=False, include_input=False, include_context=False)[:20]
    ]


def _json_object(raw: bytes) -> dict[str, Any]:
    """Any JSON object that PostgreSQL can store."""
    try:
        document = _AnyObject.model_validate_json(raw).model_extra or {}
    except ValidationError as error:
        raise BadInput("the body must be a JSON object", errors=_errors(error)) from error
    if not _storable(document):
        raise BadInput("the body holds a NUL or a number that can't be stored")
    return document


def _storable(value: object) -> bool:
    """jsonb knows no NUL, no infinity, and no number beyond what Python would print."""
    match value:
        case str():
            return "\0" not in value
        case int():
            return value.bit_length() <= 1024
        case float():
            return math.isfinite(value)
        case dict():
            return all(_storable(key) and _storable(each) for key, each in value.items())
        case list():
            return all(map(_storable, value))
    return True


class _AnyObject(BaseModel):
    model_config = ConfigDict(extra="allow")


def _idempotency_key(field: str | None) -> str | None:
    header = request.headers.get("Idempotency-Key")
    if header is None:
        return field
    if not re.fullmatch(_IDEMPOTENCY_KEY, header):
        raise BadInput("Idempotency-Key must be 1 to 200 visible ASCII characters")
    if field is not None and field != header:
        raise BadInput("Idempotency-Key and idempotency_key differ")
    return header


def _header(name: str) -> str:
    value = request.headers.get(name, "")
    if not re.fullmatch(r"[\x21-\x7e]{1,200}", value):
        raise BadInput(f"{name} must be 1 to 200 visible ASCII characters")
    return value


def _paging() -> tuple[int, int]:
    unknown = set(request.args) - {"page", "per_page"}
    if unknown:
        raise BadInput("only page and per_page are understood here")
    return _count("page", 1, 1_000_000), _count("per_page", 20, MAX_PER_PAGE)


def _count(name: str, default: int, most: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,7}", text) or not 1 <= int(text) <= most:
        raise BadInput(f"{name} must be a number from 1 to {most}")
    return int(text)


def _id(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > _MAX_ID:
        raise BadInput("there is no such item", status=404)
    return int(text)


def _found(thing: T | None) -> T:
    if thing is None:
        raise BadInput("there is no such item", status=404)
    return thing
