r"""Boxed answers to mathematics: the last `\boxed{...}` of a reply in one form, and a checker for rows of a file.

The released checker of self-verification (arXiv 2602.07594) keeps the last 300 characters of a reply and looks for a box in the
last 200 of those, so a box counts when it opens in the last 200 characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from memagent.text.boxed import last_boxed
from memagent_training.tasks.base import Check

WINDOW = 200
"""Characters at the end of a reply in which a box must open."""
INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."

_WRAPPER = re.compile(r"\\(?:text(?:bf|it|rm)?|mbox|math(?:rm|bf|it))\s*\{([^{}]*)\}")
_SPACING = re.compile(r"\\(?:left(?![a-z])|right(?![a-z])|q?quad(?![a-z])|[ !,;:])|~")
_DEGREES = re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})|°")
_MONEY_OR_SHARE = re.compile(r"\\?[$%]")
_FRACTION = re.compile(r"\\[dt]frac(?![a-z])")
_BARE_FRACTION = re.compile(r"\\frac\s*([0-9a-zA-Z])\s*([0-9a-zA-Z])")
_BARE_ROOT = re.compile(r"\\sqrt\s*([0-9a-zA-Z])")
_UNIT = re.compile(
    r"(?<=[\d)}])\s*(?:(?:square|cubic)\s+)?"
    r"(?:units?|degrees?|dollars?|cents?|points?|percent|mph|km|cm|mm|gm|kg|(?:kilo|centi)?met(?:er|re)s?|miles?|inch(?:es)?|"
    r"feet|foot|pounds?|hours?|minutes?|seconds?|days?|weeks?|years?|ways|integers|digits|edges|students|meals|multiples)"
    r"(?:\s*\^\s*\{?[23]\}?)?$"
)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")


def generation_prompt(question: str) -> str:
    """The question with the instruction to reason step by step and to box the answer."""
    return f"{question}\n\n{INSTRUCTION}"


def without_instruction(question: str) -> str:
    """The question as it was before `generation_prompt`."""
    return question.strip().removesuffix(INSTRUCTION).rstrip()


def normalise_answer(text: str) -> str:
    r"""The answer in the one form in which answers are compared, after Minerva (arXiv 2206.14858, appendix) and DAPO.

    In order: only what follows the last `=`; `\text{}` and its like unwrapped; spacing commands, `\left`, `\right`, degree,
    dollar and per-cent signs dropped; a unit word behind a number dropped; `\dfrac`, `\tfrac` and bare arguments (`\frac12`,
    `\sqrt2`) written as `\frac{1}{2}`, `\sqrt{2}`; all white space dropped; thousands commas dropped from a number (`1,234`,
    not the pair `1,2`). Case and a final dot are kept: `yes` and `Yes.` are not `Yes`.
    """
    text = text.rpartition("=")[2].replace("{,}", ",")
    while text != (inner := _WRAPPER.sub(r" \1 ", text)):
        text = inner
    for unwanted in (_SPACING, _DEGREES, _MONEY_OR_SHARE):
        text = unwanted.sub(" ", text)
    text = _UNIT.sub("", text.strip())
    text = _BARE_FRACTION.sub(r"\\frac{\1}{\2}", _FRACTION.sub(r"\\frac", text))
    text = "".join(_BARE_ROOT.sub(r"\\sqrt{\1}", text).split())
    return text.replace(",", "") if _THOUSANDS.fullmatch(text) else text


def boxed_answer(text: str) -> str | None:
    """The last answer boxed in the last `WINDOW` characters, normalised; None when there is none."""
    found = last_boxed(text, window=WINDOW)
    return None if found is None else normalise_answer(found)


@dataclass(frozen=True, kw_only=True)
class BoxedAnswers:
    """The checker for rows of {`id`, `prompt`, `answer`} whose replies end with a box; `prompt` holds the instruction."""

    max_answer: int = 10_240
    """Most characters, and so at most as many tokens, of a reply."""

    def check(self, task: Mapping[str, object], text: str) -> Check:
        """Right when the normalised last box is the normalised reference; valid when there is a box."""
        answer = boxed_answer(text)
        correct = answer is not None and answer == normalise_answer(str(task["answer"]))
        return Check(answer=answer, correct=correct, valid=answer is not None)
