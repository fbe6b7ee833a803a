"""Retrieval: the passages that answer the question best, within the budget, in the order in which they were said.

While everything fits, everything is shown. Otherwise passages are ranked by words, meaning and the cues of the question
(`memagent.retrieval.scoring`) and packed best first, the best ones with the newest that corrects them. What corrects one of
the best passages stands before it, however much later it was said: who reads on meets the newest value first. Of a passage
that would take most of the budget, the sentences that fit the question best are shown. Only ranking needs the embedder;
without one, words alone rank.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from memagent.db import log
from memagent.memory.base import Memory
from memagent.memory.view import ViewLine, line_of, pack, shown_whole, text_recall
from memagent.retrieval.searcher import Hit
from memagent.retrieval.short_texts import Text, Texts, fused, lexical_scores
from memagent.text.amendments import REACH
from memagent.text.attributes import meaning, topic_words
from memagent.text.corrections import ANOTHER_VALUE, COMPARED, name_alike, outdates
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
_SUBJECT = 6
"""Passages that may correct one which are compared with it."""
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
        """The lines that answer `query` best, with their sources, oldest first; a correction stands before what it corrects.

        Raises `InputError` and `BudgetError`.
        """
        allowed = self._asked(query, budget, session, exclude)
        most = allowed.tokens // _MIN_LINE_TOKENS + 1 + len(exclude)
        likely = allowed.tokens // _USUAL_LINE_TOKENS + 4 + len(exclude)
        searcher = self._backend.searcher(self.user)
        parts: dict[tuple[int, ...], tuple[int, int]] = {}  # characters shown of a message and all it has, by a line's order

        def lines(hits: Sequence[Hit], corrected: Sequence[tuple[Hit, Hit]]) -> Iterator[ViewLine]:
            places = _places(corrected)
            for hit in _behind(hits, corrected):
                if hit.stored.message.id not in exclude:
                    start, stop = self._span(query, hit, allowed)
                    line = _placed(line_of(hit.stored, start=start, stop=stop, score=hit.score), places)
                    parts[line.order] = (stop - start, len(hit.stored.message.text))
                    yield line

        total, hits = searcher.passages(query, limit=likely, session=session, unless_fewer=most)
        if hits is None or not query.strip():
            newest = [line for line in self._newest(most, session) if line.source.id not in exclude]
            chosen = pack(newest, allowed)
            if query.strip():
                if len(chosen) < len(newest) or any(line.shortened for line in chosen):
                    hits = searcher.passages(query, limit=likely, session=session).hits
                else:
                    best = searcher.passages(query, limit=_SUBJECT, session=session, mode="lexical").hits or []
                    places = _places(self._corrections(query, best, session))
                    chosen = [_placed(line, places) for line in chosen]
        if hits is not None and query.strip():
            corrected = self._corrections(query, hits, session)
            chosen = pack(lines(hits, corrected), allowed)
            if len(hits) == likely and len(chosen) >= len(hits) - len(exclude):  # there may be room for more
                more = searcher.passages(query, limit=most, session=session).hits or hits
                chosen = pack(lines(more, corrected), allowed)
        whole = shown_whole(chosen, parts)
        return text_recall(chosen, allowed, kind=self.kind, dropped=max(0, total - len(whole.union(exclude))))

    def _corrections(self, query: str, hits: Sequence[Hit], session: str | None) -> list[tuple[Hit, Hit]]:
        """What is corrected and what corrects it: of each of the best hits the newest that does, and what the hit corrects."""
        best = [hit for hit in hits[:_CORRECTABLE] if hit.stored.message.role == "user"]
        found = []
        candidates = self._backend.searcher(self.user).corrections(best, _about, limit=_SUBJECT, reach=REACH, session=session)
        for hit, (alike, near) in zip(best, candidates, strict=True):
            spoken = [one for one in hits[:_SUBJECT] if _voice(one) == _voice(hit)]
            later: list[tuple[Hit, Sequence[Hit] | None]] = [(new, None) for new in alike]
            later += [(new, None) for new in spoken if new.stored.seq > hit.stored.seq]
            later += [(new, near[:at]) for at, new in enumerate(near)]
            if (newest := _correction(hit, later, query)) is not None:
                found.append((hit, newest))
            found += [(old, hit) for old in spoken if old.stored.seq < hit.stored.seq and _outdates(hit, old, query)]
        return found

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


def _compared(hit: Hit) -> str:
    return hit.text[:COMPARED]


def _about(hit: Hit) -> str:
    """What is looked for in what may correct a passage: its words, and those of the side of a life that it is about."""
    return f"{_compared(hit)} {' '.join(topic_words(meaning(_compared(hit)).topics))}"


def _correction(old: Hit, later: Sequence[tuple[Hit, Sequence[Hit] | None]], query: str) -> Hit | None:
    """The likeliest correction, of equals the newest, among what was said later; each with what was said between."""
    likeliest, weight = None, 0.0
    for new, between in sorted(later, key=lambda one: -one[0].stored.seq):
        if (likely := _outdates(new, old, query, between)) > weight:
            likeliest, weight = new, likely
        if weight == ANOTHER_VALUE:  # nothing is likelier
            break
    return likeliest


def _outdates(new: Hit, old: Hit, query: str, between: Sequence[Hit] | None = None) -> float:
    """How likely one passage corrects another; other values of the same thing are all as likely."""
    later, earlier = _compared(new), _compared(old)
    if between is None and not new.may_correct and not name_alike(later, earlier):
        return 0.0
    said = None if between is None else list(map(_compared, between))
    return min(outdates(later, earlier, query, between=said), ANOTHER_VALUE)


def _behind(hits: Sequence[Hit], corrected: Sequence[tuple[Hit, Hit]]) -> list[Hit]:
    """The hits, best first, and right behind each what corrects it, unless that ranks better itself."""
    known = {(hit.stored.seq, hit.start): hit for hit in (*hits, *(new for _, new in corrected))}
    order = [(hit.stored.seq, hit.start) for hit in hits]
    for old, new in (((old.stored.seq, old.start), (new.stored.seq, new.start)) for old, new in corrected):
        if old in order and new not in order[: order.index(old)]:
            order = [one for one in order if one != new]
            order.insert(order.index(old) + 1, new)
    return [known[one] for one in order]


def _places(corrected: Sequence[tuple[Hit, Hit]]) -> dict[int, int]:
    """Messages that correct or are corrected, each with the oldest of those that belong together; by place in the log."""
    places: dict[int, int] = {}
    for pair in corrected:
        seqs = [hit.stored.seq for hit in pair]
        known = {places.get(seq, seq) for seq in seqs}
        together = {*seqs, *(seq for seq, place in places.items() if place in known)}
        places |= dict.fromkeys(together, min(together))
    return places


def _placed(line: ViewLine, places: Mapping[int, int]) -> ViewLine:
    """The line where it is to stand: messages that belong together where the oldest was said, the newest of them first."""
    seq, start = line.order
    return replace(line, order=(places[seq], -1, -seq, start)) if seq in places else line
