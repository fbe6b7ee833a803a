"""The first facts of a GGUF file, read without llama.cpp.

A GGUF file opens with a magic number, a version and a list of typed key-value pairs. `read_header` takes the pairs up
to the vocabulary, which holds tens of thousands of strings and comes after the facts we need, so it costs well under a
millisecond. It is how a file that is no model is refused with a clear message before native code sees it. llama.cpp's
own report on a loaded model names neither its architecture nor the kind of a projector, by which pictures are priced;
the package gguf reads the whole vocabulary first, which takes seconds.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from memagent.errors import ConfigError

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class GgufHeader:
    """Facts of one file."""

    architecture: str
    """Such as `llama`, `qwen2vl`, or `clip` for a projector."""
    name: str
    """The author's name for the model; empty when absent."""
    context: int
    """Tokens the model was trained to read; 0 when absent, as in a projector."""
    projector: str
    """Kind of projector, such as `qwen2.5vl_merger`; empty for a language model."""


def read_header(path: Path) -> GgufHeader:
    """The facts of the file at `path`. Raises `ConfigError` when it is missing or no GGUF file."""
    try:
        with path.open("rb") as file:
            facts = _facts(file)
    except FileNotFoundError as error:
        raise ConfigError(f"no model file at `{path}`") from error
    except (OSError, struct.error, ValueError, UnicodeDecodeError) as error:
        raise ConfigError(f"`{path}` is not a readable GGUF model file: {error}") from error
    architecture = str(facts.get("general.architecture", ""))
    context = facts.get(f"{architecture}.context_length", 0)
    projector = facts.get("clip.projector_type", facts.get("clip.vision.projector_type", ""))
    return GgufHeader(
        architecture=architecture,
        name=str(facts.get("general.name", "")),
        context=context if isinstance(context, int) else 0,
        projector=str(projector),
    )


def _facts(file: BinaryIO) -> dict[str, object]:
    def take(layout: str) -> tuple[Any, ...]:
        data = file.read(struct.calcsize(layout))
        if len(data) != struct.calcsize(layout):
            raise ValueError("it ends in the middle of its header")
        return struct.unpack(layout, data)

    def text() -> str:
        (size,) = take("<Q")
        if size > 1 << 24:
            raise ValueError(f"a piece of {size} bytes in the header")
        return str(take(f"<{size}s")[0], "utf-8", "replace")

    def value(kind: int) -> object:
        if kind == _STRING:
            return text()
        if kind == _ARRAY:
            inner, size = take("<IQ")
            return [value(inner) for _ in range(size)]
        if kind not in _SCALARS:
            raise ValueError(f"value type {kind} is unknown")
        return take(_SCALARS[kind])[0]

    if file.read(4) != b"GGUF":
        raise ValueError("it does not begin with the letters GGUF")
    version, _tensors, pairs = take("<IQQ")
    if version not in (2, 3):
        raise ValueError(f"GGUF version {version}; versions 2 and 3 are known")
    facts: dict[str, object] = {}
    for _ in range(pairs):
        key = text()
        if key.startswith("tokenizer."):
            break
        facts[key] = value(*take("<I"))
    return facts
