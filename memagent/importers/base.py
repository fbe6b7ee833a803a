"""What the importers share: lines of a file, batches of messages, and ids that are the same at every reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from memagent.db.json_lines import opened
from memagent.db.transfer import identified, in_batches
from memagent.errors import InputError
from memagent.types import Message

HINT = (
    'chats of other programs are read once they are JSON lines, such as {"role": "user", "content": "hi", "time": "2026-05-02"}'
)
"""What to do with a file that none of the formats fits."""


@dataclass(frozen=True)
class Batch:
    """Messages of one session, in order."""

    user: str | None
    """Whom the file says they belong to; None: it does not say."""
    session: str
    messages: list[Message]


def batches(said: Iterable[tuple[str, Message]]) -> Iterator[Batch]:
    """Messages with the names of their sessions, as batches; a message without an id gets one."""
    for session, batch in in_batches(identified(said)):
        yield Batch(None, session, batch)


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends. Raises `InputError` where the file cannot be read as UTF-8."""
    number = 0
    try:
        with opened(path) as file:
            for number, raw in enumerate(file, 1):
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise InputError(f"{path.name}, line {number} is not UTF-8; save the file as UTF-8 first") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def session_name(path: Path) -> str:
    """The session of a file that names none: its own name."""
    name = "".join(sign if sign.isprintable() else " " for sign in path.stem).strip()
    return name[:200] or "import"
