"""YAML nodes written back in flow style, so that Go reads from them what it read from the file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

# A plain scalar of these letters may stand anywhere as it is. Go reads `0x10`, `yes` or `.inf`
# as a text, a number or a flag by the field that it belongs to: quotes would decide for it.
_PLAIN = re.compile(r"[A-Za-z0-9_.+-]+|<<")
# To YAML, but not to JSON, these end a line or can't be printed.
_BREAKS = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")


def emit(node: Node, replaced: Mapping[Node, str] | None = None) -> str:
    """``node`` in one line; ``replaced`` has YAML text to write in place of some nodes."""
    replaced = replaced or {}
    if node in replaced:
        return replaced[node]
    if isinstance(node, MappingNode):
        entries = (f"{emit(key, replaced)}: {emit(value, replaced)}" for key, value in node.value)
        return "{" + ", ".join(entries) + "}"
    if isinstance(node, SequenceNode):
        return "[" + ", ".join(emit(item, replaced) for item in node.value) + "]"
    assert isinstance(node, ScalarNode)
    if node.style is None and (not node.value or _PLAIN.fullmatch(node.value)):
        return str(node.value) or "null"
    return quoted(node.value)


def quoted(value: str) -> str:
    """``value`` as a double-quoted YAML scalar."""
    text = json.dumps(value, ensure_ascii=False)
    return _BREAKS.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
