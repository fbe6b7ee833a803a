"""Agentic notes: facts about the user, added, updated and taken back as the conversation goes on.

With a model, facts are extracted and compared with their nearest notes by id, and every change keeps its reason. Without one,
sentences that state something become notes, near repeats are merged and a new value of the same attribute takes the old one's
place. What no longer holds stays in the history and is shown as what was before, and messages that are not distilled
yet stand beside the notes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from memagent.memory import extraction, salience
from memagent.memory.distilled import Distilled, DistilledMemory, Proposal
from memagent.memory.lines import Line, clean, day, joined, line_of, pack
from memagent.memory.results import Found, Recall, Source
from memagent.messages import Message
from memagent.retrieval.analysis import terms
from memagent.store import log, revisions
from memagent.store.revisions import Revision
from memagent.usage import Usage
from renderers.reader import Budget

NEAREST = 5
"""Notes shown to the model for each fact."""
_ACTION: dict[str, revisions.Action] = {"ADD": "add", "UPDATE": "update", "DELETE": "delete"}


class NotesMemory(DistilledMemory):
    """An external store of notes about the user."""

    kind: ClassVar[str] = "notes"

    # -- distilling ----------------------------------------------------------------------------------------------------

    def _distil(self, messages: Sequence[log.Stored], known: Mapping[str, Revision]) -> Distilled:
        told = [one for one in messages if one.message.role == "user" and one.message.text.strip()]
        if not told:
            return Distilled(())
        return self._with_model(messages, told, known) if self.model is not None else self._without(told, known)

    def _without(self, told: Sequence[log.Stored], known: Mapping[str, Revision]) -> Distilled:
        """One proposal for each new fact; repeats inside the batch and of known notes are skipped."""
        proposals: list[Proposal] = []
        texts = {name: one.text for name, one in known.items()}
        taken: set[str] = set()
        for one in told:
            for fact in salience.facts(one.message.text):
                if any(_overlap(fact, text) == 1.0 for text in [*texts.values(), *(p.text for p in proposals)]):
                    continue
                old = _same_attribute(fact, texts, taken)
                if old is not None:
                    taken.add(old)
                proposals.append(self._proposal(fact, "", (one,), None if old is None else known[old]))
        return Distilled(tuple(proposals))

    def _with_model(
        self, messages: Sequence[log.Stored], told: Sequence[log.Stored], known: Mapping[str, Revision]
    ) -> Distilled:
        assert self.model is not None
        facts, spent = extraction.extract(self.model, messages)
        if not facts:
            return Distilled((), spent)
        near: dict[str, str] = {}
        for fact in facts:
            nearest = sorted(known, key=lambda name: -_overlap(fact, known[name].text))[:NEAREST]
            near.update((name, known[name].text) for name in nearest)
        verdicts, more = extraction.decide(self.model, facts, near)
        proposals = []
        for one in verdicts:
            if one.action == "NONE":
                continue
            old = known.get(one.id or "") if one.action != "ADD" else None
            proposals.append(self._proposal(one.text.strip(), one.reason, told, old, _ACTION[one.action]))
        return Distilled(tuple(proposals), Usage() + spent + more)

    def _proposal(
        self,
        text: str,
        reason: str,
        told: Sequence[log.Stored],
        old: Revision | None,
        action: revisions.Action | None = None,
    ) -> Proposal:
        """A change, with the time from which it holds; what held before is the item's earlier revision."""
        time = told[-1].message.time
        since = time.isoformat() if time is not None else None
        data: dict[str, object] = {"valid_from": since}
        return Proposal(
            action=action or ("add" if old is None else "update"),
            text=text,
            reason=reason or ("stated" if old is None else "stated anew"),
            sources=tuple(one.seq for one in told),
            item=None if old is None else old.item,
            data=data,
        )

    # -- reading -------------------------------------------------------------------------------------------------------

    def recall(
        self,
        query: str,
        *,
        budget: int | Budget | None = None,
        session: str | None = None,
        exclude: Collection[str] = (),
    ) -> Recall:
        """Notes and messages not distilled yet, the ones that fit the query best, in the order in which they came to be."""
        allowed = self._budget(budget)
        lines = [
            line for line in self._lines(session) if not (line.source.messages and set(line.source.messages) <= set(exclude))
        ]
        chosen = pack(sorted(lines, key=lambda line: (-_overlap(query, line.text), -line.order[0])), allowed)
        view = joined(chosen)
        return Recall(
            view=view,
            cost=allowed.reader.count(view),
            budget=allowed.tokens,
            kind=self.kind,
            exact=allowed.reader.exact,
            sources=tuple(line.source for line in sorted(chosen, key=lambda line: line.order)),
            dropped=len(lines) - len(chosen),
        )

    def _lines(self, session: str | None) -> list[Line]:
        with self._database.read() as connection:
            user = log.user_id(connection, self.user)
            if user is None:
                return []
            every = revisions.of_memory(connection, user, self.kind)
            notes = revisions.visible(every)
            kept = [one for one in notes.values() if session is None or one.session == session]
            sources = log.read_many(connection, {seq for one in kept for seq in one.sources})
            raw = self._undistilled(connection, user, session)
        before = {
            one.item: one.text
            for one in every
            if not one.dead and one.action != "none" and one.id < notes.get(one.item, one).id
        }
        lines = [
            _note_line(one, [sources[seq].message for seq in one.sources if seq in sources], before.get(one.item))
            for one in kept
        ]
        return [*lines, *(line_of(one) for one in raw)]

    def search(self, query: str, *, limit: int = 10, session: str | None = None) -> list[Found]:
        """Notes that share words with the query, then messages."""
        wanted = set(terms(query))
        notes = [(len(wanted & set(terms(item.text))), item) for item in self.items(session=session)]
        hits = sorted((one for one in notes if one[0]), key=lambda one: -one[0])
        found = [Found(item=item, score=float(score)) for score, item in hits]
        return [*found, *super().search(query, limit=limit, session=session)][:limit]


def _note_line(note: Revision, messages: Sequence[Message], before: str | None) -> Line:
    text = clean(note.text)
    said = next((message.time for message in messages[-1:] if message.time is not None), note.at)
    was = f" (before: {clean(before)})" if before and before != note.text else ""
    names = tuple(message.id for message in messages if message.id)
    shown = text + was
    return Line(
        f"[{day(said)}] {shown}",
        Source(id=note.item, messages=names, text=shown),
        (note.sources[0] if note.sources else 0, note.id),
    )


def _overlap(first: str, second: str) -> float:
    """Share of the first text's stemmed words that the second has too."""
    words = set(terms(first))
    return len(words & set(terms(second))) / len(words) if words else 0.0


def _same_attribute(fact: str, texts: Mapping[str, str], taken: set[str]) -> str | None:
    what = salience.attribute(fact)
    if what is None:
        return None
    return next((name for name, text in texts.items() if name not in taken and salience.attribute(text) == what), None)
