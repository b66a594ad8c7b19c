"""A rule file and its tests in a folder, and promtool: as for the tests of promtool itself."""

from __future__ import annotations

from tests.rules_promtool.conftest import promtool, write

__all__ = ["promtool", "write"]
