"""What is kept of every question, method, budget and length: what was asked, shown and answered, and how right it was.

The file of items (`memagent.evaluation.result_log`) is also the record of all predictions: one JSON line each, and of several
lines for one item the last counts. A failed item has the scores 0, which stay in every mean, and the reason in `error`.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from memagent.environments.long_qa.dataset import QAExample
from memagent.environments.long_qa.padding import Context
from memagent.evaluation.metrics import em, f1, strict_sub_em, sub_em
from memagent.evaluation.runner import ResultRecord
from memagent.evaluation.visual_memory import asked
from memagent.types import Usage

ANSWERS = {"sub_em": sub_em, "strict_sub_em": strict_sub_em, "em": em, "f1": f1}
"""Metrics of an answer."""
SHOWN = "answer_shown"
"""Whether a gold answer stands in what was read (strict sub-EM); not asked where it is yes or no."""


class Key(NamedTuple):
    """Which item."""

    case: str
    seed: int
    length: str
    arm: str
    at: int
    """Budget in tokens; of `raw`, the window."""


class Facts(BaseModel):
    """The context that an item is about."""

    model_config = ConfigDict(frozen=True)

    tokens: int
    documents: int
    complete: bool
    """Whether it is as long as asked; False where the file had no more documents."""

    @classmethod
    def of(cls, context: Context) -> Facts:
        """Of a context."""
        return cls(tokens=context.tokens, documents=len(context.documents), complete=context.complete)


class Prediction(ResultRecord):
    """One question, answered by one method within one budget."""

    case: str
    seed: int
    length: str
    arm: str
    at: int
    question: str
    golds: tuple[str, ...]
    context: Facts
    memory_tokens: int | None = None
    """Text tokens of the memory before it was cut or drawn; None for methods without one."""
    shown: str | None = None
    """What was read; of a picture that a model saw itself, what stands on it; None for `raw`: its context can be made anew."""
    tokens: int = 0
    """What the view costs: text tokens, or visual tokens of a picture."""
    reply: str | None = None
    """What the model said; None without a model."""
    prediction: str | None = None
    """What stands in the box of the reply; None where there is none, which is a wrong answer."""
    usage: Usage = Usage()
    """Of the call that answered; writing the memory is not in it."""
    scores: dict[str, float] = Field(default_factory=dict)
    """By metric, 0 to 1."""

    @property
    def key(self) -> Key:
        """Which item it is."""
        return Key(self.case, self.seed, self.length, self.arm, self.at)


def scores_of(case: QAExample, *, prediction: str | None, answered: bool, read: str | None) -> dict[str, float]:
    """Scores of an item: of the prediction where a model `answered`, and of the text that was `read` where it is known."""
    scores = {name: metric(prediction, case.answers) for name, metric in ANSWERS.items()} if answered else {}
    if read is not None and asked(case):
        scores[SHOWN] = strict_sub_em(read, case.answers)
    return scores
