"""JSON files that readers never see half written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def replace_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write ``document`` in the place of what ``path`` is now. Raises OSError."""
    # Not *.json: pathlib's glob takes dotfiles too, and this one is about to go.
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    os.replace(fresh, path)
