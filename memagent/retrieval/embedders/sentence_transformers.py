"""Any sentence-transformers model as an embedder, with the prompts that the model itself has for queries and passages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from memagent.errors import ConfigError, MissingExtra
from memagent.forks import ForkLock
from memagent.retrieval.embedders.base import Role, Vectors

_TRUE = ("1", "ON", "YES", "TRUE")  # what huggingface_hub takes for yes


class SentenceTransformerEmbedder:
    """A model by name or folder. Its import takes seconds, so it is loaded with the first text.

    With `HF_HUB_OFFLINE` set, or for a folder, nothing is downloaded. Texts longer than the model reads are cut by it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = f"st:{name}"
        self._model: Any = None
        self._lock = ForkLock()

    @property
    def dimension(self) -> int:
        """Length of a vector, asked of the model."""
        return int(self._load().get_embedding_dimension())

    def embed(self, texts: Sequence[str], *, role: Role = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimension), after the model's prompt for the role and through its route, if any."""
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        model = self._load()
        # They look for a prompt called `query`; for `document`, `passage` or `corpus`. Without one, none is put before.
        encode = model.encode_query if role == "query" else model.encode_document
        return np.asarray(encode(list(texts), normalize_embeddings=True, show_progress_bar=False), np.float32)

    def _load(self) -> Any:
        with self._lock:
            if self._model is not None:
                return self._model
            try:
                from sentence_transformers import SentenceTransformer
            except ModuleNotFoundError as error:
                raise MissingExtra(f"The embedder `{self.id}`", "pip install 'memagent[sentence-transformers]'") from error
            offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE or os.path.isdir(self.name)
            try:
                self._model = SentenceTransformer(self.name, device="cpu", local_files_only=offline)
            except (OSError, ValueError) as error:
                raise ConfigError(f"the embedder `{self.id}` cannot be loaded: {error}") from error
            return self._model
