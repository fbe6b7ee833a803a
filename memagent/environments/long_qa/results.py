"""What is kept of every question, method, budget and length: what was asked, shown and answered, and how right it was.

The file of records (`memagent.evaluation.runner`) holds all predictions. A failed record has the scores 0, which stay in every
mean, and the reason in `error`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from memagent.environments.long_qa.dataset import QAExample
from memagent.environments.long_qa.evidence import Precision, evidence_precision, evidence_shown
from memagent.environments.long_qa.padding import Context
from memagent.evaluation.metrics import by_cluster, em, f1, normalise, strict_sub_em, sub_em
from memagent.evaluation.runner import ResultRecord
from memagent.types import Usage

ANSWERS = {"sub_em": sub_em, "strict_sub_em": strict_sub_em, "em": em, "f1": f1}
"""Metrics of an answer."""
SHOWN = "answer_shown"
"""Whether a gold answer stands in what was read (strict sub-EM); not asked where it is yes or no."""
EVIDENCE = "evidence_shown"
"""Share of the supporting sentences that stand in what was read."""
DENSITY = "legible_chars_per_token"
"""Characters of the words on a picture that were read right, for each visual token."""


class Key(NamedTuple):
    """Which record."""

    case: str
    seed: int
    length: str
    method: str
    at: int
    """Budget in tokens; of `raw`, the window."""


class ContextFacts(BaseModel):
    """The context that a record is about."""

    model_config = ConfigDict(frozen=True)

    tokens: int
    documents: int
    complete: bool
    """Whether it is as long as asked; False where the file had no more documents."""
    answer: bool | None = None
    """Whether a gold answer stands in it; None where none can be looked for."""

    @classmethod
    def of(cls, example: QAExample, context: Context) -> ContextFacts:
        return cls(
            tokens=context.tokens,
            documents=len(context.documents),
            complete=context.complete,
            answer=bool(strict_sub_em(context.text, example.answers)) if answer_can_be_shown(example) else None,
        )


class MemoryFacts(BaseModel):
    """The memory behind a view, before it was cut or drawn."""

    model_config = ConfigDict(frozen=True)

    tokens: int
    answer: bool | None = None
    """Whether a gold answer stands in it."""
    precision: dict[str, Precision]
    """Words that belong to the answer or to titles of its documents, by tier of a rich text."""

    @classmethod
    def of(cls, example: QAExample, context: Context, memory: str, tokens: int) -> MemoryFacts:
        asked = answer_can_be_shown(example)
        titles = {context.documents[place].title: None for place, _ in context.evidence}
        golds = [*(example.answers if asked else ()), *titles]
        return cls(
            tokens=tokens,
            answer=bool(strict_sub_em(memory, example.answers)) if asked else None,
            precision=evidence_precision(memory, golds),
        )


class Prediction(ResultRecord):
    """One question, answered by one method within one budget."""

    case: str
    seed: int
    length: str
    method: str
    at: int
    question: str
    golds: tuple[str, ...]
    context: ContextFacts
    memory: MemoryFacts | None = None
    """None for methods without a memory of their own."""
    shown: str | None = None
    """What was read; of a picture that a model saw itself, what stands on it; None for `raw`: its context can be made anew."""
    tokens: int = 0
    """What the view costs: text tokens, or visual tokens of a picture."""
    seconds: float | None = None
    """Processor time of reading the picture; None where a text was read."""
    reply: str | None = None
    """What the model said; None without a model."""
    prediction: str | None = None
    """What stands in the box of the reply; None where there is none, which is a wrong answer."""
    usage: Usage = Usage()
    """Of the call that answered; writing the memory is not in it."""
    scores: dict[str, float] = Field(default_factory=dict)
    """By metric, 0 to 1, but for `legible_chars_per_token`."""

    @property
    def key(self) -> Key:
        return Key(self.case, self.seed, self.length, self.method, self.at)


def answer_can_be_shown(example: QAExample) -> bool:
    """Whether the gold answers can be looked for: yes, no and answers without words stand in any text or in none."""
    return {"", "yes", "no"}.isdisjoint(map(normalise, example.answers))


def scores_of(
    example: QAExample, context: Context, *, prediction: str | None, answered: bool, read: str | None, density: float | None
) -> dict[str, float]:
    """Scores: of the prediction where a model `answered`, of the text that was `read` and of a picture's `density` where they
    are known.
    """
    scores = {name: metric(prediction, example.answers) for name, metric in ANSWERS.items()} if answered else {}
    if read is not None and answer_can_be_shown(example):
        scores[SHOWN] = strict_sub_em(read, example.answers)
    sentences = [context.documents[place].sentences[at] for place, at in context.evidence]
    if read is not None and sentences:
        scores[EVIDENCE] = evidence_shown(sentences, read)
    if density is not None:
        scores[DENSITY] = density
    return scores


def values_of(records: Iterable[Prediction], metric: str, **key: object) -> dict[str, float]:
    """The value of each question, over its paddings, in the records with these parts of a `Key`; those not asked so are out."""
    found = [one for one in records if all(getattr(one, name) == wanted for name, wanted in key.items())]
    return by_cluster((one.case, one.scores[metric]) for one in found if metric in one.scores)
