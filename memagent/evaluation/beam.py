"""BEAM (Tavakoli et al. 2025, arXiv 2510.27246): long chats of a user with an assistant, with probing questions.

A file is a list of chats: `messages` {id, role, content, date, session} and `questions` {category, question, evidence}, where
evidence are ids of the messages that hold the answer.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from memagent.evaluation.dialogues import Dialogue, DialogueQuestion
from memagent.types import Message


def is_beam(data: object) -> bool:
    """Whether parsed JSON looks like a BEAM file."""
    return isinstance(data, list) and bool(data) and isinstance(data[0], dict) and {"messages", "questions"} <= set(data[0])


def dialogues(data: list[dict[str, Any]]) -> list[Dialogue]:
    """The chats of a file. Raises `KeyError`, `TypeError` or `ValueError` for what is not of this form."""
    return [_dialogue(chat, number) for number, chat in enumerate(data)]


def _dialogue(chat: dict[str, Any], number: int) -> Dialogue:
    sessions = tuple(
        (f"session_{session}", tuple(map(_message, messages)))
        for session, messages in groupby(chat["messages"], key=lambda message: message["session"])
    )
    known = {str(message["id"]) for message in chat["messages"]}
    questions = tuple(
        DialogueQuestion(
            item["question"], tuple(dict.fromkeys(str(one) for one in item["evidence"] if str(one) in known)), item["category"]
        )
        for item in chat["questions"]
    )
    return Dialogue(f"chat-{chat.get('chat', number)}", sessions, questions)


def _message(message: dict[str, Any]) -> Message:
    time = datetime.fromisoformat(message["date"]).replace(tzinfo=UTC)
    return Message(role=message["role"], content=message["content"], time=time, id=str(message["id"]))
