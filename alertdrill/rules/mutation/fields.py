"""Take an entry out of a YAML mapping's text; every other entry stays as it was written."""

from __future__ import annotations

from ruamel.yaml.nodes import MappingNode

from alertdrill.rules.document import Place


def remove_entry(text: str, mapping: Place, name: str) -> str:
    """``text`` without the entry ``name`` of ``mapping``, which must have it.

    In block style its lines go; what follows it, comments included, stays.
    """
    node = mapping.node
    assert isinstance(node, MappingNode)
    at = [str(key.value) for key, _ in node.value].index(name)
    key, value = node.value[at]
    if node.flow_style:
        if at + 1 < len(node.value):
            start, end = key.start_mark.index, node.value[at + 1][0].start_mark.index
        else:
            start = node.value[at - 1][1].end_mark.index if at else key.start_mark.index
            end = value.end_mark.index
        return text[:start] + text[end:]
    lines = text.splitlines(keepends=True)
    first = int(key.start_mark.line)
    last = first + 1
    # A value goes on as long as lines are indented more than its key, or are blank.
    while last < len(lines) and _is_below(lines[last], int(key.start_mark.column)):
        last += 1
    while last > first + 1 and not lines[last - 1].strip():
        last -= 1
    return "".join(lines[:first] + lines[last:])


def _is_below(line: str, column: int) -> bool:
    return not line.strip() or len(line) - len(line.lstrip(" ")) > column
