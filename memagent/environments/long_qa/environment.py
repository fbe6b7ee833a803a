"""Long-context questions as an `Environment`: an agent reads a text chunk by chunk, keeps a memory, and answers at the end.

Each observation is a prompt of `memagent.memory.memocr.rewriting`: the problem, the next chunk and the memory so far (role
`draft`; the action is the new memory), and last the problem and the memory (role `answer`; the action boxes its answer).
Actions are cut at `memory_tokens` and `answer_tokens`; one that shows nothing leaves the memory as it was.

Reward: `metric` of the boxed answer against the gold answers, once, for the last action; 0 without a box. The default is
equality, `em`, since who is paid for a gold answer anywhere in the box learns to box the whole memory. Drafts earn nothing of
their own: all turn rewards are 0.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TypeVar, get_args

from memagent.environments.base import Observation, Split, Task
from memagent.errors import InputError
from memagent.evaluation.metrics import em
from memagent.memory.memocr.loops import CHUNK_TOKENS, QUESTION_TOKENS, Loop
from memagent.memory.memocr.rewriting import ANSWER_TOKENS, MEMORY_TOKENS, answer, rewrite
from memagent.models.base import Reply
from memagent.text.boxed import extract_boxed
from memagent.text.token_chunks import CountCutter, Cutter
from memagent_renderers.budget import ESTIMATE

Metric = Callable[[str | None, Sequence[str]], float]
T = TypeVar("T")
Life = Generator[Observation, str, T]


class LongQaEnvironment:
    """Questions by split; a task is a row of `id`, `question`, `context` (text) and `answers` (one or more)."""

    def __init__(
        self,
        questions: Mapping[Split, Sequence[Task]],
        *,
        cutter: Cutter | None = None,
        chunk_tokens: int = CHUNK_TOKENS,
        memory_tokens: int = MEMORY_TOKENS,
        answer_tokens: int = ANSWER_TOKENS,
        metric: Metric = em,
    ) -> None:
        """`cutter` counts and cuts in the agent's tokens; without one the estimate of `memagent_renderers.budget` does."""
        if min(chunk_tokens, memory_tokens, answer_tokens) < 1:
            raise InputError(
                f"lengths are 1 token or more, not {chunk_tokens} a chunk, {memory_tokens} a memory, {answer_tokens} an answer"
            )
        self._questions = {split: {str(one["id"]): one for one in questions.get(split, ())} for split in get_args(Split)}
        self._cutter = cutter or CountCutter(ESTIMATE.count)
        self._chunk_tokens, self._memory_tokens, self._answer_tokens = chunk_tokens, memory_tokens, answer_tokens
        self._metric = metric
        self._life: Life[None] | None = None

    def tasks(self, split: Split) -> list[Task]:
        return list(self._questions[split].values())

    def reset(self, task: Task, *, seed: int) -> Observation:
        """Show the first chunk. Nothing is left to chance, so the seed changes nothing."""
        wanted = task.get("id")
        found = [one for questions in self._questions.values() for id, one in questions.items() if id == wanted]
        if not found:
            raise InputError(f"there is no question {wanted!r} here; take a task of `tasks`")
        self._life = self._live(found[0])
        return next(self._life)

    def step(self, action: str) -> Observation:
        """Write the memory, or answer, as was asked."""
        if self._life is None:
            raise InputError("no episode is under way; begin one with `reset`")
        seen = self._life.send(action)
        if seen.done:
            self._life = None
        return seen

    def _live(self, task: Task) -> Life[None]:
        problem = self._cutter.head(str(task["question"]), QUESTION_TOKENS)
        chunks = self._cutter.chunks(str(task["context"]), self._chunk_tokens)
        kept = yield from self._shown(
            rewrite(chunks, problem=problem, max_tokens=self._memory_tokens), role="draft", begun=False
        )
        last = answer(problem, kept.memory, max_tokens=self._answer_tokens)
        said = yield from self._shown(last, role="answer", begun=bool(chunks))
        golds = task["answers"]
        assert isinstance(golds, Sequence)
        reward = self._metric(extract_boxed(said.text), golds)
        yield Observation(reward=reward, turn_rewards=(0.0,), done=True)

    def _shown(self, loop: Loop[T], *, role: str, begun: bool) -> Life[T]:
        """A loop with its requests as observations. `begun`: an action came before, whose turn reward is to be told."""
        try:
            request = next(loop)
            while True:
                turn = (0.0,) if begun else ()
                seen = Observation(messages=request.messages, role=role, max_tokens=request.max_tokens, turn_rewards=turn)
                action = yield seen
                begun = True
                request = loop.send(Reply(text=self._cutter.head(action, request.max_tokens)))
        except StopIteration as end:
            result: T = end.value
            return result
