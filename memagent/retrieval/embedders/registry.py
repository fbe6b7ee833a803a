"""Embedders by name: `minilm`, `hash` or `hash:DIMENSION`, `st:MODEL` (any sentence-transformers model), and plug-ins.

Plug-ins register a class without arguments in the entry-point group `memagent.embedders`.
"""

from __future__ import annotations

import re
from importlib.metadata import entry_points

from memagent.errors import InputError, unknown_name
from memagent.retrieval.embedders.base import Embedder, HashEmbedder
from memagent.retrieval.embedders.minilm import MiniLm, model_folder

GROUP = "memagent.embedders"
_DIMENSION = re.compile("[1-9][0-9]{0,4}")
_BUILT_IN = ("minilm", "hash", "st:MODEL")


def load_embedder(name: str) -> Embedder:
    """The embedder of a name. Raises `UnknownName`, `InputError`, or `MissingExtra` with the line that installs it."""
    kind, _, detail = name.partition(":")
    if kind == "minilm" and not detail:
        return MiniLm()
    if kind == "hash":
        if detail and not _DIMENSION.fullmatch(detail):
            raise InputError(f"a hash embedder is named hash:DIMENSION, such as hash:384, not {name!r}")
        return HashEmbedder(dimension=int(detail or 384))
    if kind == "st" and detail:
        from memagent.retrieval.embedders.sentence_transformers import SentenceTransformerEmbedder

        return SentenceTransformerEmbedder(detail)
    plugins = {point.name: point for point in entry_points(group=GROUP)}
    if name in plugins:
        found: Embedder = plugins[name].load()()
        return found
    raise unknown_name("embedder", name, [*_BUILT_IN, *plugins])


def canonical_name(name: str) -> str:
    """The name under which a store remembers the embedder of this name."""
    return "hash:384" if name in ("hash", "hash:") else name


def default_embedder_name() -> str | None:
    """The embedder used when nobody names one: `minilm` where its weights are installed, else None. Loads nothing."""
    return None if model_folder() is None else "minilm"
