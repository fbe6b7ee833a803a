"""What a draft earns: its page is read three times by the eye, and a script answers from what was read.

`std`: the question, at the full budget. `augM`: the question, at a sixteenth of it. `augQ`: one fact of the page, at the full
budget. Each is 1 or 0. The script follows the question's chain and answers only when every hop was read. The drafts are the
only segments; the reader is not trained.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from memagent.environments.long_qa.worlds import Fact, WorldQuestion, follow
from memagent.errors import InputError
from memagent.memory.drafting import Loop
from memagent.messages import user
from training.laptop.tokens.reader import chance, factor, page_size
from training.laptop.tokens.vocabulary import LINE, Line, prompt_words, read_draft
from training.objectives.base import Ask, Outcome, PlainBatches, Task


@dataclass(frozen=True)
class Shares:
    """Where a draft put its evidence, each from 0 to 1."""

    kept: float
    """Of the evidence on the page."""
    large: float
    """Of the evidence in H1 (recall)."""
    pure: float | None
    """Of the lines in H1 that are evidence (precision); None: no line is in H1."""
    lines_large: float
    """Of the page's lines in H1."""


def shares(question: WorldQuestion, lines: Sequence[Line]) -> Shares:
    """Count the evidence of a draft."""
    chain = set(question.chain)
    kept = [line for line in lines if line.fact in chain]
    big = [line for line in lines if line.tier == "H1"]
    hits = sum(line.fact in chain for line in big)
    pure = hits / len(big) if big else None
    return Shares(len(kept) / len(chain), hits / len(chain), pure, len(big) / max(1, len(lines)))


class Page:
    """A draft laid out, ready to be read at any budget."""

    def __init__(self, question: WorldQuestion, lines: Sequence[Line]) -> None:
        self.question = question
        self.lines = lines
        facts = [question.facts[line.fact] for line in lines]
        self.size = page_size([line.tier for line in lines], facts)

    def read(self, tokens: int, draw: random.Random) -> list[Fact]:
        """The facts that the eye reads on the picture of so many visual tokens."""
        scale = factor(*self.size, tokens)
        return [self.question.facts[line.fact] for line in self.lines if draw.random() < chance(line.tier, scale)]

    def answered(self, tokens: int, draw: random.Random) -> bool:
        """Whether the question is answered from what is read."""
        found = follow(self.read(tokens, draw), self.question.start, self.question.relations)
        return found == self.question.answer

    def chance(self, tokens: int) -> float:
        """The chance that the question is answered."""
        scale = factor(*self.size, tokens)
        tiers = {line.fact: line.tier for line in self.lines}
        sure = 1.0
        for fact in self.question.chain:
            sure *= chance(tiers[fact], scale) if fact in tiers else 0.0
        return sure


class DraftObjective(PlainBatches):
    """One draft a question, read three times."""

    name: ClassVar[str] = "drafts"
    reward_keys: tuple[str, ...] = ("std", "augM", "augQ")
    primary: str | None = "std"

    def __init__(self, questions: Sequence[WorldQuestion], *, quota: int, std_tokens: int, starved_tokens: int) -> None:
        self.questions = {question.id: question for question in questions}
        self.quota = quota
        self.std_tokens = std_tokens
        self.starved_tokens = starved_tokens
        self._seen: list[Shares] = []

    def tasks(self) -> list[dict[str, str]]:
        """The rows of the training data."""
        return [{"id": name, "prompt": " ".join(prompt_words(one))} for name, one in self.questions.items()]

    def episode(self, task: Task, *, seed: int) -> Loop[Outcome]:
        """Ask for a draft and read it."""
        question = self.questions[str(task["id"])]
        reply = yield Ask((user(str(task["prompt"])),), max_tokens=LINE * self.quota + 1, temperature=1.0, role="draft")
        lines = read_draft(reply.text)
        if len(lines) != self.quota:
            raise InputError(f"a draft of question `{question.id}` has {len(lines)} lines instead of {self.quota}")
        self._seen.append(shares(question, lines))
        page, draw = Page(question, lines), random.Random(seed)
        std, starved = page.answered(self.std_tokens, draw), page.answered(self.starved_tokens, draw)
        detail = draw.choice(lines).fact
        seen = question.facts[detail] in page.read(self.std_tokens, draw)
        rewards = {"std": float(std), "augM": float(starved), "augQ": float(seen)}
        return Outcome(rewards=rewards, answer=question.answer if std else None, correct=std)

    def metrics(self) -> dict[str, float]:
        """Means of `Shares` over the last batch."""
        seen, self._seen = self._seen, []
        if not seen:
            return {}
        pure = [one.pure for one in seen if one.pure is not None]
        return {
            "evidence/kept": sum(one.kept for one in seen) / len(seen),
            "evidence/large": sum(one.large for one in seen) / len(seen),
            "evidence/large_precision": sum(pure) / len(pure) if pure else 0.0,
            "lines/large": sum(one.lines_large for one in seen) / len(seen),
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Nothing to restore."""
