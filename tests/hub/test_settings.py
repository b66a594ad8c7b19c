"""The environment is checked at start, and the message names the variable."""

from __future__ import annotations

import pytest

from hub.settings import Settings, SettingsError

GOOD = {
    "DATABASE_URL": "postgresql+psycopg://hub@db/hub",
    "REDIS_URL": "redis://redis",
    "GITHUB_URL": "http://github/",
    "AI_STUDIO_URL": "http://ai-studio",
}


def test_defaults() -> None:
    settings = Settings.from_env(GOOD)
    assert (settings.db_pool_size, settings.threads, settings.otlp) == (20, 64, False)
    assert settings.github_url == "http://github"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://x"),
        ("GITHUB_URL", ""),
        ("DB_POOL_SIZE", "many"),
        ("DB_POOL_SIZE", "0"),
        ("DB_POOL_TIMEOUT_S", "nan"),
        ("LOG_LEVEL", "LOUD"),
        ("WEBHOOK_URLS", "http://x"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_env({**GOOD, name: value})
