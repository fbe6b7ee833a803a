"""Conversations: what is said between a user and an assistant, session by session, and how it is kept and replayed.

A session opens with a fixed message, the same for every assistant; it alone carries the time. The assistant replies, and
for the remaining rounds a simulated user goes on. There is no early end and no message of the user after the last reply, so
a session of R rounds has 2R messages and R - 1 drawn ones. An assistant is told of no end of a session.

Replay feeds stored conversations of another assistant, round by round, and asks nobody for a word.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from memagent.environments.amemgym.data import Period, UserItem, UserSession, read_file, write_json
from memagent.environments.amemgym.simulated_user import SessionPlace, SimulatedUser
from memagent.errors import InputError


class Utterance(BaseModel):
    """One message of an interaction file."""

    model_config = ConfigDict(frozen=True)

    role: str
    content: str


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


def run_dialogues(
    item: UserItem, period: int, act: Callable[[str], str], user: SimulatedUser, *, rounds: Rounds
) -> list[Dialogue]:
    """Hold all conversations of a period with whoever replies to a message by `act`. Returns what was said."""
    dialogues = []
    for session in item.periods[period].sessions:
        place, said = SessionPlace(item, period, session), first_message(session)
        dialogue: Dialogue = []
        for number in range(rounds.of(period)):
            if number:
                said = user.follow_up(place, dialogue[-2].content, dialogue[-1].content)
            dialogue.append(Utterance(role="user", content=said))
            dialogue.append(Utterance(role="assistant", content=act(said)))
        dialogues.append(dialogue)
    return dialogues


def replay(dialogues: Sequence[Dialogue], add: Callable[[str, str], None], *, period: Period, rounds: int) -> None:
    """Let an assistant remember by `add` what another one said and heard. Raises as `check_dialogues` does."""
    check_dialogues(dialogues, period=period, rounds=rounds)
    for dialogue in dialogues:
        for said, reply in zip(dialogue[::2], dialogue[1::2], strict=True):
            add(said.content, reply.content)


def check_dialogues(dialogues: Sequence[Dialogue], *, period: Period, rounds: int) -> None:
    """Raise `InputError` naming the session unless conversations open as those of a period and have so many rounds."""
    if len(dialogues) != len(period.sessions):
        raise InputError(f"{len(dialogues)} conversations are stored, the period has {len(period.sessions)} sessions")
    for number, dialogue in enumerate(dialogues):
        roles = [one.role for one in dialogue]
        if not dialogue or roles != ["user", "assistant"] * (len(roles) // 2):
            raise InputError(f"session {number}: the roles are {roles[:4]}; expected user and assistant in turn")
        if len(dialogue) != 2 * rounds:
            raise InputError(f"session {number} has {len(dialogue)} messages; {rounds} rounds have {2 * rounds}")
        first = first_message(period.sessions[number])
        if dialogue[0].content != first:
            raise InputError(
                f"session {number} opens with {dialogue[0].content[:80]!r}, the data with {first[:80]!r}; "
                "give the data that it was held on"
            )


# -- files ------------------------------------------------------------------------------------------------------------


def interactions_file(folder: Path, user: str, period: int) -> Path:
    return folder / user / "interactions" / f"period_{period:02d}.json"


def stored_digest(folder: Path, items: Sequence[UserItem], rounds: Rounds) -> str:
    """SHA-256 of all stored conversations of users. Raises `InputError` naming the file of one that does not fit them."""
    found = hashlib.sha256()
    for item in items:
        for number, period in enumerate(item.periods):
            dialogues = read_interactions(folder, item.id, number)
            try:
                check_dialogues(dialogues, period=period, rounds=rounds.of(number))
            except InputError as error:
                raise InputError(f"{interactions_file(folder, item.id, number)}: {error}") from error
            found.update(json.dumps([[one.model_dump() for one in dialogue] for dialogue in dialogues]).encode())
    return found.hexdigest()


def write_interactions(dialogues: Sequence[Dialogue], folder: Path, user: str, period: int) -> Path:
    """Keep the conversations of a period under their official name."""
    file = interactions_file(folder, user, period)
    write_json([[one.model_dump() for one in dialogue] for dialogue in dialogues], file)
    return file


def read_interactions(folder: Path, user: str, period: int) -> list[Dialogue]:
    """The stored conversations of a period. Raises `InputError` naming the file."""
    return read_file(interactions_file(folder, user, period), _DIALOGUES, "list of conversations")
