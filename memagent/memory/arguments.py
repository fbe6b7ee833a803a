"""Checking what the verbs of a memory are given: each function returns it, or raises `InputError` saying what was seen."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from pathlib import Path

from memagent.db import log
from memagent.errors import InputError


def canonical_name(name: str) -> str:
    """The one spelling of a name: without blanks around it, in NFC, so that an accent is written in one way."""
    return unicodedata.normalize("NFC", name).strip()


def checked_name(what: str, value: str) -> str:
    """The name of a user or session in its one spelling. Raises `InputError` for one that cannot be."""
    name = canonical_name(value) if isinstance(value, str) else ""
    if not log.is_name(name):
        raise InputError(f"a {what} is a printable name of 1 to 200 characters, not {value!r}")
    return name


def checked_path(what: str, path: str | Path) -> Path:
    """The path of a file or folder. Raises `InputError` for what cannot be one."""
    if not isinstance(path, str | Path) or not str(path) or "\0" in str(path) or not log.is_storable(str(path)):
        raise InputError(f"the path of a {what} is needed, not {path!r}")
    return Path(path)


def checked_limit(limit: int | None) -> int | None:
    """A number of things to give back; None for all. Raises `InputError` for what is no number from 0 on."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise InputError(f"limit is 0 or more, or None for all, not {limit!r}")
    return limit


def checked_scope(session: str | None) -> str | None:
    """The session to which a reading verb is narrowed, None for all. Raises `InputError`."""
    return None if session is None else checked_name("session", session)


def checked_ids(ids: Collection[str]) -> Collection[str]:
    """Ids of messages. Raises `InputError` for what is no collection, and for a single text, whose letters would be taken."""
    if isinstance(ids, str | bytes) or not isinstance(ids, Collection):
        raise InputError(f"exclude is a collection of ids, not {ids!r}")
    return ids


def checked_query(query: str) -> str:
    """A question, which may be empty. Raises `InputError` for what is no text."""
    if not isinstance(query, str):
        raise InputError(f"a query is a text, not {query!r}")
    return query


def check_search(query: str, limit: int, session: str | None) -> None:
    """Raise `InputError` for what a search cannot be asked."""
    checked_query(query)
    checked_scope(session)
    if checked_limit(limit) is None:
        raise InputError("limit of a search is 0 or more, not None")


def check_consolidation(question: str | None, timeout: float) -> None:
    """Raise `InputError` for what `consolidate` cannot be asked."""
    checked_query(question or "")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise InputError(f"timeout is a number of seconds, not {timeout!r}")


def checked_text(what: str, text: str) -> str:
    """A text that says something. Raises `InputError` for any other."""
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{what} is a text, not {text!r}")
    return text
