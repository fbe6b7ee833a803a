"""For each question an answer for each variant, which a reader takes for that variant and no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memagent.environments.amemgym.generate.by_model.prompts import numbered, prompt
from memagent.environments.amemgym.generate.by_model.questions import QuestionPlan
from memagent.environments.amemgym.generate.by_model.response_schemas import ChoiceAnswer, OptionsAnswer, TextAnswer
from memagent.environments.amemgym.generate.by_model.writer import Writer, reject
from memagent.environments.amemgym.generate.questions import variants_of

Option = tuple[tuple[str, ...], str]
"""A variant and the answer that suits it."""


def option_seed(place: int) -> str:
    """The name of the draws behind a question's options, from which their order comes."""
    return f"options:{place}"


def write_options(writer: Writer, plan: QuestionPlan, states: Sequence[Mapping[str, str]], *, least: int) -> list[list[Option]]:
    """The options of each question of a plan, in a drawn order, at least `least` each. Raises `MalformedOutput`."""
    found = []
    for place, (question, required) in enumerate(plan.questions):
        variants = list(variants_of(required, plan.schema, states, least=least, rng=writer.rng(option_seed(place))))
        found.append(_write(writer, f"options of question {place + 1}", question, required, variants))
    return found


def _write(
    writer: Writer, step: str, question: str, required: Sequence[str], variants: Sequence[tuple[str, ...]]
) -> list[Option]:
    shown = [dict(zip(required, variant, strict=True)) for variant in variants]
    keys = [f"variant_{number}" for number in range(1, len(variants) + 1)]

    def check(answer: OptionsAnswer) -> None:
        problems = [f"{key} is missing" for key in keys if key not in answer.answers]
        problems += [f"there is no {key}" for key in answer.answers if key not in keys]
        if len(set(answer.answers.values())) < len(answer.answers):
            problems.append("two variants have the same answer")
        reject(problems)

    asked = prompt("options", {"question": question, "variants": dict(zip(keys, shown, strict=True))})
    drafts = writer.ask(step, asked, OptionsAnswer, check=check).answers
    texts = [drafts[key] for key in keys]
    for place in range(len(variants)):
        texts[place] = _distinct_text(writer, f"{step}, option {place + 1}", question, texts, shown, place)
    return list(zip(variants, texts, strict=True))


def _distinct_text(
    writer: Writer, step: str, question: str, texts: Sequence[str], shown: Sequence[Mapping[str, str]], place: int
) -> str:
    """The text of one option, written anew until a reader takes it for its variant."""
    others = [one for at, one in enumerate(shown) if at != place]
    taken = {text for at, text in enumerate(texts) if at != place}

    def in_range(answer: ChoiceAnswer) -> None:
        reject([] if 1 <= answer.variant <= len(shown) else [f"there is no variant {answer.variant}"])

    def problem(name: str, text: str) -> str | None:
        asked = prompt("choice", {"question": question, "answer": text, "variants": numbered(shown)})
        chosen = writer.ask(name, asked, ChoiceAnswer, check=in_range).variant
        return None if chosen == place + 1 else f"it was taken for variant {chosen}"

    def new(answer: TextAnswer) -> None:
        reject(["another situation has this answer already"] if answer.text in taken else [])

    def again(name: str, text: str, _: str) -> str:
        asked = prompt("option_again", {"question": question, "answer": text, "target": shown[place], "others": others})
        return writer.ask(name, asked, TextAnswer, check=new).text

    return writer.revise_until_sound(step, texts[place], problem=problem, again=again)
