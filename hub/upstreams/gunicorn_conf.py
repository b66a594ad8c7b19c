"""gunicorn for the upstream stubs."""

from __future__ import annotations

import os

bind = f"0.0.0.0:{os.environ.get('PORT', '8080')}"
workers = 1
worker_class = "gthread"
threads = 16
keepalive = 75
graceful_timeout = 1
control_socket_disable = True
worker_tmp_dir = "/dev/shm"
accesslog = None
