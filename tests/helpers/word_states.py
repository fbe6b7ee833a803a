"""An embedder with token states that needs no model: each word has a direction of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from memagent.retrieval.embedders.base import Role, TokenStates, Vectors
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.text import tokens


class WordStates(HashEmbedder):
    """`HashEmbedder` with a state for each word that carries content; keeps what it was asked to embed."""

    def __init__(self, form: str | None = "words-1") -> None:
        super().__init__(dimension=64)
        self.token_form = form
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str], *, role: Role = "passage") -> Vectors:
        self.asked += texts
        return super().embed(texts, role=role)

    def embed_tokens(self, texts: Sequence[str], *, role: Role = "passage") -> tuple[Vectors, list[TokenStates]]:
        return self.embed(texts, role=role), [self._states(text) for text in texts]

    def _states(self, text: str) -> TokenStates:
        words = list(dict.fromkeys(tokens.content_terms(text)))
        ids = [int.from_bytes(hashlib.blake2b(word.encode(), digest_size=2).digest(), "big") for word in words]
        states = [np.random.default_rng(number).standard_normal(16) for number in ids]
        states = [127 * one / np.linalg.norm(one) for one in states]
        assert self.token_form is not None
        return TokenStates(np.array(ids, np.uint16), np.rint(states).astype(np.int8).reshape(-1, 16), self.token_form)
