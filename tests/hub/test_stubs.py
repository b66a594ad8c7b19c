"""The stubs behave like what they stand for."""

from __future__ import annotations

from hub.upstreams import ai_studio, github

ISSUES = "/repos/bakhmach/hub/issues?state=all&per_page=20"


def test_github_pages_with_links() -> None:
    client = github.create_app({}).test_client()
    last = client.get(ISSUES + "&page=3")
    assert len(last.json or []) == 20
    assert 'rel="prev"' in last.headers["Link"]
    assert 'rel="next"' not in last.headers["Link"]
    assert "state=all" in client.get(ISSUES).headers["Link"]


def test_github_etags_are_free_and_the_quota_ends() -> None:
    client = github.create_app({"GITHUB_RATE_LIMIT": "1"}).test_client()
    first = client.get(ISSUES)
    again = client.get(ISSUES, headers={"If-None-Match": first.headers["ETag"]})
    other = client.get(ISSUES + "&page=2")
    assert (first.status_code, again.status_code, other.status_code) == (200, 304, 403)
    assert again.data == b""
    assert other.headers["X-RateLimit-Remaining"] == "0"
    assert client.get("/rate_limit").status_code == 200


def test_github_wants_the_token_it_was_given() -> None:
    client = github.create_app({"GITHUB_TOKEN": "t"}).test_client()
    assert client.get(ISSUES).status_code == 401
    assert client.get(ISSUES, headers={"Authorization": "Bearer t"}).status_code == 200


def test_ai_studio_refuses_tokens_it_did_not_give_out() -> None:
    client = ai_studio.create_app({}).test_client()
    page = client.get("/v1/items?page_size=20").json or {}
    following = client.get(f"/v1/items?page_size=20&page_token={page['next_page_token']}").json
    assert following is not None
    assert following["next_page_token"] is None
    for token in ("x", "YWZ0ZXI6eA==", "%00", "é"):
        assert client.get(f"/v1/items?page_token={token}").status_code == 400
    for size in ("0", "101", "x", "9" * 5000):
        assert client.get(f"/v1/items?page_size={size}").status_code == 400
