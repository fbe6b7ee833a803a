"""Token states of MiniLM small enough to keep: 64 bytes for each token that carries content.

The model computes a state of 384 numbers for every token, of which its sentence vector is the mean. Compared one by one
(Khattab and Zaharia 2020, arXiv 2004.12832, there trained; here as they are) they find what the mean blurs. Function words
and punctuation are dropped, a token that occurs twice is kept once, and states are projected to the 64 directions in
which they differ most, then rounded to 8 bits.

The directions, and which tokens carry content, are a file of this package, so that states made anywhere can be compared.
It was made by

    python -m memagent.retrieval.embedders.minilm_tokens

from sentences that the module generates itself: templates filled with words of the model's own vocabulary. Whoever makes
another one raises `FORM`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memagent.retrieval.embedders.base import TokenStates, Vectors

FORM = "minilm-64-1"
TOKEN_WIDTH = 64

_FILE = Path(__file__).with_name("minilm_tokens.npz")
_TEMPLATES = (
    "I went to the {} with my {} and we talked about {}.",
    "What did you say about the {} of {}?",
    "My {} likes {} more than {}.",
    "We are planning a {} for the {} next {}.",
    "She told me that {} was {} because of the {}.",
    "Do you remember the {} {}?",
    "Last week I bought a {} {} at the {}.",
    "The {} needs {} before we can {} it.",
    "{}, {} and {}",
    "Thanks! The {} was really {}, I {} it.",
)
_SENTENCES = 4_000


@dataclass(frozen=True)
class TokenProjection:
    """How states are made small."""

    directions: Vectors
    """Shape (384, 64), columns of unit length."""
    content: NDArray[np.bool_]
    """1 = this token of the vocabulary carries content. Shape (30522,)."""

    @classmethod
    def load(cls) -> TokenProjection:
        """The one of this package."""
        with np.load(_FILE) as file:
            return cls(file["directions"].astype(np.float32), np.unpackbits(file["content"]).astype(np.bool_))

    def __call__(self, ids: NDArray[np.int64], states: Vectors) -> TokenStates:
        """The states of one text: ids (tokens,), states (tokens, 384)."""
        places = np.flatnonzero(self.content[ids])
        _, first = np.unique(ids[places], return_index=True)
        kept = places[np.sort(first)]
        small = states[kept] @ self.directions
        small *= 127 / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-9)
        return TokenStates(ids[kept].astype(np.uint16), np.rint(small).astype(np.int8), FORM)


def _make(seed: int = 0) -> TokenProjection:
    """The projection from generated sentences: the first singular directions of their states, no mean removed."""
    from tokenizers import Tokenizer

    from memagent.retrieval.embedders.minilm import WIDTH, MiniLm, model_folder
    from memagent.text.wordlists import words

    folder = model_folder()
    assert folder is not None, "the weights of MiniLM are needed"
    vocabulary: dict[str, int] = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    idle = words("question_words") | words("function_words")
    content = np.zeros(-(-len(vocabulary) // 8) * 8, np.bool_)  # whole bytes
    for token, number in vocabulary.items():
        content[number] = token not in idle and any(map(str.isalnum, token)) and not re.fullmatch(r"\[.+\]", token)
    fillers = sorted(token for token in vocabulary if re.fullmatch("[a-z]{3,}", token) and token not in idle)
    random = np.random.default_rng(seed)
    templates = [_TEMPLATES[number] for number in random.integers(len(_TEMPLATES), size=_SENTENCES)]
    sentences = [one.format(*random.choice(fillers, one.count("{}"))) for one in templates]
    moments = np.zeros((WIDTH, WIDTH), np.float64)
    for _, ids, states, _ in MiniLm().passes(sentences):
        kept = states[content[ids]]
        kept /= np.linalg.norm(kept, axis=1, keepdims=True)
        moments += kept.T @ kept
    directions = np.linalg.eigh(moments)[1][:, ::-1][:, :TOKEN_WIDTH]  # eigh sorts upwards
    return TokenProjection(directions.astype(np.float32), content)


if __name__ == "__main__":
    made = _make()
    np.savez_compressed(_FILE, directions=made.directions.astype(np.float16), content=np.packbits(made.content))
