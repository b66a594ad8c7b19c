"""Lint: what is wrong with rule files, Prometheus' and Alertmanager's configuration, and why."""
