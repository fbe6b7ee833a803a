"""What a draft earns: its page is read three times, and a script answers from what was read.

`std`: the question, at the full budget. `augM`: the question, at a sixteenth of it. `augQ`: one fact of the page, at the full
budget. Each is 1 or 0. The script follows the question's chain and answers only when every hop was read. The reader is the
simulated one of `memagent_renderers`, and is not trained: drafts are the only segments.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from statistics import fmean
from typing import ClassVar

from memagent.environments.long_qa.synthetic_qa import WorldQuestion
from memagent.errors import InputError
from memagent.memory.memocr.loops import Loop
from memagent.types import user_message
from memagent_renderers.ocr.simulated import SimulatedReader
from memagent_training.grpo.needs import Rewards
from memagent_training.objectives.base import EpisodeResult, PlainBatches, PolicyRequest, Task
from memagent_training.objectives.memocr_drafting import SHARE
from training.experiments.memocr.page import CURVES, Line, Mode, Shares, laid_out, markdown, read, shares
from training.experiments.memocr.rule_answerer import answer, statements
from training.experiments.memocr.settings import BUDGET
from training.experiments.memocr.vocabulary import LINE, prompt_words, read_draft


class DraftObjective(PlainBatches):
    """One draft a question, read three times."""

    name: ClassVar[str] = "drafts"
    gives: Rewards = Rewards(
        ranges={"std": (0.0, 1.0), "augM": (0.0, 1.0), "augQ": (0.0, 1.0)}, primary="std", checked=frozenset({"std"})
    )

    def __init__(self, questions: Sequence[WorldQuestion], *, quota: int, mode: Mode) -> None:
        self.questions = {question.id: question for question in questions}
        self.quota = quota
        self.mode: Mode = mode
        self._seen: list[Shares] = []
        self._seconds = 0.0

    def tasks(self) -> list[dict[str, str]]:
        """The rows of the training data."""
        return [{"id": name, "prompt": " ".join(prompt_words(one))} for name, one in self.questions.items()]

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        """Ask for a draft and read it."""
        question = self.questions[str(task["id"])]
        prompt = (user_message(str(task["prompt"])),)
        reply = yield PolicyRequest(prompt, max_tokens=LINE * self.quota + 1, temperature=1.0, role="draft")
        lines = read_draft(reply.text)
        if len(lines) != self.quota:
            raise InputError(f"a draft of question `{question.id}` has {len(lines)} lines instead of {self.quota}")
        self._seen.append(shares(question, lines))
        began = time.perf_counter()
        rewards = simulated_rewards(question, lines, self.mode, seed=seed)
        self._seconds += time.perf_counter() - began
        right = rewards["std"] == 1.0
        return EpisodeResult(rewards=rewards, answer=question.answer if right else None, correct=right)

    def metrics(self) -> dict[str, float]:
        """Means of `Shares` over the last batch, and the seconds that layout and reading took in this process."""
        seen, self._seen = self._seen, []
        seconds, self._seconds = self._seconds, 0.0
        if not seen:
            return {}
        pure = [one.pure for one in seen if one.pure is not None]
        return {
            "evidence/kept": fmean(one.kept for one in seen),
            "evidence/large": fmean(one.large for one in seen),
            "evidence/large_precision": fmean(pure) if pure else 0.0,
            "lines/large": fmean(one.lines_large for one in seen),
            "time/layout_and_read": seconds,
        }


def simulated_rewards(question: WorldQuestion, lines: Sequence[Line], mode: Mode, *, seed: int) -> dict[str, float]:
    """The three rewards of a page, each 0 or 1, as the simulated reader reads it."""
    budget = BUDGET[mode]
    pages = laid_out(markdown(question, lines), (budget, budget // SHARE), mode)
    full, starved = (read(page, SimulatedReader(CURVES[mode], seed=seed + at)) for at, page in enumerate(pages))
    fact = question.facts[random.Random(seed).choice(lines).fact]
    return {
        "std": float(answer(full, question) == question.answer),
        "augM": float(answer(starved, question) == question.answer),
        "augQ": float((fact.subject, fact.relation, fact.value) in statements(full)),
    }
