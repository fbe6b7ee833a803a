"""Text MemOCR: MemOCR's three readings in plain characters, for laptops and for trying every credit.

The policy first writes a note about the task (role `draft`). Then it answers the task beside its note (`std`), answers it
beside the note cut to its first character (`augM`, the starved reading), and repeats the last character of the note (`augQ`,
the detail question). Four conversations, three rewards, and a turn reward of -1 for every reply that is malformed: what
the credits `outcome`, `memocr` and `hian` spread differently. It measures plumbing, not memory: the task stays in sight.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

from memagent.memory.memocr.loops import Loop
from memagent.models.base import Reply, Request
from memagent.types import user_message
from memagent_training.grpo.needs import Needs, Rewards
from memagent_training.objectives.base import EpisodeResult, PlainBatches, PolicyRequest, Setup, Task
from memagent_training.tasks.base import END, JUDGE, CharacterFamily


class TextMemocr(PlainBatches):
    """A note and three readings of it. Rewards `std`, `augM` and `augQ` are 0 or 1."""

    name: ClassVar[str] = "text_memocr"
    gives: Rewards = Rewards(
        ranges={"std": (0.0, 1.0), "augM": (0.0, 1.0), "augQ": (0.0, 1.0)},
        primary="std",
        turns=True,
        turn_total=(-4.0, 0.0),
        checked=frozenset({"std"}),
        several=True,
    )

    def __init__(self, family: CharacterFamily) -> None:
        self.family = family

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        """Write, then read three times."""
        prompt = str(task["prompt"])
        said = yield from self._ask(prompt, role="draft")
        note = "".join(one for one in said if one in self.family.answers)[: self.family.max_answer]
        std = yield from self._ask(f"{note}{JUDGE}{prompt}", role="std")
        starved = yield from self._ask(f"{note[:1]}{JUDGE}{prompt}", role="augM")
        detail = yield from self._ask(f"{note}{END}", role="augQ")
        found = self.family.check(task, std)
        rewards = {
            "std": float(found.correct),
            "augM": float(self.family.check(task, starved).correct),
            "augQ": float(bool(note) and detail.strip() == note[-1]),
        }
        turns = tuple(0.0 if self.family.check(task, text).valid else -1.0 for text in (said, std, starved, detail))
        return EpisodeResult(rewards=rewards, turn_rewards=turns, answer=found.answer, correct=found.correct, valid=found.valid)

    def _ask(self, prompt: str, *, role: str) -> Generator[Request, Reply, str]:
        reply = yield PolicyRequest((user_message(prompt),), max_tokens=self.family.max_answer + 1, temperature=1.0, role=role)
        return reply.text


@dataclass(frozen=True, kw_only=True)
class TextMemocrSettings:
    """`TextMemocr` in a recipe."""

    name: ClassVar[str] = "text_memocr"
    gives: ClassVar[Rewards] = TextMemocr.gives
    needs: ClassVar[Needs] = Needs(tasks=("characters",))

    def reply_tokens(self, task: CharacterFamily) -> int:
        """The longest answer and the end."""
        return task.max_answer + 1

    def build(self, setup: Setup) -> TextMemocr:
        """With the task as the checker."""
        return TextMemocr(setup.task)
