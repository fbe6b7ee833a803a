"""The script that answers: it takes statements out of whatever an eye read, and follows the question's chain through them.

It knows the shape of names, the years and the relations of `memagent.environments.long_qa.synthetic_qa`, and nothing of the
page: a name misread into another one leads astray, a statement with a word lost is none.
"""

from __future__ import annotations

import re

from memagent.environments.long_qa.synthetic_qa import ENDINGS, FIRST_YEAR, LAST_YEAR, RELATIONS, SYLLABLES, WorldQuestion

Statement = tuple[str, str, str]
"""Subject, name of the relation, value; names begin with a capital letter."""

_ENDINGS = sorted({one for endings in ENDINGS.values() for one in endings}, key=len, reverse=True)
_NAME = f"(?:{'|'.join(SYLLABLES)}){{2}}(?:{'|'.join(_ENDINGS)})"
_RELATION = "|".join(name.replace(" ", r"\s*") for name in RELATIONS)
_SEEN = re.compile(rf"(?P<relation>{_RELATION})\s*(?P<value>{_NAME}|\d{{4}})|(?P<name>{_NAME})", re.IGNORECASE)
_CANONICAL = {name.replace(" ", ""): name for name in RELATIONS}


def statements(text: str) -> list[Statement]:
    """The statements of a text: a relation with a value right behind it, about the last name before it that stands free."""
    found: list[Statement] = []
    subject: str | None = None
    for seen in _SEEN.finditer(text):
        if seen["name"]:
            subject = seen["name"].capitalize()
            continue
        relation = _CANONICAL["".join(seen["relation"].lower().split())]
        value = seen["value"]
        possible = value.isdecimal() == (RELATIONS[relation].value == "year")
        if value.isdecimal():
            possible = possible and FIRST_YEAR <= int(value) <= LAST_YEAR
        if subject is not None and possible:
            found.append((subject, relation, value.capitalize()))
        subject = None
    return found


def answer(text: str, question: WorldQuestion) -> str | None:
    """The answer to a question from a text that was read; None where a hop is missing. Of two statements the first counts."""
    known: dict[tuple[str, str], str] = {}
    for subject, relation, value in statements(text):
        known.setdefault((subject, relation), value)
    at: str | None = question.start
    for relation in question.relations:
        at = known.get((at, relation)) if at is not None else None
    return at
