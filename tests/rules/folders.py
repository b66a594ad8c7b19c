"""A folder of monitoring files, compressed into another one."""

from __future__ import annotations

from pathlib import Path

from alertdrill.rules.compress import Compressed, compress


def compress_directory(src: Path, dest: Path, factor: float) -> Compressed:
    """Compress ``src``'s prometheus.yml, rule files and alertmanager.yml into ``dest``."""
    compressed = compress(src / "prometheus.yml", src / "alertmanager.yml", factor)
    dest.mkdir(parents=True, exist_ok=True)
    for name, text in compressed.texts.items():
        # Not write_text: it would translate line ends.
        (dest / name).write_bytes(text.encode("utf-8"))
    return compressed
