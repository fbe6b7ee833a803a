"""The talk around passages: what was said before and after each, message by message.

A message counts as one, however many passages it has: its value is that of its best passage. In documents there is no turn to
reply to; there the neighbours of a passage are those of its own document.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memagent.retrieval.passages import NONE, PassageTable

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


class Neighbourhood:
    """Passages in `rows` of a table, and the units (messages, or passages of documents) at some offsets around theirs."""

    def __init__(self, table: PassageTable, rows: Rows, offsets: Sequence[int]) -> None:
        prose = table.prose()[table.sessions.rows]
        units, self._unit = np.unique(np.where(prose[rows], rows, table.message_of(rows)[0]), return_inverse=True)
        near = {offset: self._near(table, units, prose, offset) for offset in offsets}
        known = np.unique(np.concatenate([units, *(found[found != NONE] for found in near.values())]))
        numbers = np.where(prose[known], 1, table.message_of(known)[1])
        self._starts = np.cumsum(numbers) - numbers
        self.rows = np.arange(int(numbers.sum())) + np.repeat(known - self._starts, numbers)
        """Every row whose value `best` wants to know."""
        self._places = {offset: np.where(found == NONE, NONE, np.searchsorted(known, found)) for offset, found in near.items()}

    def _near(self, table: PassageTable, units: Rows, prose: NDArray[np.bool_], offset: int) -> Rows:
        other = np.where(prose[units], table.neighbours(units, offset), table.messages_near(units, offset))
        same = (table.sessions.rows[other] == table.sessions.rows[units]) & table.alive.rows[other] & (other != NONE)
        same &= ~prose[units] | (table.seqs.rows[other] == table.seqs.rows[units])
        return np.where(same, other, NONE)

    def best(self, values: Floats) -> Floats:
        """The best value in each unit, for `at`. `values` are those of `rows`, shape (rows, ...)."""
        best: Floats = values if len(self._starts) == len(self.rows) else np.maximum.reduceat(values, self._starts, axis=0)
        return best

    def at(self, offset: int, best: Floats) -> Floats:
        """For each of the own rows the best value in the unit at an offset; 0 where none stands there."""
        place = self._places[offset][self._unit]
        found: Floats = best[place]
        found[place == NONE] = 0
        return found
