"""Conversations: what is said between a user and an assistant, session by session, and how it is kept and replayed.

A session opens with a fixed message, the same for every assistant; it alone carries the time. The assistant replies, and
for the remaining rounds a simulated user goes on. There is no early end and no message of the user after the last reply, so
a session of R rounds has 2R messages and R - 1 drawn ones. An assistant is told of no end of a session.

Replay feeds stored conversations of another assistant, round by round, and asks nobody for a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from memagent.environments.amemgym.data import Period, UserItem, UserSession, write_json
from memagent.environments.amemgym.simulated_user import SessionPlace, SimulatedUser
from memagent.errors import InputError


class Utterance(BaseModel):
    """One message of an interaction file."""

    model_config = ConfigDict(frozen=True)

    role: str
    content: str


class Responder(Protocol):
    """Replies to a message and remembers both."""

    def act(self, text: str) -> str:
        """The reply."""
        ...


class Observer(Protocol):
    """Remembers a round."""

    def add(self, text: str, reply: str) -> None:
        """Remember what was said and replied."""
        ...


Dialogue = list[Utterance]
_DIALOGUES = TypeAdapter(list[Dialogue])


@dataclass(frozen=True)
class Rounds:
    """User and assistant messages of a session, counted in pairs."""

    first: int = 1
    """In the period 0."""
    later: int = 2

    def __post_init__(self) -> None:
        if min(self.first, self.later) < 1:
            raise InputError(f"a session has 1 round or more, not {min(self.first, self.later)}")

    def of(self, period: int) -> int:
        return self.later if period else self.first


def first_message(session: UserSession) -> str:
    """The first message of a session, exactly as every assistant gets it."""
    return f"[Current Time: {session.session_time}]\n{session.query}"


def run_dialogues(item: UserItem, period: int, assistant: Responder, user: SimulatedUser, *, rounds: Rounds) -> list[Dialogue]:
    """Hold all conversations of a period; the assistant remembers them. Returns what was said."""
    dialogues = []
    for session in item.periods[period].sessions:
        place, said = SessionPlace(item, period, session), first_message(session)
        dialogue: Dialogue = []
        for number in range(rounds.of(period)):
            if number:
                said = user.follow_up(place, dialogue[-2].content, dialogue[-1].content)
            dialogue.append(Utterance(role="user", content=said))
            dialogue.append(Utterance(role="assistant", content=assistant.act(said)))
        dialogues.append(dialogue)
    return dialogues


def replay(
    dialogues: Sequence[Dialogue], assistant: Observer, *, period: Period | None = None, rounds: int | None = None
) -> None:
    """Let an assistant remember conversations that another one had, without a word of its own.

    They are checked first: see `check_dialogues`.
    """
    check_dialogues(dialogues, period=period, rounds=rounds)
    for dialogue in dialogues:
        for said, reply in zip(dialogue[::2], dialogue[1::2], strict=True):
            assistant.add(said.content, reply.content)


def check_dialogues(dialogues: Sequence[Dialogue], *, period: Period | None = None, rounds: int | None = None) -> None:
    """Raise `InputError` naming the session unless conversations can be replayed.

    With `period` they must open with its messages, with `rounds` have that length.
    """
    if period is not None and len(dialogues) != len(period.sessions):
        raise InputError(f"{len(dialogues)} conversations are stored, the period has {len(period.sessions)} sessions")
    for number, dialogue in enumerate(dialogues):
        roles = [one.role for one in dialogue]
        if not dialogue or roles != ["user", "assistant"] * (len(roles) // 2):
            raise InputError(f"session {number}: the roles are {roles[:4]}; expected user and assistant in turn")
        if rounds is not None and len(dialogue) != 2 * rounds:
            raise InputError(f"session {number} has {len(dialogue)} messages; {rounds} rounds have {2 * rounds}")
        first = None if period is None else first_message(period.sessions[number])
        if first is not None and dialogue[0].content != first:
            raise InputError(
                f"session {number} opens with {dialogue[0].content[:80]!r}, the data with {first[:80]!r}; "
                "give the data that it was held on"
            )


# -- files ------------------------------------------------------------------------------------------------------------


def interactions_file(folder: Path, user: str, period: int) -> Path:
    return folder / user / "interactions" / f"period_{period:02d}.json"


def write_interactions(dialogues: Sequence[Dialogue], folder: Path, user: str, period: int) -> Path:
    """Keep the conversations of a period under their official name."""
    file = interactions_file(folder, user, period)
    write_json([[one.model_dump() for one in dialogue] for dialogue in dialogues], file)
    return file


def read_interactions(folder: Path, user: str, period: int) -> list[Dialogue]:
    """The stored conversations of a period. Raises `InputError` naming the file."""
    file = interactions_file(folder, user, period)
    try:
        return _DIALOGUES.validate_json(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise InputError(f"{file} is no list of conversations: {error.errors(include_url=False)[0]['msg']}") from error
