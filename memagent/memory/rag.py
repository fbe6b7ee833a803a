"""Retrieval: the passages that answer the question best, within the budget, in the order in which they were said.

While everything fits, everything is shown and nothing is ranked. Otherwise passages are ranked by words, meaning and the
cues of the question (`memagent.retrieval.scoring`) and packed best first, the best ones with the newest that corrects them. Of
a passage that would take most of the budget, the sentences that fit the question best are shown. Only ranking needs the
embedder; without one, words alone rank.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import numpy as np

from memagent.db import log
from memagent.memory.base import Memory
from memagent.memory.view import ViewLine, line_of, pack, text_recall
from memagent.retrieval.searcher import Hit
from memagent.retrieval.short_texts import Text, Texts, fused, lexical_scores
from memagent.text.attributes import meaning, topic_words
from memagent.text.corrections import ANOTHER_VALUE, outdates
from memagent.text.sentences import sentence_spans, spans
from memagent.types import Recall
from memagent_renderers.budget import Budget

_MIN_LINE_TOKENS = 10
"""Hardly a line with its date and speaker costs fewer tokens: bounds how many can fit."""
_USUAL_LINE_TOKENS = 24
"""What a line usually costs: so many are fetched first."""
_SHARE = 0.5
"""Of the budget, that one passage may take."""
_CORRECTABLE = 3
"""Best passages for which corrections are looked for."""
_SUBJECT = 24
"""Passages about the subject of one that are looked through."""
_COMPARED = 600
"""Characters of a passage that are compared."""
_LONGEST_PART = 160
"""Characters of what is shown of a passage at least."""


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
        parts: dict[tuple[int, int], tuple[int, int]] = {}  # characters shown of a message and all it has, by a line's order

        def packed(hits: Sequence[Hit]) -> list[ViewLine]:
            lines: list[ViewLine] = []
            for hit in self._with_corrections(query, hits, session):
                if hit.stored.message.id not in exclude:
                    start, stop = self._span(query, hit, allowed)
                    lines.append(line_of(hit.stored, start=start, stop=stop, score=hit.score))
                    parts[lines[-1].order] = (stop - start, len(hit.stored.message.text))
            return pack(lines, allowed)

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
        whole = {line.source.id for line in chosen if _is_whole(line, chosen, parts)}
        return text_recall(chosen, allowed, kind=self.kind, dropped=max(0, total - len(whole.union(exclude))))

    def _with_corrections(self, query: str, hits: Sequence[Hit], session: str | None) -> list[Hit]:
        """Hits, and behind each of the best ones the newest that corrects it, however little it looks like the question."""
        found = dict.fromkeys(hits)
        for place, hit in enumerate(hits[:_CORRECTABLE]):
            newest = self._correction(query, hit, hits, session)
            if newest is not None:
                order = [one for one in found if one[:3] != newest[:3]]
                order.insert(min(order.index(hit) if hit in order else place, len(order)) + 1, newest)
                found = dict.fromkeys(order)
        return list(found)

    def _correction(self, query: str, old: Hit, hits: Sequence[Hit], session: str | None) -> Hit | None:
        """The newest passage that corrects one, out of hits and of what a search for its subject finds."""
        if old.stored.message.role != "user":
            return None
        subject = " ".join(topic_words(meaning(old.text[:_COMPARED]).topics))
        searcher = self._backend.searcher(self.user)
        about = searcher.passages(f"{old.text[:_COMPARED]} {subject}", limit=_SUBJECT, session=session, mode="lexical").hits
        best: tuple[float, int, Hit] | None = None
        for hit in (*hits, *(about or ())):
            if hit.stored.seq > old.stored.seq and _voice(hit) == _voice(old):
                weight = min(outdates(hit.text[:_COMPARED], old.text[:_COMPARED], query), ANOTHER_VALUE)
                if weight and (best is None or (weight, hit.stored.seq) > best[:2]):
                    best = (weight, hit.stored.seq, hit)
        return None if best is None else best[2]

    def _span(self, query: str, hit: Hit, budget: Budget) -> tuple[int, int]:
        """Where a passage stands; of one that takes most of the budget, the part that fits the question best."""
        room, count = int(_SHARE * budget.tokens), budget.reader.count
        if len(hit.text) <= room or count(hit.text) <= room:
            return hit.start, hit.stop
        parts = [
            (hit.start + start + left, hit.start + start + right)
            for start, stop in sentence_spans(hit.text)
            for left, right in spans(hit.text[start:stop], limit=_LONGEST_PART)
        ]
        text = hit.stored.message.text
        first = last = self._best(query, [text[start:stop] for start, stop in parts])
        while True:
            wider = [(first, last + 1)] * (last + 1 < len(parts)) + [(first - 1, last)] * (first > 0)
            fits = [one for one in wider if count(text[parts[one[0]][0] : parts[one[1]][1]]) <= room]
            if not fits:
                return parts[first][0], parts[last][1]
            first, last = fits[0]

    def _best(self, query: str, texts: Sequence[str]) -> int:
        """Place of the text that answers a question best."""
        lexical, embedder = lexical_scores(query, Texts([Text.of(text) for text in texts])), self._backend.embedder()
        dense = None if embedder is None else embedder.embed(list(texts)) @ embedder.embed([query], role="query")[0]
        return int(fused(lexical, dense, np.zeros_like(lexical)).argmax())

    def _newest(self, most: int, session: str | None) -> list[ViewLine]:
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            if user is None:
                return []
            found = log.read(connection, user, session=session, newest_first=True, limit=most)
            return [line_of(stored) for stored in found]


def _voice(hit: Hit) -> tuple[str, str | None]:
    return hit.stored.message.role, hit.stored.message.speaker


def _is_whole(line: ViewLine, chosen: Sequence[ViewLine], parts: Mapping[tuple[int, int], tuple[int, int]]) -> bool:
    """Whether the message of a line is shown whole, by this line or by it and others."""
    own = [one for one in chosen if one.source.id == line.source.id]
    shown, size = sum(parts.get(one.order, (0, 0))[0] for one in own), parts.get(line.order, (0, 0))[1]
    return shown >= size and not any(one.shortened for one in own)
