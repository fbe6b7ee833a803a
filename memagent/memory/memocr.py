"""MemOCR: the memory drawn as a picture, what matters for the question in large type (MemOCR specification, sections 1 and 2).

`flush` drafts without a model: each sentence of a user's message that states something becomes a line of the draft that rests
on its message, so that forgetting the message takes the line off the page at once; a message without such a sentence is
kept whole, unless it is a question.
`recall` orders lines by the question, without a model: the best becomes a heading, the next ones bold, the rest
body text, and what does not fit under the budget of visual tokens is dropped from the bottom and counted on the page.
Messages not drafted yet are drawn as well. Text of messages is escaped: it can fake neither a heading nor HTML.

The paper's chunk loop, in which a model drafts the Markdown, is not built yet: a `model` is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from memagent.errors import ConfigError
from memagent.memory import salience
from memagent.memory.distilled import Distilled, DistilledMemory, Proposal
from memagent.memory.lines import clean, day
from memagent.memory.results import Recall, Source
from memagent.messages import Message
from memagent.retrieval.analysis import query_terms, terms
from memagent.store import log, revisions
from memagent.store.revisions import Revision
from memagent.store.store import Store
from renderers.reader import Budget, Picture

CHARACTERS_PER_TOKEN = 40
"""More than a visual token ever shows legibly: bounds how many lines are laid out."""
LONGEST_LINE = 400
BOLD_LINES = 3
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~&:=^])")


class MemOcrMemory(DistilledMemory):
    """A draft in lines, laid out and drawn at recall. `engine` is "embedded", "chromium" or "fake"."""

    kind: ClassVar[str] = "memocr"
    default_budget: ClassVar[int] = 256

    def __init__(self, store: Store, *, engine: str = "embedded", **options: Any) -> None:
        super().__init__(store, **options)
        if self.model is not None:
            raise ConfigError("memory `memocr` drafts without a model in this version; leave the model out")
        self.engine = engine

    def _distil(self, messages: Sequence[log.Stored], known: Mapping[str, Revision]) -> Distilled:
        seen = {one.text.casefold() for one in known.values()}
        proposals: list[Proposal] = []
        for one in messages:
            text = one.message.text.strip()
            if one.message.role != "user" or not text:
                continue
            stated = salience.facts(text)
            for line in stated or ([] if text.endswith("?") else [text[:LONGEST_LINE]]):
                if line.casefold() not in seen:
                    seen.add(line.casefold())
                    tier = "body" if stated else "small"
                    proposals.append(Proposal("add", line, "drafted", (one.seq,), data={"tier": tier}))
        return Distilled(tuple(proposals))

    def recall(
        self,
        query: str,
        *,
        budget: int | Budget | None = None,
        session: str | None = None,
        exclude: Collection[str] = (),
    ) -> Recall:
        """A picture of the lines that fit the query best, largest first. The view of an empty memory is no picture but ""."""
        from renderers.budget import tokens_for

        allowed = self._budget(budget)
        tokens_for(allowed)
        lines = [one for one in self._lines(session) if not (one.messages and set(one.messages) <= set(exclude))]
        wanted = set(query_terms(query))
        ranked = sorted(enumerate(lines), key=lambda one: (-len(wanted & set(terms(one[1].text))), -one[0]))
        chosen = _overfilling([line for _, line in ranked], allowed.tokens * CHARACTERS_PER_TOKEN)
        if not chosen:
            return Recall(view="", cost=0, budget=allowed.tokens, kind=self.kind, exact=allowed.reader.exact)
        picture = self._draw(chosen, allowed)
        shown = chosen[: len(chosen) - picture.dropped]
        return Recall(
            view=picture,
            cost=picture.tokens,
            budget=allowed.tokens,
            kind=self.kind,
            exact=allowed.reader.exact,
            sources=tuple(shown),
            dropped=len(lines) - len(shown),
        )

    def _draw(self, lines: Sequence[Source], budget: Budget) -> Picture:
        from renderers.cache import PictureCache
        from renderers.engines import shared_engine
        from renderers.picture import render

        folder = None if self.store.read_only else self.store.picture_folder(self.user)
        return render(markdown(lines), budget, engine=shared_engine(self.engine), cache=PictureCache(folder))

    def _lines(self, session: str | None) -> list[Source]:
        """Lines of the draft, then messages that are not in it, oldest first."""
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            if user is None:
                return []
            drafted = revisions.current(connection, user, self.kind).values()
            kept = [one for one in drafted if session is None or one.session == session]
            behind = log.read_many(connection, {seq for one in kept for seq in one.sources})
            raw = self._undistilled(connection, user, session)
        found = [_line(one.item, one.text, [behind[seq].message for seq in one.sources if seq in behind]) for one in kept]
        found += [_line(one.message.id or "", one.message.text, [one.message]) for one in raw]
        return [one for one in found if one.text]


def _line(name: str, text: str, messages: Sequence[Message]) -> Source:
    shown = clean(text[: 4 * LONGEST_LINE])[:LONGEST_LINE]
    said = messages[0].time if messages else None
    who = f"{clean(messages[0].speaker)}: " if messages and messages[0].speaker else ""
    dated = f"{day(said)}: {who}{shown}" if said is not None and shown else shown
    return Source(id=name, messages=tuple(one.id for one in messages if one.id), text=dated)


def _overfilling(lines: Sequence[Source], characters: int) -> list[Source]:
    """The first lines, as many as are sure to fill the page."""
    chosen: list[Source] = []
    for line in lines:
        if characters <= 0:
            break
        chosen.append(line)
        characters -= len(line.text)
    return chosen


def markdown(lines: Sequence[Source]) -> str:
    """Lines, most important first, as a document: a heading, bold lines, body text."""
    blocks = []
    for number, line in enumerate(lines):
        text = _MARKUP.sub(r"\\\1", line.text)
        blocks.append(f"## {text}" if number == 0 else f"**{text}**" if number <= BOLD_LINES else text)
    return "\n\n".join(blocks)
