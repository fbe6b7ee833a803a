"""What must hold in an environment file, as eleven rules I1 to I11; each breach names its user, period and question.

The official loader checks none of it, and some breaches are then scored wrongly without a word (I7: where no option suits
the state, the last one counts as right). Nothing here stops at the first breach: one pass reports all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from memagent.environments.amemgym.data import Period, UserItem, UserQuestion
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


def check_items(items: Sequence[UserItem]) -> list[Violation]:
    found = [violation for item in items for check in _CHECKS for violation in check(item)]
    return [*found, *_even(items)]


def require_valid(items: Sequence[UserItem], where: object) -> None:
    """Raise `InputError` that lists the first breaches, if there are any; `where` names the data."""
    if violations := check_items(items):
        shown = "; ".join(str(one) for one in violations[:_SHOWN])
        more = f"; and {len(violations) - _SHOWN} more" if len(violations) > _SHOWN else ""
        raise InputError(f"{where} breaks {len(violations)} rules: {shown}{more}. Mend the file, or load it without strict")


def _states(item: UserItem) -> Iterator[Violation]:
    for p, period in enumerate(item.periods):
        for variable in sorted(period.state.keys() ^ item.state_schema.keys()):
            where = "not in the schema" if variable in period.state else "missing from the state"
            yield Violation(rule="I1", user=item.id, period=p, message=f"{variable!r} is {where}")
        for variable, value in period.state.items():
            legal = item.state_schema.get(variable)
            if legal is not None and value not in legal:
                allowed = ", ".join(map(repr, legal))
                yield Violation(rule="I1", user=item.id, period=p, message=f"{variable!r} is {value!r}, not one of {allowed}")


def _updates(item: UserItem) -> Iterator[Violation]:
    before: dict[str, str] = {}
    for p, period in enumerate(item.periods):
        for variable, update in period.updates.items():
            if update.old != before.get(variable):
                message = f"the update of {variable!r} says it was {update.old!r}, it was {before.get(variable)!r}"
                yield Violation(rule="I2", user=item.id, period=p, message=message)
            if update.old == update.new:
                yield Violation(rule="I2", user=item.id, period=p, message=f"the update of {variable!r} changes nothing")
        after = before | {variable: update.new for variable, update in period.updates.items()}
        for variable in sorted(after.keys() | period.state.keys()) if p else ():
            if after.get(variable) != period.state.get(variable):
                message = f"{variable!r} is {period.state.get(variable)!r}, by the updates it is {after.get(variable)!r}"
                yield Violation(rule="I2", user=item.id, period=p, message=message)
        before = period.state


def _start(item: UserItem) -> Iterator[Violation]:
    if not item.periods:
        yield Violation(rule="I3", user=item.id, message="there is no period 0")
        return
    first = item.periods[0]
    for variable in sorted(first.updates.keys() ^ item.state_schema.keys()):
        where = "updated but not in the schema" if variable in first.updates else "in the schema but not among the updates"
        yield Violation(rule="I3", user=item.id, period=0, message=f"{variable!r} is {where}")
    for variable, update in first.updates.items():
        if variable in first.state and first.state[variable] != update.new:
            message = f"{variable!r} is {first.state[variable]!r}, its update says {update.new!r}"
            yield Violation(rule="I3", user=item.id, period=0, message=message)


def _exposures(item: UserItem) -> Iterator[Violation]:
    for p, period in enumerate(item.periods):
        wanted = {variable: {update.new} for variable, update in period.updates.items()}
        shown = _shown(period)
        for variable in sorted(wanted.keys() | shown.keys()):
            if wanted.get(variable) != shown.get(variable):
                exposed = " and ".join(map(repr, sorted(shown.get(variable, ())))) or "nothing"
                new = next(iter(wanted.get(variable, ())), None)
                message = f"the sessions expose {exposed} for {variable!r}, the update is {new!r}"
                yield Violation(rule="I4", user=item.id, period=p, message=message)


def _shown(period: Period) -> dict[str, set[str]]:
    shown: dict[str, set[str]] = {}
    for session in period.sessions:
        for variable, value in session.exposed_states.items():
            shown.setdefault(variable, set()).add(value)
    return shown


def _questions(item: UserItem) -> Iterator[Violation]:
    for q, question in enumerate(item.qas):
        for variable, times in Counter(question.required_info).items():
            if variable not in item.state_schema:
                message = f"the required variable {variable!r} is not in the schema"
                yield Violation(rule="I5", user=item.id, question=q, message=message)
            if times > 1:
                message = f"the variable {variable!r} is required {times} times"
                yield Violation(rule="I5", user=item.id, question=q, message=message)
        for state, times in Counter(choice.state for choice in question.answer_choices).items():
            if times > 1:
                message = f"{times} options have the values {list(state)}"
                yield Violation(rule="I6", user=item.id, question=q, message=message)
        yield from _options(item, q, question)


def _options(item: UserItem, q: int, question: UserQuestion) -> Iterator[Violation]:
    variants = [tuple(period.state.get(variable) for variable in question.required_info) for period in item.periods]
    offered: set[tuple[str | None, ...]] = {choice.state for choice in question.answer_choices}
    for p, variant in enumerate(variants):
        if variant not in offered:
            yield Violation(rule="I7", user=item.id, period=p, question=q, message=f"no option has the values {list(variant)}")
    for k, choice in enumerate(question.answer_choices):
        right = "experience" if choice.state in variants else "random"
        if choice.type != right:
            message = f"option {k} is of the type {choice.type!r}, by the periods it is {right!r}"
            yield Violation(rule="I10", user=item.id, question=q, message=message)


def _times(item: UserItem) -> Iterator[Violation]:
    latest: datetime | None = None
    for p, period in enumerate(item.periods):
        for session in period.sessions:
            try:
                time = datetime.strptime(session.session_time, _TIME)
            except ValueError:
                message = f"session_time is {session.session_time!r}, not of the form YYYY-MM-DD HH:MM:SS"
                yield Violation(rule="I8", user=item.id, period=p, message=message)
                continue
            if latest is not None and time < latest:
                message = f"a session at {session.session_time} follows one at {latest}"
                yield Violation(rule="I8", user=item.id, period=p, message=message)
            latest = time if latest is None else max(time, latest)


def _counts(item: UserItem) -> Iterator[Violation]:
    changes = Counter(variable for period in item.periods[1:] for variable in period.updates)
    for p, period in enumerate(item.periods):
        for variable in sorted(item.state_schema.keys() | changes.keys() | period.update_cnts.keys()):
            said = period.update_cnts.get(variable, 0)
            if said != changes[variable]:
                message = f"update_cnts says {said} for {variable!r}, the periods have {changes[variable]}"
                yield Violation(rule="I11", user=item.id, period=p, message=message)


def _even(items: Sequence[UserItem]) -> Iterator[Violation]:
    for what, sizes in (("periods", [len(item.periods) for item in items]), ("questions", [len(item.qas) for item in items])):
        usual = Counter(sizes).most_common(1)[0][0] if sizes else 0
        for item, size in zip(items, sizes, strict=True):
            if size != usual:
                yield Violation(rule="I9", user=item.id, message=f"{size} {what}, most users have {usual}")


_CHECKS: tuple[Callable[[UserItem], Iterator[Violation]], ...] = (
    _states,
    _updates,
    _start,
    _exposures,
    _questions,
    _times,
    _counts,
)
