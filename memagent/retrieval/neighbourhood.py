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
    """Passages in ascending `rows` of a table, and the units (messages, or passages of documents) at offsets around theirs."""

    def __init__(self, table: PassageTable, rows: Rows, offsets: Sequence[int]) -> None:
        prose = table.talk().prose
        of_prose = prose[table.sessions.rows[rows]]
        of_units = np.where(of_prose, rows, table.message_of(rows)[0])  # ascending too
        begins = np.ones(len(rows), np.bool_)
        begins[1:] = of_units[1:] != of_units[:-1]
        units, self._unit = of_units[begins], np.cumsum(begins) - 1
        near = _near(table, units, of_prose[begins], offsets)
        wanted = np.zeros(len(table), np.bool_)
        wanted[units] = True
        for found in near.values():
            wanted[found[found != NONE]] = True
        known = np.flatnonzero(wanted)
        numbers = np.where(prose[table.sessions.rows[known]], 1, table.message_of(known)[1])
        self._starts = np.cumsum(numbers) - numbers
        self.rows = np.arange(int(numbers.sum())) + np.repeat(known - self._starts, numbers)
        """Every row whose value `best` wants to know."""
        self._places = {offset: np.where(found == NONE, NONE, np.searchsorted(known, found)) for offset, found in near.items()}

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


def _near(table: PassageTable, units: Rows, of_prose: NDArray[np.bool_], offsets: Sequence[int]) -> dict[int, Rows]:
    """The unit at each offset from each, in the same session and of documents in the same one; `NONE` where none is."""
    sessions, found = table.sessions.rows[units], {}
    for step in (-1, 1):
        passages = messages = units
        for distance in range(1, max((step * offset for offset in offsets), default=0) + 1):
            passages, messages = table.next_passages(passages, step), table.next_messages(messages, step)
            if step * distance in offsets:
                other = np.where(of_prose, passages, messages)
                same = (other != NONE) & (table.sessions.rows[other] == sessions) & table.alive.rows[other]
                same &= ~of_prose | (table.seqs.rows[other] == table.seqs.rows[units])
                found[step * distance] = np.where(same, other, NONE)
    return found
