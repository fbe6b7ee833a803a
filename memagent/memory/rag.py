"""Retrieval: the passages that answer the question best, within the budget, in the order in which they were said.

While everything fits, everything is shown and nothing is ranked. Otherwise passages are ranked by words, meaning and the
cues of the question (`memagent.retrieval.scoring`) and packed best first. Only ranking needs the embedder; without one,
words alone rank.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from memagent.db import log
from memagent.memory.base import Memory
from memagent.memory.view import ViewLine, line_of, pack, text_recall
from memagent.retrieval.searcher import Hit
from memagent.types import Recall
from memagent_renderers.budget import Budget

_MIN_LINE_TOKENS = 10
"""Hardly a line with its date and speaker costs fewer tokens: bounds how many can fit."""
_USUAL_LINE_TOKENS = 24
"""What a line usually costs: so many are fetched first."""


class RagMemory(Memory):
    """Raw turns and passages, retrieved by hybrid search."""

    kind: ClassVar[str] = "rag"

    def recall(
        self,
        query: str,
        *,
        budget: int | Budget | None = None,
        session: str | None = None,
        exclude: Collection[str] = (),
    ) -> Recall:
        """The lines that answer `query` best, oldest first, with their sources. Raises `InputError` and `BudgetError`."""
        allowed = self._asked(query, budget, session, exclude)
        most = allowed.tokens // _MIN_LINE_TOKENS + 1 + len(exclude)
        likely = allowed.tokens // _USUAL_LINE_TOKENS + 4 + len(exclude)
        searcher = self._backend.searcher(self.user)

        def packed(hits: Sequence[Hit]) -> list[ViewLine]:
            wanted = (hit for hit in hits if hit.stored.message.id not in exclude)
            return pack((line_of(hit.stored, start=hit.start, stop=hit.stop, score=hit.score) for hit in wanted), allowed)

        total, hits = searcher.passages(query, limit=likely, session=session, unless_fewer=most)
        if hits is None or not query.strip():
            newest = [line for line in self._newest(most, session) if line.source.id not in exclude]
            chosen = pack(newest, allowed)
            if query.strip() and (len(chosen) < len(newest) or any(line.shortened for line in chosen)):
                hits = searcher.passages(query, limit=likely, session=session).hits
        if hits is not None and query.strip():
            chosen = packed(hits)
            if len(hits) == likely and len(chosen) >= len(hits) - len(exclude):  # there may be room for more
                chosen = packed(searcher.passages(query, limit=most, session=session).hits or hits)
        shown = {line.source.id for line in chosen}
        return text_recall(chosen, allowed, kind=self.kind, dropped=max(0, total - len(shown.union(exclude))))

    def _newest(self, most: int, session: str | None) -> list[ViewLine]:
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            if user is None:
                return []
            found = log.read(connection, user, session=session, newest_first=True, limit=most)
            return [line_of(stored) for stored in found]
