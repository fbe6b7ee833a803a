"""Questions with what their answers depend on, one name for each property, one list of values for each name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memagent.environments.amemgym.generate.by_model.prompts import prompt
from memagent.environments.amemgym.generate.by_model.response_schemas import (
    MergedAnswer,
    QuestionDraft,
    QuestionsAnswer,
    ValuesAnswer,
)
from memagent.environments.amemgym.generate.by_model.writer import HIGH, Writer, reject
from memagent.environments.amemgym.generate.presets import GeneratorSettings


@dataclass(frozen=True)
class QuestionPlan:
    """What is asked, and the schema that follows from it."""

    questions: tuple[tuple[str, tuple[str, ...]], ...]
    """Each question with its required variables."""
    schema: dict[str, tuple[str, ...]]


def plan_questions(writer: Writer, profile: str, settings: GeneratorSettings) -> QuestionPlan:
    """Ask for the questions, merge their variables, and give each one list of values."""
    drafts = writer.ask(
        "questions",
        prompt("questions", {"profile": profile}, settings),
        QuestionsAnswer,
        check=lambda answer: _sized(answer.questions, settings),
        temperature=HIGH,
    ).questions
    named = merged_names(writer, profile, drafts, settings)
    lists: dict[str, list[tuple[str, ...]]] = {}
    for draft in drafts:
        for need in draft.required_info:
            lists.setdefault(named[need.info_type], []).append(tuple(need.info_choices))
    open_ones = [name for name, found in lists.items() if len(set(found)) > 1]
    unified = _unified(writer, drafts, named, open_ones, settings) if open_ones else {}
    return QuestionPlan(
        questions=tuple((one.question, tuple(named[need.info_type] for need in one.required_info)) for one in drafts),
        schema={name: unified.get(name, found[0]) for name, found in lists.items()},
    )


def _sized(drafts: Sequence[QuestionDraft], settings: GeneratorSettings) -> None:
    """As many questions, variables and values as asked for, none of them twice."""
    problems = []
    if len(drafts) != settings.num_questions:
        problems.append(f"there are {len(drafts)} questions, {settings.num_questions} are wanted")
    if len({one.question for one in drafts}) < len(drafts):
        problems.append("a question stands there twice")
    for number, one in enumerate(drafts, 1):
        names = [need.info_type for need in one.required_info]
        if len(names) != settings.num_states_per_question:
            problems.append(f"question {number} has {len(names)} properties, not {settings.num_states_per_question}")
        problems += [f"question {number} has {name} {times} times" for name, times in Counter(names).items() if times > 1]
        for need in one.required_info:
            if (
                len(set(need.info_choices)) != len(need.info_choices)
                or len(need.info_choices) != settings.num_choices_per_state
            ):
                wanted = f"{settings.num_choices_per_state} different values"
                problems.append(f"{need.info_type} of question {number} has {need.info_choices}, not {wanted}")
    reject(problems)


# -- names ------------------------------------------------------------------------------------------------------------


def merged_names(writer: Writer, profile: str, drafts: Sequence[QuestionDraft], settings: GeneratorSettings) -> dict[str, str]:
    """Each name of a variable to the one that stays. Raises `MalformedOutput`."""
    names = dict.fromkeys(need.info_type for draft in drafts for need in draft.required_info)
    fewest = min(settings.most_changes, len(names))

    def check(answer: MergedAnswer) -> None:
        times = Counter(name for group in answer.merged.values() for name in group)
        problems = [f"{name} is in no group" for name in names if name not in times]
        problems += [f"{name} is not a name of the questions" for name in times if name not in names]
        problems += [f"{name} is in {count} groups" for name, count in times.items() if count > 1]
        problems += [f"the group {name} is empty" for name, group in answer.merged.items() if not group]
        problems += [
            f"the group {name} does not hold {name}, which is another property"
            for name, group in answer.merged.items()
            if name in names and name not in group
        ]
        if len(answer.merged) < fewest:
            problems.append(f"only {len(answer.merged)} groups are left, {fewest} are needed; merge only what means the same")
        reject(problems)
        named = _inverse(answer.merged)
        for number, one in enumerate(drafts, 1):
            needs = Counter(named[need.info_type] for need in one.required_info)
            problems += [f"question {number} would depend on {name} {n} times" for name, n in needs.items() if n > 1]
        reject(problems)

    asked = prompt("merge", {"profile": profile, "questions": [one.model_dump() for one in drafts]})
    answer = writer.ask("merging of variables", asked, MergedAnswer, check=check)
    return _inverse(answer.merged)


def _inverse(merged: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {name: stays for stays, group in merged.items() for name in group}


# -- values -----------------------------------------------------------------------------------------------------------


def contexts_of(
    drafts: Sequence[QuestionDraft], named: Mapping[str, str], names: Sequence[str]
) -> dict[str, list[Mapping[str, object]]]:
    """Where each of some variables is used, and with which values."""
    found: dict[str, list[Mapping[str, object]]] = {name: [] for name in names}
    for draft in drafts:
        for need in draft.required_info:
            if named[need.info_type] in found:
                found[named[need.info_type]].append({"question": draft.question, **need.model_dump()})
    return found


def _unified(
    writer: Writer,
    drafts: Sequence[QuestionDraft],
    named: Mapping[str, str],
    names: Sequence[str],
    settings: GeneratorSettings,
) -> dict[str, tuple[str, ...]]:
    size = settings.num_choices_per_state

    def check(answer: ValuesAnswer) -> None:
        problems = [f"{name} is missing" for name in names if name not in answer.values]
        problems += [f"{name} was not asked for" for name in answer.values if name not in names]
        problems += [
            f"{name} has {values}, not {size} different values"
            for name, values in answer.values.items()
            if len(set(values)) != len(values) or len(values) != size
        ]
        reject(problems)

    asked = prompt("unify", {"properties": contexts_of(drafts, named, names)}, settings)
    answer = writer.ask("values", asked, ValuesAnswer, check=check)
    return {name: tuple(values) for name, values in answer.values.items()}
