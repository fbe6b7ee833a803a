"""Late interaction: each word of a question against each word of a passage, by the states that the embedder gives them.

For every token of a question the best cosine over the tokens of a passage is taken (MaxSim of ColBERT, Khattab and Zaharia
2020, arXiv 2004.12832, here with an embedder that was not trained for it); tokens count by how rare they are among the
user's passages. A state is some 64 bytes, so that a turn of a talk takes 1 KB. An assistant's long answers have none: they
hold so many words that the best cosines tell little, and take most of the room.

States of all passages lie in one array in the order in which they came; a passage knows where its own begin. Those of
emptied passages stay until the index is made anew.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memagent.retrieval.embedders.base import TokenStates
from memagent.retrieval.growable_array import GrowableArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

VOCABULARY = 1 << 16
"""Token ids lie below."""
BLOCK = 8_192
"""States compared at once: as floats they stay in the processor's cache."""
SLICE = 512
"""States in one product of matrices."""


class TokenIndex:
    """Token states by row, all of one form. A row beyond the last one that got any has none."""

    def __init__(self, form: str, width: int) -> None:
        self.form = form
        self._ids: GrowableArray[np.uint16] = GrowableArray(np.uint16)
        self._states: GrowableArray[np.int8] = GrowableArray(np.int8, width=width)
        self._places: GrowableArray[np.int64] = GrowableArray(np.int64, width=2)  # of each row: first state, number
        self._frequency = np.zeros(VOCABULARY, np.int32)  # rows that hold a token
        self._filled = 0

    def __len__(self) -> int:
        return len(self._places)

    def numbers(self, rows: Rows) -> NDArray[np.int64]:
        """How many states each row has. Shape (rows,)."""
        return self._place(rows)[:, 1]

    def put(self, row: int, tokens: TokenStates) -> None:
        """Give a row its states; those that it had are left behind."""
        self._places.extend(np.zeros((max(0, row + 1 - len(self)), 2), np.int64))
        self.clear(np.array([row]))
        self._places.rows[row] = len(self._ids), len(tokens.ids)
        self._ids.extend(tokens.ids)
        self._states.extend(tokens.states)
        self._frequency[tokens.ids] += 1  # each id is there once
        self._filled += len(tokens.ids) > 0

    def clear(self, rows: Rows) -> None:
        """Forget the states of rows."""
        rows = rows[rows < len(self)]
        for start, number in self._places.rows[rows].tolist():
            self._frequency[self._ids.rows[start : start + number]] -= 1
            self._states.rows[start : start + number] = 0
            self._filled -= number > 0
        self._places.rows[rows] = 0

    def rarity(self, ids: NDArray[np.uint16]) -> Floats:
        """idf of tokens over the rows that have states: ln(1 + (N - df + 0.5) / (df + 0.5)). Shape (ids,)."""
        frequency = self._frequency[ids]
        found: Floats = np.log1p((self._filled - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
        return found

    def best(self, asked: NDArray[np.int8], rows: Rows) -> Floats:
        """The best cosine of each asked state over the states of each row; 0 without states. Shape (rows, asked)."""
        found = np.zeros((len(rows), len(asked)), np.float32)
        query = (asked.T / np.float32(127**2)).astype(np.float32)
        places = self._place(rows)
        filled = np.flatnonzero(places[:, 1])
        starts, numbers = places[filled].T
        ends = np.cumsum(numbers)
        begin = 0
        while begin < len(filled):  # as many rows as fill a block, at least one
            before = int(ends[begin - 1]) if begin else 0
            stop = max(begin + 1, int(np.searchsorted(ends, before + BLOCK, side="right")))
            firsts = ends[begin:stop] - numbers[begin:stop] - before
            picked = np.arange(int(ends[stop - 1]) - before) + np.repeat(starts[begin:stop] - firsts, numbers[begin:stop])
            cosines = _product(self._states.rows[picked], query)
            found[filled[begin:stop]] = np.maximum.reduceat(cosines, firsts, axis=0)
            begin = stop
        return found

    def _place(self, rows: Rows) -> NDArray[np.int64]:
        """First state and number of states of each row, shape (rows, 2)."""
        places = np.zeros((len(rows), 2), np.int64)
        there = rows < len(self)
        places[there] = self._places.rows[rows[there]]
        return places

    def dump(self, order: Rows) -> dict[str, NDArray[np.generic]]:
        """The states of rows, in this order, as arrays."""
        starts, numbers = self._place(order).T
        firsts = np.cumsum(numbers) - numbers
        picked = np.arange(int(numbers.sum())) + np.repeat(starts - firsts, numbers)
        return {
            "token_form": np.frombuffer(self.form.encode(), np.uint8),
            "token_ids": self._ids.rows[picked],
            "token_states": self._states.rows[picked],
            "token_places": np.stack([firsts, numbers], axis=1),
        }

    @classmethod
    def load(cls, arrays: dict[str, NDArray[np.generic]]) -> TokenIndex:
        """What `dump` gave."""
        index = cls(arrays["token_form"].tobytes().decode(), arrays["token_states"].shape[1])
        index._ids.extend(arrays["token_ids"])
        index._states.extend(arrays["token_states"])
        index._places.extend(arrays["token_places"])
        index._frequency += np.bincount(arrays["token_ids"].astype(np.int64), minlength=VOCABULARY).astype(np.int32)
        index._filled = int(np.count_nonzero(index._places.rows[:, 1]))
        return index


def _product(states: NDArray[np.int8], query: Floats) -> Floats:
    """states (n, width) @ query (width, asked), in slices too small for BLAS to wait for its threads."""
    product = np.empty((len(states), query.shape[1]), np.float32)
    for start in range(0, len(states), SLICE):
        np.matmul(states[start : start + SLICE].astype(np.float32), query, out=product[start : start + SLICE])
    return product
