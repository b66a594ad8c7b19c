"""A stub of the AI Studio API: items by cursor."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from functools import lru_cache

from flask import Flask, Response, request

from hub.upstreams.data import Record, World, seed_of

MAX_PAGE_SIZE = 100


def create_app(env: Mapping[str, str] = os.environ) -> Flask:
    """Reads SEED, GITHUB_REPOSITORY and AI_STUDIO_KEY (required of callers when set)."""
    world = World.of(seed_of(env))
    repository = env.get("GITHUB_REPOSITORY") or "bakhmach/hub"
    key = env.get("AI_STUDIO_KEY", "")
    app = Flask("ai-studio")

    @lru_cache(maxsize=256)
    def page_of(start: int, size: int) -> bytes:
        end = start + size
        items = [_document(record, repository) for record in world.ai_studio[start:end]]
        token = _token(end) if end < len(world.ai_studio) else None
        return json.dumps({"items": items, "next_page_token": token}).encode()

    def answer(body: bytes, status: int = 200) -> Response:
        return Response(body, status, content_type="application/json")

    def refuse(status: int, code: str, message: str) -> Response:
        return answer(json.dumps({"error": {"code": code, "message": message}}).encode(), status)

    @app.before_request
    def authorize() -> Response | None:
        is_open = not key or request.endpoint == "health"
        if not is_open and request.headers.get("Authorization") != f"Bearer {key}":
            return refuse(401, "unauthenticated", "a valid key is required")
        return None

    @app.get("/v1/health")
    def health() -> Response:
        return answer(b'{"status": "ok"}')

    @app.get("/v1/items")
    def items() -> Response:
        size = request.args.get("page_size", "50")
        number = int(size) if size.isascii() and size.isdigit() and len(size) < 4 else 0
        if not 1 <= number <= MAX_PAGE_SIZE:
            return refuse(400, "invalid_argument", f"page_size must be 1 to {MAX_PAGE_SIZE}")
        start = _start(request.args.get("page_token", ""))
        if start is None:
            return refuse(400, "invalid_argument", "page_token was not given out here")
        return answer(page_of(start, number))

    @app.errorhandler(404)
    def not_found(_error: Exception) -> Response:
        return refuse(404, "not_found", "there is nothing at this path")

    return app


def _token(start: int) -> str:
    return base64.urlsafe_b64encode(f"after:{start}".encode()).decode()


def _start(token: str) -> int | None:
    if not token:
        return 0
    try:
        word, _, number = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
    except (binascii.Error, UnicodeError):
        return None
    in_range = number.isascii() and number.isdigit() and len(number) <= 6
    return int(number) if word == "after" and in_range else None


def _document(record: Record, repository: str) -> dict[str, object]:
    return {
        "id": f"item-{record.number:04}",
        "external_ref": f"{repository}#{record.shared}" if record.shared else None,
        "name": record.title,
        "content": record.body,
        "status": "archived" if record.closed else "active",
        "updated_at": record.updated_at,
    }
