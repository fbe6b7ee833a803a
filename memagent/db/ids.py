"""Ids of messages and derived items: a letter, a number that grows, and a tag that no other store has.

So items of several stores can be brought together, and an id can be typed by its beginning: `m12` means `m12-kq3zt7` as long as
no other item of that user begins so.
"""

from __future__ import annotations

import base64
import re
import sqlite3
from collections.abc import Callable

from memagent.errors import InputError

_BEGINNING = re.compile(r"[a-z]\d+(-[a-z2-7]*)?")
TAG_LENGTH = 6
"""Base32 digits: 30 bits."""
_MADE = re.compile(rf"[a-z]\d+-[a-z2-7]{{{TAG_LENGTH}}}|i[0-9a-f]{{20}}")


def new_id(connection: sqlite3.Connection, letter: str, number: int) -> str:
    """The id of an item that is made in this store."""
    (identity,) = connection.execute("SELECT value FROM header WHERE key = 'identity'").fetchone()
    tag = base64.b32encode(bytes.fromhex(identity)).decode().lower()[:TAG_LENGTH]
    return f"{letter}{number}-{tag}"


def is_made(name: str) -> bool:
    """Whether a store or an import made this id, so that no other message has it; those of other programs often repeat."""
    return _MADE.fullmatch(name) is not None


def meant(name: str, between: Callable[[str, str], list[str]]) -> str | None:
    """The id whose beginning this is; None for what is no beginning of one. `between` finds ids from one text up to another.

    Raises `InputError` when several begin so.
    """
    if not _BEGINNING.fullmatch(name):
        return None
    start = name if "-" in name else f"{name}-"
    found = between(start, f"{start}~")
    if len(found) > 1:
        raise InputError(f"{name!r} is the beginning of {', '.join(found[:5])}; type one of them")
    return found[0] if found else None
