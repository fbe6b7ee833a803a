"""What must hold in an environment file, as eleven rules I1 to I11; each breach names its user, period and question.

The official loader checks none of it, and some breaches are then scored wrongly without a word (I7: where no option suits
the state, the last one counts as right). Nothing here stops at the first breach: one pass reports all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from memagent.environments.amemgym.data import UserItem, UserQuestion
from memagent.errors import InputError

RULES = {
    "I1": "every state assigns exactly the variables of the schema, with legal values",
    "I2": "a state is the previous one with the updates, and each update really changes the value it names as old",
    "I3": "the updates of the period 0 cover the schema",
    "I4": "the sessions of a period expose exactly its updates",
    "I5": "required variables are in the schema, each once",
    "I6": "no two options of a question have the same values",
    "I7": "for every period one option suits the state",
    "I8": "session times are times and do not decrease",
    "I9": "all users have equally many periods and questions",
    "I10": "an option is of the type experience exactly where some period has its values",
    "I11": "update_cnts are the numbers of changes over all periods",
}
_SHOWN = 10
"""Violations that an error shows."""
_TIME = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One breach of a rule."""

    rule: str
    """I1 to I11, see `RULES`."""
    user: str
    period: int | None = None
    """None where the rule is not about one period."""
    question: int | None = None
    """0-based; None where the rule is not about one question."""
    message: str

    def __str__(self) -> str:
        period = "" if self.period is None else f", period {self.period}"
        question = "" if self.question is None else f", question {self.question}"
        return f"{self.rule} user {self.user}{period}{question}: {self.message}"


Breach = tuple[str, int | None, int | None, str]
"""Rule, period, question, and what is wrong."""


def check_items(items: Sequence[UserItem]) -> list[Violation]:
    """All breaches of I1 to I11, user by user; those of I9, which compares users, last."""
    found = [
        Violation(rule=rule, user=item.id, period=period, question=question, message=message)
        for item in items
        for check in _CHECKS
        for rule, period, question, message in check(item)
    ]
    for what, sizes in (("periods", [len(item.periods) for item in items]), ("questions", [len(item.qas) for item in items])):
        usual = Counter(sizes).most_common(1)[0][0] if sizes else 0
        for item, size in zip(items, sizes, strict=True):
            if size != usual:
                found.append(Violation(rule="I9", user=item.id, message=f"{size} {what}, most users have {usual}"))
    return found


def require_valid(items: Sequence[UserItem], where: object) -> None:
    """Raise `InputError` that lists the first breaches, if there are any; `where` names the data."""
    if violations := check_items(items):
        shown = "; ".join(str(one) for one in violations[:_SHOWN])
        more = f"; and {len(violations) - _SHOWN} more" if len(violations) > _SHOWN else ""
        raise InputError(f"{where} breaks {len(violations)} rules: {shown}{more}. Mend the file, or load it without strict")


def _states(item: UserItem) -> Iterator[Breach]:
    for p, period in enumerate(item.periods):
        for variable in sorted(period.state.keys() ^ item.state_schema.keys()):
            where = "not in the schema" if variable in period.state else "missing from the state"
            yield "I1", p, None, f"{variable!r} is {where}"
        for variable, value in period.state.items():
            legal = item.state_schema.get(variable)
            if legal is not None and value not in legal:
                allowed = ", ".join(map(repr, legal))
                yield "I1", p, None, f"{variable!r} is {value!r}, not one of {allowed}"


def _updates(item: UserItem) -> Iterator[Breach]:
    before: dict[str, str] = {}
    for p, period in enumerate(item.periods):
        for variable, update in period.updates.items():
            if update.old != before.get(variable):
                yield "I2", p, None, f"the update of {variable!r} says it was {update.old!r}, it was {before.get(variable)!r}"
            if update.old == update.new:
                yield "I2", p, None, f"the update of {variable!r} changes nothing"
        after = before | {variable: update.new for variable, update in period.updates.items()}
        for variable in sorted(after.keys() | period.state.keys()) if p else ():
            found, wanted = period.state.get(variable), after.get(variable)
            if found != wanted:
                yield "I2", p, None, f"{variable!r} is {found!r}, by the updates it is {wanted!r}"
        before = period.state


def _start(item: UserItem) -> Iterator[Breach]:
    if not item.periods:
        yield "I3", None, None, "there is no period 0"
        return
    first = item.periods[0]
    for variable in sorted(first.updates.keys() ^ item.state_schema.keys()):
        where = "updated but not in the schema" if variable in first.updates else "in the schema but not among the updates"
        yield "I3", 0, None, f"{variable!r} is {where}"
    for variable, update in first.updates.items():
        if variable in first.state and first.state[variable] != update.new:
            yield "I3", 0, None, f"{variable!r} is {first.state[variable]!r}, its update says {update.new!r}"


def _exposures(item: UserItem) -> Iterator[Breach]:
    for p, period in enumerate(item.periods):
        wanted = {variable: {update.new} for variable, update in period.updates.items()}
        shown: dict[str, set[str]] = {}
        for variable, value in (pair for session in period.sessions for pair in session.exposed_states.items()):
            shown.setdefault(variable, set()).add(value)
        for variable in sorted(wanted.keys() | shown.keys()):
            if wanted.get(variable) != shown.get(variable):
                exposed = " and ".join(map(repr, sorted(shown.get(variable, ())))) or "nothing"
                new = next(iter(wanted.get(variable, ())), None)
                yield "I4", p, None, f"the sessions expose {exposed} for {variable!r}, the update is {new!r}"


def _questions(item: UserItem) -> Iterator[Breach]:
    for q, question in enumerate(item.qas):
        for variable, times in Counter(question.required_info).items():
            if variable not in item.state_schema:
                yield "I5", None, q, f"the required variable {variable!r} is not in the schema"
            if times > 1:
                yield "I5", None, q, f"the variable {variable!r} is required {times} times"
        for state, times in Counter(choice.state for choice in question.answer_choices).items():
            if times > 1:
                yield "I6", None, q, f"{times} options have the values {list(state)}"
        yield from _options(item, q, question)


def _options(item: UserItem, q: int, question: UserQuestion) -> Iterator[Breach]:
    variants = [tuple(period.state.get(variable) for variable in question.required_info) for period in item.periods]
    offered: set[tuple[str | None, ...]] = {choice.state for choice in question.answer_choices}
    for p, variant in enumerate(variants):
        if variant not in offered:
            yield "I7", p, q, f"no option has the values {list(variant)}"
    for k, choice in enumerate(question.answer_choices):
        right = "experience" if choice.state in variants else "random"
        if choice.type != right:
            yield "I10", None, q, f"option {k} is of the type {choice.type!r}, by the periods it is {right!r}"


def _times(item: UserItem) -> Iterator[Breach]:
    latest: datetime | None = None
    for p, period in enumerate(item.periods):
        for session in period.sessions:
            try:
                time = datetime.strptime(session.session_time, _TIME)
            except ValueError:
                yield "I8", p, None, f"session_time is {session.session_time!r}, not of the form YYYY-MM-DD HH:MM:SS"
                continue
            if latest is not None and time < latest:
                yield "I8", p, None, f"a session at {session.session_time} follows one at {latest}"
            latest = time if latest is None else max(time, latest)


def _counts(item: UserItem) -> Iterator[Breach]:
    changes = Counter(variable for period in item.periods[1:] for variable in period.updates)
    for p, period in enumerate(item.periods):
        for variable in sorted(item.state_schema.keys() | changes.keys() | period.update_cnts.keys()):
            said = period.update_cnts.get(variable, 0)
            if said != changes[variable]:
                yield "I11", p, None, f"update_cnts says {said} for {variable!r}, the periods have {changes[variable]}"


_CHECKS: tuple[Callable[[UserItem], Iterator[Breach]], ...] = (
    _states,
    _updates,
    _start,
    _exposures,
    _questions,
    _times,
    _counts,
)
