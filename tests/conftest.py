"""What holds for every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Somebody else may need the processor: how long an example takes says nothing about it. And where
# all examples share a fixture, they are meant to.
settings.register_profile(
    "unhurried",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("unhurried")
