"""MemAgent's training task: keep a text memory of a long text, chunk by chunk, and answer from it (arXiv 2507.02259).

An attempt rewrites the memory once a chunk (role `draft`), then answers from problem and memory alone (role `answer`). Each
turn is a conversation, and so a segment, of its own; only the answer is scored. With the credit `outcome` and the baseline
`group_mean` with `scale = "none"`, A_i = r_i - mean(r) stands at every token of every conversation of attempt i, and the loss
`dapo` is the mean over all tokens of all conversations (Multi-Conv DAPO, eq. 4-5).

It is also the text arm beside MemOCR: the same chunks, rows and credit machinery without a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

from memagent.errors import InputError
from memagent.evaluation.metrics import strict_sub_em
from memagent.memory.memocr.loops import QUESTION_TOKENS, Loop
from memagent.memory.memocr.rewriting import ANSWER_TOKENS, MEMORY_TOKENS, answer, rewrite
from memagent.text.boxed import extract_boxed
from memagent.text.token_chunks import Cutter
from memagent_training.grpo.needs import Needs, Rewards
from memagent_training.objectives.base import EpisodeResult, Setup, Task
from memagent_training.objectives.chunked import Chunked, ChunkedSettings, policy_cutter, tagged
from memagent_training.objectives.memocr import memocr_reward


@dataclass(frozen=True, kw_only=True)
class MemagentSettings(ChunkedSettings):
    """How memories are kept and answers are rewarded; `TextMemory` in a recipe."""

    name: ClassVar[str] = "memagent"
    needs: ClassVar[Needs] = Needs(tasks=("long_text",), policy=frozenset({"chat"}))
    memory_tokens: int = MEMORY_TOKENS
    answer_tokens: int = ANSWER_TOKENS
    all_golds: bool = False
    """Pay the share of gold answers found (eq. 7), for tasks that want all of them; else 1 for any of them (eq. 6)."""

    @property
    def gives(self) -> Rewards:
        """A reward from 0 to 1: of one gold answer, whether it was found, of several also how many."""
        checked = frozenset() if self.all_golds else frozenset({"answer"})
        return Rewards(ranges={"answer": (0.0, 1.0)}, primary="answer", checked=checked, several=True)

    def build(self, setup: Setup) -> TextMemory:
        """With a cutter of the policy's tokens."""
        return TextMemory(policy_cutter(setup), settings=self, temperature=setup.temperature)


class TextMemory(Chunked):
    """Rewrite, then answer.

    Tasks are rows of `id`, `question`, `context` (text), `answers` (one or more) and perhaps `problem`: the memory is kept for
    it, where a row has one, in place of the question.
    """

    name: ClassVar[str] = "memagent"

    def __init__(self, cutter: Cutter, *, settings: MemagentSettings | None = None, temperature: float = 1.0) -> None:
        """`cutter` counts and cuts text in the policy's tokens."""
        super().__init__(cutter, temperature=temperature)
        self.settings = settings or MemagentSettings()
        self.gives = self.settings.gives

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        """One memory and its answer."""
        of = self.settings
        question, golds = self.cutter.head(str(task["question"]), QUESTION_TOKENS), cast("list[str]", task["answers"])
        kept = rewrite(
            self.chunks(str(task["context"]), of),
            problem=self.problem(task),
            max_tokens=of.memory_tokens,
            temperature=self.temperature,
        )
        memory = (yield from tagged(kept, role="draft", seed=seed)).memory
        last = answer(question, memory, max_tokens=of.answer_tokens, temperature=self.temperature)
        said = (yield from tagged(last, role="answer", seed=seed)).text
        reward = golds_found(said, golds) if of.all_golds else memocr_reward(said, golds)
        boxed = extract_boxed(said)
        return EpisodeResult(rewards={"answer": reward}, answer=boxed, correct=reward == 1.0, valid=boxed is not None)


def golds_found(response: str, golds: Sequence[str]) -> float:
    """The share, 0 to 1, of the different gold answers that stand in the last box, wherever the box opens (eq. 7).

    A gold stands there by `strict_sub_em`: in whole words, but for case, articles and ASCII punctuation, so that 1 is not
    found in 12. A box with all of the memory finds all that is in it: keep `answer_tokens` small.
    Raises `InputError` for no gold.

    >>> golds_found("\\\\boxed{7, 12}", ["7", "12", "1"]).__round__(2)
    0.67
    """
    if not golds:
        raise InputError("an answer is scored against one gold answer or more; there is none")
    boxed, wanted = extract_boxed(response), dict.fromkeys(golds)
    return sum(strict_sub_em(boxed, [gold]) for gold in wanted) / len(wanted)
