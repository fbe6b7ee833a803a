"""The values a user begins with, what changes in each period, and the events that explain it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memagent.environments.amemgym.generate.by_model.prompts import numbered, prompt
from memagent.environments.amemgym.generate.by_model.response_schemas import (
    EventDraft,
    EventsAnswer,
    HintsAnswer,
    StateAnswer,
    TextAnswer,
    UpdateAnswer,
)
from memagent.environments.amemgym.generate.by_model.writer import HIGH, MAX_REWRITES, Writer, reject
from memagent.environments.amemgym.generate.presets import GeneratorSettings
from memagent.environments.amemgym.generate.sessions import MAX_EXPOSED, period_bounds
from memagent.environments.amemgym.generate.trajectory import draw_count
from memagent.environments.amemgym.generate.working_files import PeriodChange, Schema, State
from memagent.errors import MalformedOutput


@dataclass(frozen=True)
class StateTrajectory:
    """The values of a user over all periods."""

    states: list[State]
    changes: list[PeriodChange]
    counts: dict[str, int]
    over_cap: int
    """Changes beyond the cap, made because too few variables were left under it."""


def moves(change: PeriodChange, schema: Schema, variables: Sequence[str]) -> dict[str, dict[str, object]]:
    """From where to where some variables moved, as prompts show it."""
    return {one: {"from": change.old[one], "to": change.new[one], "possible": list(schema[one])} for one in variables}


def legal(values: Mapping[str, str], schema: Schema) -> list[str]:
    """What is wrong with values: variables that the schema lacks, and values that it does not allow."""
    problems = [f"{name} is not a property of the schema" for name in values if name not in schema]
    problems += [
        f"{name} is {value!r}, not one of {', '.join(map(repr, schema[name]))}"
        for name, value in values.items()
        if name in schema and value not in schema[name]
    ]
    return problems


# -- values -----------------------------------------------------------------------------------------------------------


def write_start(writer: Writer, profile: str, schema: Schema, settings: GeneratorSettings) -> State:
    def check(answer: StateAnswer) -> None:
        reject([*legal(answer.state, schema), *(f"{name} is missing" for name in schema if name not in answer.state)])

    asked = prompt("state", {"profile": profile, "schema": schema}, settings)
    answer = writer.ask("initial state", asked, StateAnswer, check=check)
    return {name: answer.state[name] for name in schema}


def write_trajectory(writer: Writer, profile: str, schema: Schema, settings: GeneratorSettings) -> StateTrajectory:
    """The start, then what changes in each period, then what brought each change about."""
    states, changes = [write_start(writer, profile, schema, settings)], list[PeriodChange]()
    counts = Counter(dict.fromkeys(schema, 0))
    over_cap, rng = 0, writer.rng("numbers of changes")
    for number in range(1, settings.num_periods + 1):
        room = {name: settings.max_changes_per_state - counts[name] for name in schema}
        drawn = draw_count(room, settings.num_periods - number + 1, settings, rng)
        count, may, must = _changeable(room, drawn, settings)
        change = _write_change(
            writer, profile, schema, states[-1], changes, number=number, count=count, may=may, must=must, settings=settings
        )
        over_cap += sum(room[name] <= 0 for name in change.new)
        counts.update(change.new.keys())
        states.append(states[-1] | change.new)
        changes.append(change)
    told = [write_events(writer, schema, *one, number) for number, one in enumerate(zip(states, changes, strict=False), 1)]
    return StateTrajectory(states, told, dict(counts), over_cap)


def _changeable(room: Mapping[str, int], drawn: int, settings: GeneratorSettings) -> tuple[int, dict[str, int], list[str]]:
    """How many variables change, which may with the changes left to each, and which have to.

    The cap is hard, unless fewer variables than the least number are under it: then these change, and others with them.
    """
    under = {name: left for name, left in room.items() if left > 0}
    if len(under) >= settings.fewest_changes:
        return min(drawn, len(under)), under, []
    return min(settings.fewest_changes, len(room)), {name: max(0, left) for name, left in room.items()}, list(under)


def _write_change(
    writer: Writer,
    profile: str,
    schema: Schema,
    state: State,
    earlier: Sequence[PeriodChange],
    *,
    number: int,
    count: int,
    may: Mapping[str, int],
    must: Sequence[str],
    settings: GeneratorSettings,
) -> PeriodChange:
    def check(answer: UpdateAnswer) -> None:
        updated = answer.updated
        problems = legal(updated, schema)
        if len(updated) != count:
            problems.insert(0, f"{len(updated)} properties change, exactly {count} have to")
        problems += [f"{name} is {value!r} already" for name, value in updated.items() if state.get(name) == value]
        problems += [f"{name} may not change any more" for name in updated if name in schema and name not in may]
        problems += [f"{name} has to change" for name in must if name not in updated]
        reject(problems)

    bounds = period_bounds(settings.start_date, number, settings.num_months_per_period)
    earlier_periods = [{"summary": one.summary, "updated": one.new} for one in earlier]
    shown = {"profile": profile, "schema": schema, "present": state, "earlier_periods": earlier_periods, "may_change": may}
    more = f" These must be among them: {', '.join(must)}." if must else ""
    asked = prompt("update", shown, settings, number=number, begin=bounds[0], end=bounds[1], count=count, must=more)
    answer = writer.ask(f"changes of period {number}", asked, UpdateAnswer, check=check, temperature=HIGH)
    old = {name: state[name] for name in answer.updated}
    return PeriodChange(bounds, answer.period_summary, old, dict(answer.updated))


# -- events -----------------------------------------------------------------------------------------------------------


def write_events(writer: Writer, schema: Schema, state: State, change: PeriodChange, number: int) -> PeriodChange:
    """The events of one period, whose values before it are `state`: the change with events that hint at nothing else."""
    step = f"events of period {number}"
    unchanged = {name: value for name, value in state.items() if name not in change.new}
    shown = {"summary": change.summary, "changes": moves(change, schema, list(change.new)), "unchanged": unchanged}
    asked = prompt("events", shown, begin=change.bounds[0], end=change.bounds[1])
    answer = writer.ask(step, asked, EventsAnswer, check=lambda found: _covering(found.events, change))
    events = [(tuple(one.states), one.event) for one in answer.events]
    for turn in range(MAX_REWRITES + 1):
        leaks = _leaks(writer, f"{step}, check {turn}", [text for _, text in events], schema, change)
        if not leaks:
            return PeriodChange(change.bounds, change.summary, change.old, change.new, tuple(events))
        if turn < MAX_REWRITES:
            writer.repairs += len(leaks) + 1
            for place, names in leaks.items():
                variables, text = events[place]
                avoid = {one: schema[one] for one in names}
                again = prompt("event_again", {"event": text, "changes": moves(change, schema, variables), "avoid": avoid})
                events[place] = (variables, writer.ask(f"{step}, rewrite {turn} of {place}", again, TextAnswer).text)
    hinted = "; ".join(f"{events[place][1]!r} hints at {', '.join(names)}" for place, names in leaks.items())
    raise MalformedOutput(f"{step}: still wrong after {MAX_REWRITES} rewrites: {hinted}", output=hinted)


def _covering(events: Sequence[EventDraft], change: PeriodChange) -> None:
    """Each changed variable in one event, none besides, and no event with too many."""
    times = Counter(name for one in events for name in one.states)
    problems = [f"{name} did not change, so no event may name it" for name in times if name not in change.new]
    problems += [f"{name} has no event" for name in change.new if name not in times]
    problems += [f"{name} is named {count} times" for name, count in times.items() if count > 1]
    problems += [
        f"event {number} explains {len(one.states)} changes, {MAX_EXPOSED} at most may go together"
        for number, one in enumerate(events, 1)
        if len(one.states) > MAX_EXPOSED
    ]
    reject(problems)


def _leaks(writer: Writer, step: str, events: Sequence[str], schema: Schema, change: PeriodChange) -> dict[int, list[str]]:
    """Events, from 0, that hint at variables that did not change."""

    def check(answer: HintsAnswer) -> None:
        problems = [f"there is no event {one.event}" for one in answer.hints if not 1 <= one.event <= len(events)]
        reject(problems + [problem for one in answer.hints for problem in legal({one.variable: one.value}, schema)])

    found: dict[int, list[str]] = {}
    asked = prompt("hints", {"events": numbered(events), "schema": schema})
    for hint in writer.ask(step, asked, HintsAnswer, check=check).hints:
        if hint.variable not in change.new:
            found.setdefault(hint.event - 1, []).append(hint.variable)
    return found
