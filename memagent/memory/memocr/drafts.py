"""Documents: the rich text that a model drafts, kept as items beside the lines of other drafters.

A document is one item. Each draft is a revision of it and rests on every message that went into it or into the drafts before,
so that forgetting a message brings back the newest draft that did not know it, and purging one leaves no draft that did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from memagent.db import log
from memagent.db.revisions import Action, Revision
from memagent.memory.derived import NoteEdit

DRAFT = "draft"
"""Id of the document for any question; ones for a single question are `DRAFT`, a hyphen and a digest of it."""
DRAFTS_KEPT = 8
"""Newest revisions of a document that are kept; of older ones every second, fourth, eighth ..."""


def name_for(question: str | None) -> str:
    """Id of the document for a question, or for any."""
    words = " ".join((question or "").split()).casefold()
    return f"{DRAFT}-{hashlib.sha256(words.encode('utf-8', 'replace')).hexdigest()[:12]}" if words else DRAFT


def is_name(item: str) -> bool:
    """Whether an item is a document by its id."""
    return item == DRAFT or item.startswith(f"{DRAFT}-")


def for_query(current: Mapping[str, Revision], query: str) -> Revision | None:
    """The document drafted for this question, else the one for any."""
    return current.get(name_for(query)) or current.get(DRAFT)


def suits(connection: log.Connection, user: int, document: Revision, session: str | None, exclude: Collection[str]) -> bool:
    """Whether a document may be shown: no message of it was said outside `session`, and not all are among `exclude`, the
    messages that the reader sees anyway.
    """
    if session is None and len(document.sources) > len(exclude):
        return True
    behind = log.read_many(connection, user, document.sources).values()
    if session is not None and any(one.session != session for one in behind):
        return False
    return not behind or any(one.message.id not in exclude for one in behind)


def is_document(revision: Revision) -> bool:
    """Whether a revision is a document rather than a line."""
    return bool(revision.data.get("document"))


def missing_from(document: Revision) -> set[int]:
    """Messages that a document rests on in part only: one of their drafts was unusable."""
    found = document.data.get("missing")
    return {int(seq) for seq in found} if isinstance(found, list) else set()


def held_by(document: Revision | None) -> set[int]:
    """Messages that need not be shown beside a document."""
    return set() if document is None else set(document.sources) - missing_from(document)


def following(
    before: Revision | None,
    text: str,
    batch: Sequence[log.Stored],
    earlier: Sequence[Revision],
    question: str | None,
    *,
    whole: bool,
) -> NoteEdit:
    """The next revision of a document, made of the one `before` and new messages; not `whole`: only of some of their chunks."""
    seqs = {one.seq for one in batch}
    sources = seqs if before is None else seqs.union(before.sources)
    missing = set() if before is None else missing_from(before) - seqs
    data = {
        "document": True,
        "label": question,
        "missing": sorted(missing if whole else missing | seqs),
        "number": last_number(earlier) + 1,
    }
    action: Action = "add" if before is None else "update"
    return NoteEdit(action, text, "drafted", tuple(sorted(sources)), name_for(question), data)


def last_number(documents: Sequence[Revision]) -> int:
    """How often a document was drafted so far."""
    return max((found for one in documents if isinstance(found := one.data.get("number"), int)), default=0)


def outgrown(documents: Sequence[Revision]) -> list[int]:
    """Revisions of a document that may go: each names all its messages, so keeping every one would cost their square.

    The newest `DRAFTS_KEPT` stay; further back every second, fourth, eighth ... What the user wrote stays, and what stood
    before it, to which an undo goes back.
    """
    newest = last_number(documents)
    doomed = []
    for one, following in pairwise(documents):
        number = one.data.get("number")
        if one.origin == "user" or following.origin == "user" or not isinstance(number, int):
            continue
        if number % (1 << ((newest - number) // DRAFTS_KEPT).bit_length()):
            doomed.append(one.id)
    return doomed


def drop(connection: log.Connection, numbers: Sequence[int]) -> None:
    """Delete revisions by their ids, and texts that nothing names any more."""
    if numbers:
        connection.executemany("DELETE FROM revisions WHERE id = ?", [(number,) for number in numbers])
        log.drop_unused_contents(connection)
