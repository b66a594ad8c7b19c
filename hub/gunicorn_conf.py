"""gunicorn for the hub: one process, so that its metrics are one; many threads."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import start_http_server

bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"
workers = 1
worker_class = "gthread"
threads = int(os.environ.get("THREADS") or 64)
keepalive = 75
timeout = 60
graceful_timeout = 5
control_socket_disable = True
# The heartbeat file must not wait for a disk.
worker_tmp_dir = "/dev/shm"
accesslog = None
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "ecs": {
            "()": "hub.logs.EcsFormatter",
            "service": os.environ.get("OTEL_SERVICE_NAME", "hub"),
        }
    },
    "handlers": {
        "stdout": {
            "class": "logging.StreamHandler",
            "formatter": "ecs",
            "stream": "ext://sys.stdout",
        }
    },
    "root": {"level": "WARNING", "handlers": ["stdout"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["stdout"], "propagate": False},
        "gunicorn.access": {"level": "WARNING", "handlers": [], "propagate": False},
    },
}


def post_worker_init(worker: Any) -> None:
    """Serve the metrics beside the application, in the worker that has them."""
    hub = worker.wsgi.extensions["hub"]
    port = int(os.environ.get("METRICS_PORT") or 8001)
    start_http_server(port, registry=hub.metrics.registry)


def worker_exit(_server: Any, worker: Any) -> None:
    """Let webhooks and spans that are under way get out."""
    hub = getattr(worker.wsgi, "extensions", {}).get("hub")
    if hub is not None:
        hub.close()
