"""GGUF files of a few facts."""

from __future__ import annotations

import struct


def header_bytes(**facts: str | int) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    pairs = b""
    for key, value in facts.items():
        pairs += text(key.replace("__", "."))
        pairs += struct.pack("<I", 8) + text(value) if isinstance(value, str) else struct.pack("<II", 4, value)
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(facts)) + pairs
