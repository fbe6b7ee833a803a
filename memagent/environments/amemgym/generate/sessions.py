"""Conversations of a user: when they are, what the user says first in each, and what happened before it.

Periods have whole months, and sessions take the evenings of a period's last days.
At the start the variables of a domain are told together, later mostly one at a time. An utterance is a request with one cue
for each variable; after a change it also says what happened. Phrases are taken in turn, so that a user repeats one only
when there is none left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from random import Random

from memagent.environments.amemgym.generate.templates import TemplateBank, phrasings
from memagent.errors import InputError

EARLIEST, LATEST = 19 * 3600, 22 * 3600
"""Seconds of the day between which sessions begin, both included."""
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""February has 28 days in every year, as in the official code."""
MAX_EXPOSED = 3
TOLD_TOGETHER, TOGETHER = 0.85, 0.5
"""Probabilities that variables of one domain are told in one conversation: at the start, and when they change together."""

_OPENERS = ("To give you some background, ", "You should know that ", "Just so you know, ", "For context, ", "A bit about me: ")
_LEADS = ("These days ", "Lately ", "At the moment ", "Currently ")
_JOINS = ("Besides, ", "Also, ", "On top of that, ", "Apart from that, ", "And ")
_TURNS = ("Anyway, ", "So tell me: ", "Here's my question: ", "While I'm at it: ", "One question: ")
_NOW = ("Now ", "So now ", "The result is that ")
_LASTING = {"had", "lacked", "wanted", "felt", "missed", "longed", "needed", "couldn't", "hated", "preferred", "craved"}
_LASTING |= {"was", "got", "grew", "found"}
"""Verbs of what has no moment at which it happened: "ever since" and "recently" do not go with them."""
_RECENT = ("Recently I ", "A few weeks ago I ", "Not long ago I ", "I ", "I ")


def add_months(day: date, months: int) -> date:
    """The same day so many months later, at most the last one of that month."""
    years, month = divmod(day.month - 1 + months, 12)
    return date(day.year + years, month + 1, min(day.day, _DAYS[month]))


def period_bounds(start: date, period: int, months: int) -> tuple[date, date]:
    """Start and end of an update period, counted from 1; the end is the start of the next one."""
    return add_months(start, (period - 1) * months), add_months(start, period * months)


def session_times(count: int, end: date, rng: Random, *, start: date | None = None) -> list[str]:
    """Times of so many sessions: one on each of the last days up to and including `end`, in order.

    With `start`, the sessions must fit between it and the end; raises `InputError` when they do not.
    """
    if start is not None and count > (end - start).days:
        raise InputError(f"{count} sessions do not fit in the {(end - start).days} days from {start} to {end}; take fewer")
    days = [end - timedelta(days=back) for back in range(count - 1, -1, -1)]
    begun = (datetime.combine(day, time()) + timedelta(seconds=rng.randint(EARLIEST, LATEST)) for day in days)
    return [moment.strftime("%Y-%m-%d %H:%M:%S") for moment in begun]


def session_groups(variables: Sequence[str], domains: Mapping[str, str], rng: Random, *, together: float) -> list[list[str]]:
    """Variables told in one conversation each, in a drawn order."""
    groups: dict[str, list[list[str]]] = {}
    for variable in variables:
        told = groups.setdefault(domains[variable], [])
        if told and len(told[-1]) < MAX_EXPOSED and rng.random() < together:
            told[-1].append(variable)
        else:
            told.append([variable])
    found = [group for told in groups.values() for group in told]
    rng.shuffle(found)
    return found


class Phrasebook:
    """Words of one user: each phrase is used once before any is used again."""

    def __init__(self, bank: TemplateBank, rng: Random) -> None:
        self._variables = bank.variables
        self._rng = rng
        self._left: dict[object, list[str]] = {}

    def opening(self, exposed: Mapping[str, str]) -> str:
        cues = [self._cue(variable, value) for variable, value in exposed.items()]
        request = self._request(list(exposed))
        told = self._statements(cues)
        return f"{request} {told}" if self._rng.random() < 0.25 else f"{told} {self._turned(request)}"

    def news(self, exposed: Mapping[str, str], events: Sequence[str]) -> str:
        """The utterance that tells changed values, with the verb phrases of what happened."""
        pairs = [
            self._change(self._cue(variable, value), event, first=place == 0)
            for place, ((variable, value), event) in enumerate(zip(exposed.items(), events, strict=True))
        ]
        request = self._request(list(exposed))
        told = " ".join(pairs)
        return f"{request} {told}" if self._rng.random() < 0.15 else f"{told} {self._turned(request)}"

    def event(self, variable: str, old: str, new: str) -> str:
        return self._next((variable, old, new), self._variables[variable].events(old, new))

    def _cue(self, variable: str, value: str) -> str:
        return self._next((variable, value), self._variables[variable].cues_of(value))

    def _request(self, variables: Sequence[str]) -> str:
        variable = self._rng.choice(variables)
        return self._rng.choice(phrasings(self._next(variable, self._variables[variable].frames)))

    def _statements(self, cues: Sequence[str]) -> str:
        first, *others = cues
        drawn = self._rng.random()
        if drawn < 0.2:
            begun = f"{self._rng.choice(_OPENERS)}{first}."
        elif drawn < 0.35 and first.startswith("I "):
            begun = f"{self._rng.choice(_LEADS)}{first}."
        else:
            begun = f"{_capital(first)}."
        joins = self._rng.sample(_JOINS, MAX_EXPOSED - 1)
        return " ".join([begun, *(f"{join}{cue}." for join, cue in zip(joins, others, strict=False))])

    def _change(self, cue: str, event: str, *, first: bool) -> str:
        if not first:
            return f"Also, I {event}, so {cue}."
        drawn = self._rng.random()
        lasting = event.partition(" ")[0] in _LASTING
        if drawn < 0.25 and not lasting and cue.startswith(("I ", "my ")):
            return f"Ever since I {event}, {cue}."
        if drawn < 0.5:
            return f"I {event}, so {cue}."
        begun = "I " if lasting else self._rng.choice(_RECENT)
        return f"{begun}{event}. {self._rng.choice(_NOW)}{cue}." if drawn < 0.8 else f"{begun}{event}. {_capital(cue)}."

    def _turned(self, request: str) -> str:
        if self._rng.random() < 0.8:
            return request
        return f"{self._rng.choice(_TURNS)}{request[0].lower()}{request[1:]}"

    def _next(self, key: object, phrases: Sequence[str]) -> str:
        left = self._left.setdefault(key, [])
        if not left:
            left.extend(self._rng.sample(phrases, len(phrases)))
        return left.pop()


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def as_event(events: Sequence[str]) -> str:
    """Verb phrases as the note of what happened before a conversation."""
    return " ".join(f"{_capital(event)}." for event in events)


def as_summary(name: str, events: Sequence[str]) -> str:
    return f"{name} {'; '.join(events)}."
