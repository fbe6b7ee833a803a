"""Embedders by name: `minilm`, `hash` or `hash:DIMENSION`, `st:MODEL` (any sentence-transformers model), and plug-ins.

Plug-ins register a class without arguments in the entry-point group `memagent.embedders`.
"""

from __future__ import annotations

import re
from importlib.metadata import entry_points

from memagent.errors import InputError, unknown_name
from memagent.retrieval.embedders.base import Embedder
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.retrieval.embedders.minilm import MiniLm, model_folder

GROUP = "memagent.embedders"
_DIMENSION = re.compile("[1-9][0-9]{0,4}")


def resolve_embedder(name: str | None) -> str | None:
    """The full name that `name` stands for, as a store remembers it; None is no embedder. Loads nothing.

    "auto" is `minilm` where its weights are installed, else None; "none" is None; "hash" is "hash:384". Raises
    `UnknownName` or `InputError` for what is no embedder's name.
    """
    if name is None or name == "none":
        return None
    if name == "auto":
        return None if model_folder() is None else "minilm"
    kind, _, detail = name.partition(":")
    if name == "minilm" or (kind == "st" and detail):
        return name
    if kind == "hash":
        if detail and not _DIMENSION.fullmatch(detail):
            raise InputError(f"a hash embedder is named hash:DIMENSION, such as hash:384, not {name!r}")
        return f"hash:{detail or 384}"
    plugins = entry_points(group=GROUP).names
    if name in plugins:
        return name
    raise unknown_name("embedder", name, ["minilm", "hash", "st:MODEL", *plugins])


def load_embedder(name: str) -> Embedder:
    """The embedder of a name. Raises as `resolve_embedder` does, and `MissingExtra` with the line that installs it."""
    resolved = resolve_embedder(name)
    if resolved is None or resolved == "minilm":
        return MiniLm()  # where it is not installed, its error says how that is done
    kind, _, detail = resolved.partition(":")
    if kind == "hash":
        return HashEmbedder(dimension=int(detail))
    if kind == "st":
        from memagent.retrieval.embedders.sentence_transformers import SentenceTransformerEmbedder

        return SentenceTransformerEmbedder(detail)
    (plugin,) = entry_points(group=GROUP, name=resolved)
    found: Embedder = plugin.load()()
    return found
