"""A stub of GitHub's REST API: one repository's issues, with paging, ETags and a quota."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping
from functools import lru_cache

from flask import Flask, Response, request

from hub.upstreams.data import Record, World, seed_of

WINDOW_S = 3600
MAX_PER_PAGE = 100


class Quota:
    """Requests per hour, as GitHub counts them. Safe to use from many threads."""

    def __init__(self, limit: int):
        self.limit = limit
        self._lock = threading.Lock()
        self._used = 0
        self._reset = time.time() + WINDOW_S

    def take(self, cost: int) -> bool:
        """Whether ``cost`` more requests are within the quota; if so they are counted."""
        with self._lock:
            if time.time() >= self._reset:
                self._used, self._reset = 0, time.time() + WINDOW_S
            if self._used + cost > self.limit:
                return False
            self._used += cost
            return True

    def headers(self) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.limit - self._used),
            "X-RateLimit-Used": str(self._used),
            "X-RateLimit-Reset": str(int(self._reset)),
            "X-RateLimit-Resource": "core",
        }


def create_app(env: Mapping[str, str] = os.environ) -> Flask:
    """Reads SEED, GITHUB_REPOSITORY, GITHUB_TOKEN (required of callers when set) and
    GITHUB_RATE_LIMIT (requests per hour)."""
    world = World.of(seed_of(env))
    repository = env.get("GITHUB_REPOSITORY") or "bakhmach/hub"
    token = env.get("GITHUB_TOKEN", "")
    quota = Quota(int(env.get("GITHUB_RATE_LIMIT") or 10_000_000))
    app = Flask("github")

    @lru_cache(maxsize=256)
    def page_of(state: str, page: int, per_page: int) -> tuple[bytes, str, int]:
        chosen = [issue for issue in world.issues if state == "all" or _state(issue) == state]
        start = (page - 1) * per_page
        documents = [_document(issue, repository) for issue in chosen[start : start + per_page]]
        body = json.dumps(documents).encode()
        pages = max(1, -(-len(chosen) // per_page))
        return body, f'W/"{hashlib.sha256(body).hexdigest()}"', pages

    def answer(body: bytes, status: int, **headers: str) -> Response:
        response = Response(body, status, content_type="application/json; charset=utf-8")
        response.headers.update({name.replace("_", "-"): text for name, text in headers.items()})
        response.headers.update(quota.headers())
        return response

    def refuse(status: int, message: str) -> Response:
        return answer(json.dumps({"message": message, "status": str(status)}).encode(), status)

    @app.before_request
    def authorize() -> Response | None:
        if token and request.headers.get("Authorization") != f"Bearer {token}":
            return refuse(401, "Bad credentials")
        return None

    @app.get("/rate_limit")
    def rate_limit() -> Response:
        core = {
            "limit": quota.limit,
            "remaining": int(quota.headers()["X-RateLimit-Remaining"]),
            "reset": int(quota.headers()["X-RateLimit-Reset"]),
            "used": int(quota.headers()["X-RateLimit-Used"]),
        }
        return answer(json.dumps({"resources": {"core": core}, "rate": core}).encode(), 200)

    @app.get("/repos/<owner>/<name>/issues")
    def issues(owner: str, name: str) -> Response:
        if f"{owner}/{name}" != repository:
            return refuse(404, "Not Found")
        page, per_page = _positive("page", 1), min(_positive("per_page", 30), MAX_PER_PAGE)
        state = request.args.get("state", "open")
        if state not in ("open", "closed", "all"):
            return refuse(422, "Validation Failed")
        body, etag, pages = page_of(state, min(page, 10_000), per_page)
        unchanged = etag in request.headers.get("If-None-Match", "")
        # As at GitHub, a 304 is free.
        if not quota.take(0 if unchanged else 1):
            return refuse(403, "API rate limit exceeded")
        response = answer(b"" if unchanged else body, 304 if unchanged else 200, ETag=etag)
        if link := _link(page, pages):
            response.headers["Link"] = link
        return response

    @app.errorhandler(404)
    def not_found(_error: Exception) -> Response:
        return refuse(404, "Not Found")

    return app


def _positive(name: str, default: int) -> int:
    # GitHub takes nonsense for the default.
    text = request.args.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return default
    return int(text) or default


def _state(issue: Record) -> str:
    return "closed" if issue.closed else "open"


def _document(issue: Record, repository: str) -> dict[str, object]:
    return {
        "id": 1_000_000 + issue.number,
        "node_id": f"I_{issue.number:06}",
        "number": issue.number,
        "title": issue.title,
        "body": issue.body,
        "state": _state(issue),
        "labels": [],
        "user": {"login": "octocat", "id": 1, "type": "User"},
        "html_url": f"https://github.com/{repository}/issues/{issue.number}",
        "updated_at": issue.updated_at,
    }


def _link(page: int, pages: int) -> str:
    def to(number: int, rel: str) -> str:
        query = "&".join(
            f"{name}={text}"
            for name, text in (*((n, t) for n, t in request.args.items() if n != "page"),)
        )
        return f'<{request.base_url}?{query}&page={number}>; rel="{rel}"'

    links = []
    if page > 1:
        links += [to(page - 1, "prev"), to(1, "first")]
    if page < pages:
        links += [to(page + 1, "next"), to(pages, "last")]
    return ", ".join(links)
