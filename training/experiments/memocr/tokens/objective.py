"""What a draft earns: its page is read three times by the eye, and a script answers from what was read.

`std`: the question, at the full budget. `augM`: the question, at a sixteenth of it. `augQ`: one fact of the page, at the full
budget. Each is 1 or 0. The script follows the question's chain and answers only when every hop was read. The drafts are the
only segments; the reader is not trained.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from memagent.environments.long_qa.synthetic_qa import WorldQuestion
from memagent.errors import InputError
from memagent.memory.memocr.loops import Loop
from memagent.types import user_message
from memagent_training.objectives.base import EpisodeResult, PlainBatches, PolicyRequest, Task
from training.experiments.memocr.page import Mode, Shares, shares
from training.experiments.memocr.rewards import Sheet, laid_out, rewards
from training.experiments.memocr.settings import BUDGET
from training.experiments.memocr.tokens.vocabulary import LINE, prompt_words, read_draft


class DraftObjective(PlainBatches):
    """One draft a question, read three times."""

    name: ClassVar[str] = "drafts"
    reward_keys: tuple[str, ...] = ("std", "augM", "augQ")
    primary: str | None = "std"

    def __init__(self, questions: Sequence[WorldQuestion], *, quota: int, mode: Mode) -> None:
        self.questions = {question.id: question for question in questions}
        self.quota = quota
        self.mode: Mode = mode
        self._sheets: dict[str, Sheet] = {}
        self._seen: list[Shares] = []
        self._seconds = 0.0

    def tasks(self) -> list[dict[str, str]]:
        """The rows of the training data."""
        return [{"id": name, "prompt": " ".join(prompt_words(one))} for name, one in self.questions.items()]

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        """Ask for a draft and read it."""
        question = self.questions[str(task["id"])]
        reply = yield PolicyRequest(
            (user_message(str(task["prompt"])),), max_tokens=LINE * self.quota + 1, temperature=1.0, role="draft"
        )
        lines = read_draft(reply.text)
        if len(lines) != self.quota:
            raise InputError(f"a draft of question `{question.id}` has {len(lines)} lines instead of {self.quota}")
        self._seen.append(shares(question, lines))
        began = time.perf_counter()
        if question.id not in self._sheets:
            self._sheets[question.id] = Sheet.of(question)
        pages = laid_out([self._sheets[question.id]], [lines], self.mode)
        earned = rewards(pages, budget=BUDGET[self.mode], draw=np.random.default_rng(seed))
        right = {name: float(values[0]) for name, values in earned.items()}
        self._seconds += time.perf_counter() - began
        return EpisodeResult(rewards=right, answer=question.answer if right["std"] else None, correct=right["std"] == 1.0)

    def metrics(self) -> dict[str, float]:
        """Means of `Shares` over the last batch, and the seconds that laying out and reading took in this process."""
        seen, self._seen = self._seen, []
        seconds, self._seconds = self._seconds, 0.0
        if not seen:
            return {}
        pure = [one.pure for one in seen if one.pure is not None]
        return {
            "evidence/kept": sum(one.kept for one in seen) / len(seen),
            "evidence/large": sum(one.large for one in seen) / len(seen),
            "evidence/large_precision": sum(pure) / len(pure) if pure else 0.0,
            "time/render_and_read": seconds,
            "lines/large": sum(one.lines_large for one in seen) / len(seen),
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Nothing to restore."""
