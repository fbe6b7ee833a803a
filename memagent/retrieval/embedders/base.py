"""What an embedder is: texts in, unit vectors out.

Many models read a question otherwise than the passages that answer it (they put a prompt before one or both), so a caller
says which of the two its texts are. An embedder has an `id` that changes whenever its vectors would: the store keeps it in
its header and refuses to mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

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
