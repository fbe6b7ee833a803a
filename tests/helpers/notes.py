"""What tests of notes share: telling a memory something and looking at what it keeps."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from memagent.memory.notes.memory import NotesMemory
from memagent.models.scripted import ScriptedModel
from memagent.testing.contract import WORDS
from memagent.types import Message
from memagent_renderers.budget import Budget

PARAPHRASES = (
    ("My dog is called Biscuit.", "I have a dog named Biscuit.", "Biscuit is the name of my dog."),
    ("I live in Lyon.", "My home is in Lyon.", "I'm based in Lyon, France."),
    ("I work as a nurse.", "I'm a nurse.", "My job is nursing."),
    ("I am allergic to peanuts.", "I have a peanut allergy.", "Peanuts give me an allergic reaction."),
    ("My birthday is on 3 May.", "I was born on May 3rd.", "I celebrate my birthday on May 3."),
)
MAY = datetime(2026, 5, 1, 12, tzinfo=UTC)


def say(memory: NotesMemory, *texts: str, start: datetime = MAY) -> list[str]:
    """Add and consolidate one message a day. Returns their ids."""
    ids = []
    for day, text in enumerate(texts):
        ids += memory.add(Message(role="user", content=text, time=start + timedelta(days=day))).ids
        memory.consolidate()
    return ids


def texts(memory: NotesMemory) -> list[str]:
    return [item.text for item in memory.items()]


def view(memory: NotesMemory, query: str, budget: int = 200, **options: Any) -> str:
    recall = memory.recall(query, budget=Budget(budget, WORDS), **options)
    assert recall.exact
    assert recall.cost == WORDS.count(str(recall.text)) <= budget
    return str(recall.text)


def scripted(*replies: object) -> ScriptedModel:
    return ScriptedModel([{"text": json.dumps(reply)} for reply in replies])


def decision(action: str, fact: str = "f1", **more: object) -> dict[str, object]:
    return {"facts": [fact], "action": action, "reason": "because", **more}
