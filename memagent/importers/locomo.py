"""LoCoMo (arXiv 2402.17753): long conversations of two people; each conversation is a user of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from memagent.errors import InputError
from memagent.evaluation import locomo
from memagent.importers.base import HINT, Batch


def read(path: Path, sample: str | None = None) -> Iterator[Batch]:
    """The sessions of a file's conversations, or of the one named `sample`. Raises `InputError`."""
    try:
        conversations = locomo.load(path)
    except InputError as error:
        raise InputError(f"{error} ({HINT})") from None
    names = [one.name for one in conversations]
    if sample is not None and sample not in names:
        raise InputError(f"{path.name} holds no sample {sample!r}; it holds {', '.join(names)}")
    for conversation in conversations:
        if sample in (None, conversation.name):
            for session, turns in conversation.sessions:
                yield Batch(conversation.name, session, list(turns))
