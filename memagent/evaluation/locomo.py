"""LoCoMo (Maharana et al. 2024): long dialogues of two people, with questions and the turns that answer them.

Categories: 1 several turns, 2 time, 3 inference, 4 one turn, 5 adversarial (no answer in the dialogue).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memagent.db.json_lines import opened
from memagent.errors import InputError
from memagent.types import Message

_EVIDENCE = re.compile(r"D(\d+):(\d+)")
_TIME_FORMAT = "%I:%M %p on %d %B, %Y"


@dataclass(frozen=True)
class LocomoQuestion:
    """A question, its answer, and the ids of the turns that hold it (only ones that exist)."""

    text: str
    answer: str | None
    evidence: tuple[str, ...]
    category: int


@dataclass(frozen=True)
class LocomoConversation:
    """One dialogue: sessions of turns in order, and questions about it."""

    name: str
    sessions: tuple[tuple[str, tuple[Message, ...]], ...]
    questions: tuple[LocomoQuestion, ...]


def load(path: Path) -> list[LocomoConversation]:
    """Conversations of a LoCoMo file. Raises `InputError` naming the file and what is wrong with it."""
    try:
        with opened(path) as file:
            data = json.loads(file.read().decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is not JSON: {error}") from error
    if not (isinstance(data, list) and data and isinstance(data[0], dict) and "conversation" in data[0]):
        raise InputError(f"{path.name} is not a LoCoMo file: a list of samples with a `conversation` each is needed")
    try:
        return [_conversation(sample, number) for number, sample in enumerate(data)]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path.name}: {type(error).__name__} {error}; is it a LoCoMo file?") from error


def _conversation(sample: dict[str, Any], number: int) -> LocomoConversation:
    talk = sample["conversation"]
    names = sorted((key for key in talk if re.fullmatch(r"session_\d+", key)), key=lambda key: int(key[8:]))
    sessions = tuple((name, tuple(_turns(talk[name], talk[f"{name}_date_time"]))) for name in names)
    known = {message.id for _, turns in sessions for message in turns}
    questions = tuple(_question(item, known) for item in sample.get("qa", []))
    return LocomoConversation(str(sample.get("sample_id", f"conversation-{number}")), sessions, questions)


def _turns(turns: list[dict[str, Any]], when: str) -> list[Message]:
    time, found = datetime.strptime(when, _TIME_FORMAT).replace(tzinfo=UTC), []
    for turn in turns:
        caption = turn.get("blip_caption")
        text = f"{turn['text']} [image: {caption}]".strip() if caption else str(turn["text"])
        found.append(Message(role="user", speaker=turn["speaker"], content=text, time=time, id=turn["dia_id"]))
    return found


def _question(item: dict[str, Any], known: set[str | None]) -> LocomoQuestion:
    listed = " ".join(map(str, item.get("evidence", [])))
    evidence = dict.fromkeys(f"D{session}:{int(turn)}" for session, turn in _EVIDENCE.findall(listed))
    answer = item.get("answer")
    kept = tuple(one for one in evidence if one in known)
    return LocomoQuestion(str(item["question"]), None if answer is None else str(answer), kept, int(item["category"]))
