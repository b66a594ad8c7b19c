"""The items of both upstream APIs, page by page, validated and brought into one shape."""

from __future__ import annotations

import json
from typing import Annotated, Literal, Protocol
from urllib.parse import parse_qs, urlsplit

import httpx
from pydantic import BaseModel, StringConstraints, TypeAdapter, ValidationError

from hub.cache import Cache
from hub.items import Item
from hub.upstream import Deadline, Upstream

PAGE_SIZE = 20
MAX_PAGES = 50
CACHE_TTL_S = 3600

# PostgreSQL stores no NUL; an upstream that sends one sends something unusable.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=100_000)]


class Reader(Protocol):
    """Reads one upstream whole. Raises UpstreamError."""

    def read(self, deadline: Deadline) -> dict[str, Item]: ...

    def is_healthy(self) -> bool: ...


class GithubIssue(BaseModel):
    number: int
    title: Text
    body: Text | None
    state: Literal["open", "closed"]


class AiStudioItem(BaseModel):
    id: Text
    external_ref: Text | None
    name: Text
    content: Text
    status: Literal["active", "archived"]


class AiStudioPage(BaseModel):
    items: list[AiStudioItem]
    next_page_token: str | None


_ISSUES = TypeAdapter(list[GithubIssue])
_AI_STUDIO_PAGE = TypeAdapter(AiStudioPage)
_STATES = {"active": "open", "archived": "closed"}


class GithubReader:
    """The issues of one repository.

    Pages are cached with their ETag, yet each is asked for at every sync: GitHub answers 304
    and the cached page is used. Links give the next page's number, never its address: the
    address is that of the server behind whatever stands between.
    """

    def __init__(self, upstream: Upstream, cache: Cache, repository: str):
        self._upstream = upstream
        self._cache = cache
        self._repository = repository
        self._cache_key = f"hub:github:{repository}"

    def read(self, deadline: Deadline) -> dict[str, Item]:
        cached = _cached_pages(self._cache.get_all(self._cache_key))
        fresh: dict[str, str] = {}
        items: dict[str, Item] = {}
        page: int | None = 1
        while page is not None:
            if page > MAX_PAGES:
                raise self._upstream.malformed(f"more than {MAX_PAGES} pages")
            etag, body = cached.get(page, ("", ""))
            response = self._upstream.get(
                f"/repos/{self._repository}/issues",
                params={"state": "all", "per_page": PAGE_SIZE, "page": page},
                headers={"If-None-Match": etag} if etag else None,
                deadline=deadline,
            )
            if response.status_code == 200:
                content: bytes | str = response.content
            elif body:
                content = body
            else:
                raise self._upstream.malformed("answered 304 to an unconditional request")
            for issue in self._parse(content):
                item = self._item(issue)
                items[item.key] = item
            if response.status_code == 200 and (etag := response.headers.get("ETag", "")):
                fresh[str(page)] = json.dumps({"etag": etag, "body": response.text})
            page = self._next_page(response, page)
        if fresh:
            self._cache.put_all(self._cache_key, fresh, CACHE_TTL_S)
        return items

    def is_healthy(self) -> bool:
        return self._upstream.is_healthy("/rate_limit")

    def _parse(self, content: bytes | str) -> list[GithubIssue]:
        try:
            return _ISSUES.validate_json(content)
        except ValidationError as error:
            raise self._upstream.malformed(_first(error)) from error

    def _item(self, issue: GithubIssue) -> Item:
        key = f"{self._repository}#{issue.number}"
        return Item(key, issue.title, issue.body or "", issue.state, "github")

    def _next_page(self, response: httpx.Response, page: int) -> int | None:
        url = response.links.get("next", {}).get("url")
        if url is None:
            return None
        number = parse_qs(urlsplit(url).query).get("page", [""])[0]
        if number != str(page + 1):
            raise self._upstream.malformed(f"the page after {page} is said to be {number!r}")
        return page + 1


class AiStudioReader:
    """The items of AI Studio, by cursor."""

    def __init__(self, upstream: Upstream):
        self._upstream = upstream

    def read(self, deadline: Deadline) -> dict[str, Item]:
        items: dict[str, Item] = {}
        token: str | None = ""
        seen: set[str] = set()
        while token is not None:
            if token in seen or len(seen) == MAX_PAGES:
                raise self._upstream.malformed("its pages don't end")
            seen.add(token)
            params: dict[str, str | int] = {"page_size": PAGE_SIZE}
            if token:
                params["page_token"] = token
            response = self._upstream.get("/v1/items", params=params, deadline=deadline)
            try:
                page = _AI_STUDIO_PAGE.validate_json(response.content)
            except ValidationError as error:
                raise self._upstream.malformed(_first(error)) from error
            for item in map(self._item, page.items):
                items[item.key] = item
            token = page.next_page_token
        return items

    def is_healthy(self) -> bool:
        return self._upstream.is_healthy("/v1/health")

    def _item(self, item: AiStudioItem) -> Item:
        key = item.external_ref or f"ai-studio:{item.id}"
        return Item(key, item.name, item.content, _STATES[item.status], "ai-studio")


def _cached_pages(fields: dict[bytes, bytes]) -> dict[int, tuple[str, str]]:
    pages: dict[int, tuple[str, str]] = {}
    for number, text in fields.items():
        page = json.loads(text)
        pages[int(number)] = (page["etag"], page["body"])
    return pages


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"answered something malformed: {first['msg']}" + (f" at {where}" if where else "")
