"""The page of a MemOCR memory: which lines in which tier for a question, as Markdown, and what of it a picture shows.

`compose` goes once through the lines: rank, tiers, as many as overfill the page, dates. Tiers say what stays readable when the
page is small. With a question they follow it, without a model: the line that answers it best is the heading, the next ones are
bold, what has little to do with it is small. Without one, or when nothing fits it, lines keep the tiers that their drafter gave
them, within quotas, so that not everything is a heading.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from memagent.db.log import Stored
from memagent.db.revisions import Revision
from memagent.memory.view import clean, day, pictures_named
from memagent.text import statements
from memagent.text.amendments import REACH
from memagent.text.corrections import ANOTHER_VALUE, outdates
from memagent.text.dates import DateInterval, date_intervals, nearness_of_texts
from memagent.text.sentences import is_question, pieces
from memagent.text.statements import TIERS
from memagent.text.tokens import asks_time, query_terms, terms
from memagent.types import Source, now
from memagent_renderers.budget import Budget, Picture

LINE_CHARACTERS = 400
"""Characters shown of one line."""
MAX_CHARACTERS = 90_000
"""Longest document; `memagent_renderers.document` reads 100,000 characters."""
CHARACTERS_PER_TOKEN = 40
"""More than a visual token shows: as much text as certainly overfills a page."""
DATED_FROM = 33
"""Visual tokens from which lines carry their dates."""
BOLD_LINES = 4
CORRECTABLE, CORRECTING = 6, 64
"""Lines that matter most, which are checked against later ones, and of those the ones that matter most and the newest."""
NEARNESS = 8.0
"""Relevance of a line of the very days that a question names: a day more or less weighs as much as all of its words."""
DOCUMENT_SCALE = 4.0
"""Relevance of the best line of documents: importance and age, which count up to .4, say little about them."""
_MARKUP = re.compile(r"([!-/:-@\[-`{-~])")


@dataclass(frozen=True)
class MemoryLine:
    """A line that may stand on the page."""

    source: Source
    """With the text as it is shown, date left out."""
    tier: str
    """The drafter's tier: heading, bold, body or small."""
    importance: float
    """The drafter's, 0 to 1."""
    seq: int
    """Place in the log of the newest message behind it."""
    session: str
    """Where it was said."""
    date: str = ""
    doubtful: bool = False
    """A question, or an assistant's words: never large type unless nothing else is there."""
    stale: bool = False
    """Whether a later line gives another value of what it says."""
    relevance: float = 0.0
    """Likeness to the question, 0 to about 10; of lines of documents 0 to `DOCUMENT_SCALE`."""


def lines_of_revision(revision: Revision, behind: Sequence[Stored]) -> list[MemoryLine]:
    """A drafted line, in several when it is long; none when there is nothing to see in it."""
    weight = revision.data.get("importance")
    importance = weight if isinstance(weight, float | int) else 0.5
    tier = str(revision.data.get("tier"))
    seq = revision.sources[-1] if revision.sources else 0
    return _lines(revision.item, revision.text, behind, seq, tier if tier in TIERS else "body", importance)


def lines_of_message(stored: Stored) -> list[MemoryLine]:
    """A message that no draft holds, piece by piece; none when there is nothing to see in it."""
    text = f"{pictures_named(stored.message)}{stored.message.text}"
    return _lines(stored.message.id or "", text, [stored], stored.seq)


def _lines(
    name: str,
    text: str,
    behind: Sequence[Stored],
    seq: int,
    tier: str | None = None,
    importance: float = 0.0,
) -> list[MemoryLine]:
    """A text as lines of one source, with what a drafter made of it, or by their own looks."""
    messages = [one.message for one in behind]
    last = messages[-1] if messages else None
    mute = last is not None and last.role != "user" and last.speaker is None
    who = "" if last is None else f"{clean(last.speaker)}: " if last.speaker else f"{last.role}: " if mute else ""
    found: list[MemoryLine] = []
    for shown in _visible(text):
        weight = importance if tier is not None else statements.importance(shown)
        source = Source(
            id=name,
            messages=tuple(one.id for one in messages if one.id),
            text=who + shown,
            role="user" if last is None else last.role,
            speaker=None if last is None else last.speaker,
            time=None if last is None else last.time,
            seq=behind[-1].seq if behind else 0,
        )
        session = behind[-1].session if behind else ""
        date = day(last.time) if last is not None and last.time is not None else ""
        doubtful = mute or is_question(shown)
        found.append(MemoryLine(source, tier or statements.tier_of(weight), weight, seq, session, date, doubtful))
    return found


def _visible(text: str) -> list[str]:
    """A text as it may stand on a page, in pieces of at most `LINE_CHARACTERS`."""
    from memagent_renderers.document import clean as visible

    found = (visible("\n".join(filter(None, map(clean, piece.split("\n"))))) for piece in pieces(text, limit=LINE_CHARACTERS))
    return [piece.strip() for piece in found if piece.strip()]


# -- from lines to a page ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MemoryPage:
    """The lines for a question, in the order of their tiers, and behind them the model's document."""

    lines: Sequence[MemoryLine]
    left_out: int
    """Lines that certainly found no room."""
    draft: Revision | None = None

    @property
    def markdown(self) -> str:
        """Each line as a block of its own, in its tier. Text is escaped: it fakes neither a heading nor HTML."""
        lines = (_block(line.source.text, line.tier) for line in self.lines)
        return "\n\n".join([*lines, *([] if self.draft is None else [self.draft.text])])

    def shown(self, picture: Picture) -> list[tuple[MemoryLine | None, str]]:
        """What stands on a picture of the page: each line, None for a part of the document, with the text shown of it."""
        return [
            (self.lines[place] if place < len(self.lines) else None, text)
            for place, text in _shown_blocks(self.markdown, picture)
        ]


def compose(
    lines: Sequence[MemoryLine],
    query: str,
    found: Mapping[int, float],
    budget: Budget,
    *,
    draft: Revision | None = None,
    relevance: Sequence[float] | None = None,
) -> MemoryPage:
    """The page for a question. `found` holds scores of a search by place in the log, 0 to 1; `relevance`, where it is given,
    is that of each line and takes their place.
    """
    newest = max((line.seq for line in lines), default=0) or 1
    if relevance is None:
        scored = _with_relevance(lines, query, found)
        scored = _corrected(_near(scored, date_intervals(query, now=now())), query, newest)
    else:
        scored = [replace(line, relevance=score) for line, score in zip(lines, relevance, strict=True)]
    best = max((line.relevance for line in scored if not line.doubtful), default=0.0)
    if best < 0.2:
        tiered = _by_importance(scored, newest)
    else:
        scored.sort(key=lambda line: (-_worth(line, newest), -line.seq))
        tiered = [replace(line, tier=_tier_for(line, place, best)) for place, line in enumerate(scored)]
    tiered.sort(key=lambda line: TIERS.index(line.tier))
    room = min(budget.tokens * CHARACTERS_PER_TOKEN, MAX_CHARACTERS // 2)
    chosen: list[MemoryLine] = []
    for line in tiered:
        if room <= 0:
            break
        chosen.append(line)
        room -= len(line.source.text) + 16
    return MemoryPage(_with_dates(chosen, query, budget), len(tiered) - len(chosen), draft)


def _with_relevance(lines: Sequence[MemoryLine], query: str, found: Mapping[int, float]) -> list[MemoryLine]:
    """Lines with their relevance: the score of their message, and the share of the question's words that they hold."""
    wanted = query_terms(query)
    said = [_terms(line.source.text) for line in lines]
    weights = {term: math.log(1 + len(lines) / (1 + sum(term in one for one in said))) for term in wanted}
    total = sum(weights.values()) or 1.0
    return [
        replace(line, relevance=found.get(line.seq, 0.0) + sum(weights[term] for term in wanted if term in one) / total)
        for line, one in zip(lines, said, strict=True)
    ]


def _near(lines: Sequence[MemoryLine], asked: Sequence[DateInterval]) -> list[MemoryLine]:
    """Lines with their relevance raised by how near they lie to the days that the question names."""
    if not asked:
        return list(lines)
    near = nearness_of_texts(asked, [(line.source.text, line.source.time) for line in lines]).tolist()
    return [replace(line, relevance=line.relevance + NEARNESS * one) for line, one in zip(lines, near, strict=True)]


@lru_cache(maxsize=50_000)
def _terms(text: str) -> frozenset[str]:
    return frozenset(terms(text))


def _corrected(lines: Sequence[MemoryLine], query: str, newest: int) -> list[MemoryLine]:
    """Lines with those that matter most checked against what was said later: a line that corrects another is worth as much as
    that one, and more, and what it gives another value for is stale.
    """
    said = {place: (line.seq, place) for place, line in enumerate(lines) if not line.doubtful}
    told = sorted(said, key=said.__getitem__)
    order = sorted(told, key=lambda at: -_worth(lines[at], newest))
    later = {*order[:CORRECTING], *sorted(order, key=lambda at: -lines[at].seq)[:CORRECTING]}
    found = list(lines)
    for place in sorted(order[:CORRECTABLE], key=said.__getitem__):
        old = lines[place]
        heard = [at for at in told if said[at] > said[place] and lines[at].source.speaker == old.source.speaker]
        texts = [lines[at].source.text for at in heard]
        weights = {
            at: min(outdates(text, old.source.text, query, between=texts[:number] if number < REACH else None), ANOTHER_VALUE)
            for number, (at, text) in enumerate(zip(heard, texts, strict=True))
            if at in later
        }
        by = max(weights, key=lambda at: (weights[at], said[at]), default=None)
        if by is None or not weights[by]:
            continue
        new = found[by]
        found[by] = replace(
            new,
            relevance=max(new.relevance, found[place].relevance + 0.01),
            importance=max(new.importance, old.importance),
            tier=min(new.tier, old.tier, key=TIERS.index),
        )
        found[place] = replace(found[place], stale=weights[by] >= ANOTHER_VALUE)
    return found


def _worth(line: MemoryLine, newest: int) -> float:
    return line.relevance * (0.6 if line.doubtful or line.stale else 1.0) + 0.3 * line.importance + 0.1 * line.seq / newest


def _tier_for(line: MemoryLine, place: int, best: float) -> str:
    """One heading, a few bold lines near the best, body for what touches the question or matters anyway."""
    if line.stale:
        return "small"
    if place == 0 and not line.doubtful:
        return "heading"
    if place <= BOLD_LINES and line.relevance >= 0.5 * best and not line.doubtful:
        return "bold"
    related = line.relevance >= 0.25 * best or line.tier in ("heading", "bold")
    return "body" if related and not (line.doubtful and line.relevance < 0.5 * best) else "small"


def _by_importance(lines: Iterable[MemoryLine], newest: int) -> list[MemoryLine]:
    """The drafter's tiers, the newest first among equals: headings at most one line in eight and three, bold one in four."""
    found = sorted(lines, key=lambda line: -(line.importance + 0.3 * line.seq / newest - 0.5 * line.doubtful))
    most = {"heading": min(3, max(1, len(found) // 8)), "bold": max(2, len(found) // 4)}
    out: list[MemoryLine] = []
    for line in found:
        tier = "small" if line.stale else line.tier
        for large, lower in (("heading", "bold"), ("bold", "body")):
            if tier == large:
                most[large] -= 1
                tier = large if most[large] >= 0 else lower
        out.append(replace(line, tier=tier))
    return out


def _with_dates(lines: Sequence[MemoryLine], query: str, budget: Budget) -> list[MemoryLine]:
    """Lines with their dates where a date is worth its room: everywhere when the question asks for times, else not on a
    page of few tokens and not in small type. A day that all lines share stands once, behind the first.
    """
    if asks_time(query):
        return list(map(_dated, lines))
    if budget.tokens < DATED_FROM:
        return list(lines)
    if len({line.date for line in lines}) == 1:
        return [*map(_dated, lines[:1]), *lines[1:]]
    return [line if line.tier == "small" else _dated(line) for line in lines]


def _dated(line: MemoryLine) -> MemoryLine:
    if not line.date:
        return line
    return replace(line, source=line.source.model_copy(update={"text": f"{line.source.text} ({line.date})"}))


def _block(text: str, tier: str) -> str:
    plain = _MARKUP.sub(r"\\\1", text)
    if tier == "heading":
        return f"## {plain}".replace("\n", " ")
    plain = plain.replace("\n", "\\\n")
    match tier:
        case "bold":
            return f"**{plain}**"
        case "small":
            return f"<small>{plain}</small>"
        case _:
            return plain


def _shown_blocks(document: str, picture: Picture) -> list[tuple[int, str]]:
    """Blocks of a document that stand on its picture, by place, each with the text that is shown of it.

    Layout puts blocks on the page by tier, then in order, until it is full; the one at which it ends may be cut.
    """
    from memagent_renderers.document import TIERS, parse

    blocks = parse(document)
    order = sorted(range(len(blocks)), key=lambda place: (TIERS.index(blocks[place].tier), place))
    whole = order[: len(blocks) - picture.dropped]
    shown = [(place, blocks[place].text) for place in whole]
    if picture.dropped:
        cut = order[len(whole)]
        start = _start_shown(blocks[cut].text, picture)
        shown += [(cut, start)] * bool(start)
    return sorted(shown)


def _start_shown(text: str, picture: Picture) -> str:
    """What of a block that is not whole stands on the page: its words before "… +3 more"."""
    from memagent_renderers.fonts import substitute

    page = "".join(word for line in picture.lines for word in line.words)
    before, mark, _ = "".join(page.split()).rpartition(f"…+{picture.dropped}more")
    if not mark:
        return ""
    drawn = substitute(text)[0]
    ends = [place for place in range(len(drawn), 0, -1) if not drawn[place - 1].isspace()]
    end = next((place for place in ends if before.endswith("".join(drawn[:place].split()))), 0)
    return drawn[:end]
