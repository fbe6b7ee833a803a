"""What objectives that read a long text chunk by chunk share: how it is cut, and whose segment each reply is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from memagent.errors import ConfigError
from memagent.memory.memocr.loops import CHUNK_TOKENS, QUESTION_TOKENS, Loop
from memagent.text.token_chunks import Cutter, TokenCutter
from memagent_training.objectives.base import PlainBatches, PolicyRequest, Setup, Task, check_temperature

MAX_CHUNKS = 8
"""Chunks of a context in training; the middle of a longer one is left out."""

PROMPT_WORDS = 512
"""Tokens of the words around chunk, problem and memory, and of the chat template; more than any prompt here has."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ChunkedSettings:
    """Lengths in the policy's tokens. Raises `ConfigError` for what cannot be."""

    memory_tokens: int
    """Most new tokens of a memory."""
    answer_tokens: int
    """Most new tokens of an answer."""
    chunk_tokens: int = CHUNK_TOKENS
    max_chunks: int = MAX_CHUNKS
    """Of a context; the middle of a longer one is left out."""

    def __post_init__(self) -> None:
        if min(self.chunk_tokens, self.memory_tokens, self.answer_tokens, self.max_chunks) < 1:
            raise ConfigError("`chunk_tokens`, `memory_tokens`, `answer_tokens` and `max_chunks` are 1 or more")

    def reply_tokens(self, task: Any) -> int:
        """Of a memory or an answer."""
        return max(self.memory_tokens, self.answer_tokens)

    def context_tokens(self) -> int:
        """Most tokens of a prompt and its reply: the rewriting of a memory has both a chunk and the memory before it."""
        return self.chunk_tokens + QUESTION_TOKENS + 2 * self.memory_tokens + PROMPT_WORDS

    def readings(self, memory: int) -> tuple[int, ...]:
        """What each answer of a rollout reads in place of the text, in tokens; here a memory of `memory` tokens."""
        return (memory,)


class Chunked(PlainBatches):
    """The base of such objectives. Tasks are rows of `question`, `context` and perhaps `problem`, all texts."""

    def __init__(self, cutter: Cutter, *, temperature: float = 1.0) -> None:
        """`cutter` counts and cuts text in the policy's tokens."""
        check_temperature(temperature)
        self.cutter = cutter
        self.temperature = temperature

    def problem(self, task: Task) -> str:
        """What the memory is kept for, at most `QUESTION_TOKENS` long: the row's `problem`, else its question."""
        return self.cutter.head(str(task.get("problem") or task["question"]), QUESTION_TOKENS)

    def chunks(self, context: str, of: ChunkedSettings) -> list[str]:
        """The context in chunks, the middle left out when there are too many."""
        return self.cutter.chunks(self.cutter.without_middle(context, of.chunk_tokens * of.max_chunks), of.chunk_tokens)


def policy_cutter(setup: Setup) -> TokenCutter:
    """Counts and cuts text in the tokens of a recipe's policy."""
    from memagent.models.hf_processor import HfTokens

    tokenizer = getattr(setup.processing, "tokenizer", setup.processing)
    return TokenCutter(HfTokens(tokenizer, name=policy_name(setup)))


def policy_name(setup: Setup) -> str:
    """Of a recipe's policy, for messages."""
    return str(getattr(setup.model.config, "name_or_path", "") or "the policy")


def tagged(loop: Loop[T], *, role: str, seed: int) -> Loop[T]:
    """The loop with its requests as segments of a role."""
    try:
        request = next(loop)
        while True:
            ask = PolicyRequest(
                request.messages, max_tokens=request.max_tokens, temperature=request.temperature, seed=seed, role=role
            )
            request = loop.send((yield ask))
    except StopIteration as end:
        result: T = end.value
        return result
