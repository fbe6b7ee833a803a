"""The questions of a user and their answer options.

Questions come first: each takes variables of one domain, mostly of a new one, and together they make the schema. When the
trajectory is known, a question gets an option for every variant that it passes through. Where these are too few, more are
drawn from those that differ from a passed one in a single value, so that half an answer is not enough. Options stand in
an order shuffled by a seed of the user and the question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from random import Random

from memagent.environments.amemgym.data import Choice, UserQuestion
from memagent.environments.amemgym.generate.presets import GeneratorSettings
from memagent.environments.amemgym.generate.templates import TemplateBank
from memagent.errors import InputError

SECOND_QUESTION = 0.05
"""Probability of a further question about a domain that was asked about, where it has variables enough."""


@dataclass(frozen=True)
class PlannedQuestion:
    """A question without its options."""

    domain: str
    query: str
    required: tuple[str, ...]


def draw_questions(bank: TemplateBank, *, settings: GeneratorSettings, working: bool, rng: Random) -> list[PlannedQuestion]:
    """Questions of one user. Raises `InputError` when the bank has not enough of them."""
    size = settings.num_states_per_question
    fresh = [one for one in bank.domains if len(one.variables) >= size and (working or one.open_to == "all")]
    rng.shuffle(fresh)
    again: list[PlannedQuestion] = []
    found: list[PlannedQuestion] = []
    while len(found) < settings.num_questions:
        if again and (not fresh or rng.random() < SECOND_QUESTION):
            found.append(again.pop(rng.randrange(len(again))))
        elif fresh:
            domain = fresh.pop()
            choices, wordings = list(combinations(domain.variables, size)), list(domain.questions)
            rng.shuffle(choices)
            rng.shuffle(wordings)  # each choice of variables is asked in a wording of its own
            asked = zip(choices, wordings, strict=False)
            first, *others = [PlannedQuestion(domain.name, query, required) for required, query in asked]
            found.append(first)
            again.extend(others)
        else:
            raise InputError(
                f"num_questions is {settings.num_questions}, but the bank has only {len(found)} questions about {size} "
                "variables for this user; ask for fewer"
            )
    return found


def schema_of(
    questions: Sequence[PlannedQuestion], bank: TemplateBank, *, size: int, rng: Random
) -> dict[str, tuple[str, ...]]:
    """The variables of all questions, each with `size` neighbouring values in order."""
    schema = {}
    for variable in dict.fromkeys(name for question in questions for name in question.required):
        values = bank.variables[variable].values
        first = rng.randint(0, len(values) - size)
        schema[variable] = values[first : first + size]
    return schema


def with_options(
    asked: PlannedQuestion,
    schema: Mapping[str, Sequence[str]],
    states: Sequence[Mapping[str, str]],
    *,
    bank: TemplateBank,
    least: int,
    rng: Random,
) -> UserQuestion:
    """The question with an option for each variant of the trajectory, and at least so many in all."""
    variants = variants_of(asked.required, schema, states, least=least, rng=rng)
    choices = []
    for variant, lived in variants.items():
        advice = [bank.variables[name].advice_for(value) for name, value in zip(asked.required, variant, strict=True)]
        choices.append(Choice(state=variant, answer=" ".join(advice), type="experience" if lived else "random"))
    return UserQuestion(query=asked.query, required_info=asked.required, answer_choices=tuple(choices))


def variants_of(
    required: Sequence[str],
    schema: Mapping[str, Sequence[str]],
    states: Sequence[Mapping[str, str]],
    *,
    least: int,
    rng: Random,
) -> dict[tuple[str, ...], bool]:
    """What a question's options are about, in a drawn order, and whether each comes about in some state.

    Where fewer than `least` do, more follow: first those that differ from one that does in a single value.
    """
    lived = list(dict.fromkeys(tuple(state[variable] for variable in required) for state in states))
    rest = [variant for variant in product(*(schema[one] for one in required)) if variant not in lived]
    rng.shuffle(rest)
    rest.sort(key=lambda variant: min(sum(a != b for a, b in zip(variant, one, strict=True)) for one in lived))
    variants = [*lived, *rest[: max(0, least - len(lived))]]
    rng.shuffle(variants)
    return {variant: variant in lived for variant in variants}
