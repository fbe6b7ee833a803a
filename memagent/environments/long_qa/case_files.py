"""Files of questions: HotpotQA, or LoCoMo, whichever a file turns out to be.

Of a LoCoMo conversation every session is a document, titled by its date, and every turn a sentence; a question's own
documents are the sessions that hold its evidence. Questions without evidence, and adversarial ones, are left out.
"""

from __future__ import annotations

import json
from pathlib import Path

from memagent.environments.long_qa import hotpotqa, locomo
from memagent.environments.long_qa.cases import Case, Cases, Document
from memagent.errors import InputError
from memagent.memory.lines import day
from memagent.messages import Message

_ADVERSARIAL = 5


def load(path: Path) -> Cases:
    """Questions of a HotpotQA or LoCoMo file. Raises `InputError` naming the file and what is wrong with it."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not UTF-8 at byte {error.start}") from error
    if _holds_locomo(text):
        return _of_locomo(locomo.load(path), path.name)
    cases = tuple(hotpotqa.parse(text, path.name))
    return Cases(cases, tuple(dict.fromkeys(document for case in cases for document in case.documents)))


def _holds_locomo(text: str) -> bool:
    if not text.lstrip().startswith("["):
        return False
    try:
        return locomo.is_locomo(json.loads(text))
    except ValueError:
        return False


def _of_locomo(conversations: list[locomo.Conversation], name: str) -> Cases:
    cases: list[Case] = []
    pool: list[Document] = []
    for one in conversations:
        sessions = [_session(turns) for _, turns in one.sessions if turns]
        pool += (document for document, _ in sessions)
        for number, question in enumerate(one.questions, 1):
            if question.answer is not None and question.evidence and question.category != _ADVERSARIAL:
                cases.append(_case(f"{one.name}/{number}", question, question.answer, sessions))
    if not cases:
        raise InputError(f"{name} holds no question with an answer and evidence")
    return Cases(tuple(cases), tuple(dict.fromkeys(pool)))


def _session(turns: tuple[Message, ...]) -> tuple[Document, list[str | None]]:
    """A session as a document, and the ids of its turns."""
    assert turns[0].time is not None
    sentences = tuple(f"{turn.speaker}: {turn.text}" for turn in turns)
    return Document(day(turns[0].time), sentences), [turn.id for turn in turns]


def _case(id: str, question: locomo.Question, answer: str, sessions: list[tuple[Document, list[str | None]]]) -> Case:
    own = [session for session in sessions if set(session[1]) & set(question.evidence)]
    evidence = tuple(
        (place, ids.index(turn)) for place, (_, ids) in enumerate(own) for turn in question.evidence if turn in ids
    )
    return Case(id, question.text, (answer,), tuple(document for document, _ in own), evidence)
