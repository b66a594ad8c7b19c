"""Everything the hub is told by its environment, checked once at start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class SettingsError(ValueError):
    """The environment is unusable. The message names the variable and what was expected."""


@dataclass(frozen=True)
class Settings:
    """``*_url`` are base URLs without a trailing slash; times are in seconds.

    ``replication_url``  of the primary whose replicas are watched; empty: none are
    ``otlp``  whether spans are exported; the exporter reads its endpoint from the environment
    """

    database_url: str
    redis_url: str
    github_url: str
    ai_studio_url: str
    replication_url: str = ""
    github_repository: str = "bakhmach/hub"
    github_token: str = ""
    ai_studio_key: str = ""
    webhook_urls: tuple[str, ...] = ()
    webhook_secret: str = ""
    otlp: bool = False
    service_name: str = "hub"
    log_file: str = ""
    log_level: str = "INFO"
    db_pool_size: int = 20
    db_pool_timeout_s: float = 1.5
    db_hold_limit_s: float = 30.0
    threads: int = 64

    @staticmethod
    def from_env(env: Mapping[str, str]) -> Settings:
        """Raises SettingsError naming the first variable that is missing or wrong."""
        urls = tuple(url.strip() for url in env.get("WEBHOOK_URLS", "").split(",") if url.strip())
        if urls and not env.get("WEBHOOK_SECRET"):
            raise SettingsError("WEBHOOK_URLS is set but WEBHOOK_SECRET is not: nothing can sign")
        return Settings(
            database_url=_required(env, "DATABASE_URL", "postgresql+psycopg://"),
            redis_url=_required(env, "REDIS_URL", "redis://", "rediss://", "unix://"),
            github_url=_required(env, "GITHUB_URL", "http://", "https://").rstrip("/"),
            ai_studio_url=_required(env, "AI_STUDIO_URL", "http://", "https://").rstrip("/"),
            replication_url=_optional(env, "REPLICATION_URL", "postgresql://"),
            github_repository=env.get("GITHUB_REPOSITORY", "bakhmach/hub"),
            github_token=env.get("GITHUB_TOKEN", ""),
            ai_studio_key=env.get("AI_STUDIO_KEY", ""),
            webhook_urls=urls,
            webhook_secret=env.get("WEBHOOK_SECRET", ""),
            otlp=bool(
                env.get("OTEL_EXPORTER_OTLP_ENDPOINT")
                or env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            ),
            service_name=env.get("OTEL_SERVICE_NAME", "hub"),
            log_file=env.get("LOG_FILE", ""),
            log_level=_level(env),
            db_pool_size=int(_number(env, "DB_POOL_SIZE", 20, 1, 200)),
            db_pool_timeout_s=_number(env, "DB_POOL_TIMEOUT_S", 1.5, 0.1, 60),
            db_hold_limit_s=_number(env, "DB_HOLD_LIMIT_S", 30.0, 1, 600),
            threads=int(_number(env, "THREADS", 64, 1, 1000)),
        )


def _required(env: Mapping[str, str], name: str, *prefixes: str) -> str:
    value = env.get(name, "")
    if not value.startswith(prefixes):
        raise SettingsError(
            f"{name} must start with {' or '.join(prefixes)}; it is unset or not so"
        )
    return value


def _optional(env: Mapping[str, str], name: str, *prefixes: str) -> str:
    return _required(env, name, *prefixes) if env.get(name) else ""


def _number(env: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    text = env.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError as error:
        raise SettingsError(f"{name} must be a number, not {text!r}") from error
    if not least <= value <= most:
        raise SettingsError(f"{name} must be between {least:g} and {most:g}, not {text}")
    return value


def _level(env: Mapping[str, str]) -> str:
    level = env.get("LOG_LEVEL", "INFO").upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise SettingsError(f"LOG_LEVEL must be a level such as INFO, not {level!r}")
    return level
