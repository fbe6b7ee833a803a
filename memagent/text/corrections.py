"""Whether something said later corrects what answers a question.

An earlier line may say several things ("My name is Marta and I live in Lyon"); only the clause that the question is about
counts. What is quoted, supposed or asked corrects nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from memagent.text.amendments import amended, is_bare, values
from memagent.text.attributes import Statement, corrects, in_earnest, meaning
from memagent.text.dates import date_intervals
from memagent.text.facts import facts
from memagent.text.sentences import is_question
from memagent.text.tokens import query_terms, terms

ANOTHER_VALUE = 2.0
"""Weight from which the later line gives another value of the same thing; below, it tells of a change in what that is about."""
COMPARED = 600
"""Characters of a passage that are worth comparing."""
_MOST_FACTS = 6
"""Of a line that are compared."""


def outdates(new: str, old: str, question: str = "", *, between: Sequence[str] | None = None) -> float:
    """How likely the line `new`, said later, corrects what the line `old` says to a question; 0 where nothing speaks for it.

    `between` is what the same voice said between them, where that is known and little: "No, it's 37" may be about the old line
    without naming it.
    """
    if not in_earnest(new):
        return 0.0
    if between is not None and amended(new, [old, *between]) == 0:
        return 1.0
    later = [meaning(one) for one in _told(new)]
    clauses = _told(old) or (old,)
    weights = [max((_weight(one, meaning(clause), question) for one in later), default=0.0) for clause in clauses]
    if len(clauses) == 1 or not any(weights):
        return weights[0]
    asked = set(query_terms(question))
    about = [len(asked.intersection(terms(clause))) for clause in clauses]
    return max(weight if share == max(about) else 0.0 for weight, share in zip(weights, about, strict=True))


def _weight(new: Statement, old: Statement, question: str) -> float:
    """How likely one statement corrects another: by what both say, or 1 where it says the same with another value."""
    return corrects(new, old) or float(_says_otherwise(new, old, question))


def _says_otherwise(new: Statement, old: Statement, question: str) -> bool:
    """Whether a statement says what another does, but with another value of one kind ("from platform 7" for "platform 4").

    Not where the question names the older value or a day: what happened on another one is no correction.
    """
    ours, others = values(old.text), values(new.text)
    ended = {kind: named - others[kind] for kind, named in ours.items() if kind in others}
    changed = {kind for kind, named in ended.items() if named == ours[kind]}
    told = set(terms(" ".join(value for named in ended.values() for value in named)))
    rest = old.content - told
    same = bool(rest) and 3 * len(rest & new.content) >= 2 * len(rest)
    return bool(changed) and same and told.isdisjoint(terms(question)) and not _names_day(question)


@lru_cache(maxsize=256)
def _names_day(question: str) -> bool:
    return bool(date_intervals(question, now=datetime(2000, 1, 1)))


def may_correct(line: str) -> bool:
    """Whether `line` tells of a change or a value: what does not corrects only lines that it repeats with another value."""
    if not in_earnest(line):
        return False
    found = map(meaning, _told(line))
    return any(one.negative or one.changed or one.attribute is not None for one in found) or is_bare(line)


def name_alike(new: str, old: str) -> bool:
    """Whether two lines name values of one kind: where not, one that `may_correct` denies does not correct the other."""
    return not values(meaning(new).text).keys().isdisjoint(values(meaning(old).text))


@lru_cache(maxsize=16_384)
def _told(line: str) -> tuple[str, ...]:
    return tuple(one for one in facts(line)[:_MOST_FACTS] if not is_question(one))
