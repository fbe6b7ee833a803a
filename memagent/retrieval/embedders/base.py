"""What an embedder is: texts in, unit vectors out.

Many models read a question otherwise than the passages that answer it (they put a prompt before one or both), so a caller
says which of the two its texts are. An embedder has an `id` that changes whenever its vectors would: the store keeps it in
its header and refuses to mix.

One that also tells what it makes of each word of a text (its token states) is a `TokenEmbedder`; search then compares the
words of a question with those of a passage one by one (`memagent.retrieval.token_index`). None has to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

Role = Literal["passage", "query"]


class Embedder(Protocol):
    """Maps texts to vectors of unit length."""

    id: str
    """Names model, version and settings; two embedders with the same id give the same vectors."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def embed(self, texts: Sequence[str], *, role: Role = "passage") -> Vectors:
        """Vectors of shape (len(texts), dimension), float32, each of length 1.

        `role` is what the texts are: passages that are searched, or queries. A symmetric embedder ignores it.
        """
        ...


@dataclass(frozen=True)
class TokenStates:
    """What a model makes of each token of a text that carries content; each token of its vocabulary once."""

    ids: NDArray[np.uint16]
    """Numbers of the tokens in the vocabulary, shape (tokens,)."""
    states: NDArray[np.int8]
    """Their directions, of length 127, shape (tokens, width)."""

    form: str
    """Names how they were made: states of two forms cannot be compared."""

    def to_bytes(self) -> bytes:
        """For a store: the form, the shape, the ids, the states."""
        head = self.form.encode() + b"\0" + np.array(self.states.shape, "<u2").tobytes()
        return head + self.ids.astype("<u2").tobytes() + self.states.tobytes()

    @classmethod
    def from_bytes(cls, raw: bytes) -> TokenStates:
        """What `to_bytes` gave. Raises `ValueError` for bytes that are cut."""
        form, _, rest = raw.partition(b"\0")
        number, width = np.frombuffer(rest, "<u2", 2).tolist()
        ids = np.frombuffer(rest, "<u2", number, offset=4).astype(np.uint16)
        states = np.frombuffer(rest, np.int8, number * width, offset=4 + 2 * number)
        return cls(ids, states.reshape(number, width), form.decode())


class TokenEmbedder(Embedder, Protocol):
    """An embedder that gives token states in the pass that makes the vectors."""

    token_form: str | None
    """The form of its token states; stored ones of another form are made anew. None: this one gives none."""

    def embed_tokens(self, texts: Sequence[str], *, role: Role = "passage") -> tuple[Vectors, list[TokenStates]]:
        """The vectors of `embed`, and the token states of each text."""
        ...


def gives_tokens(embedder: Embedder) -> TypeGuard[TokenEmbedder]:
    """Whether an embedder gives token states."""
    return getattr(embedder, "token_form", None) is not None
