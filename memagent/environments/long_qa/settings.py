"""What shapes a run of the long-qa bench."""

from __future__ import annotations

from dataclasses import dataclass

from memagent.environments.long_qa.padding import PUBLISHED
from memagent.errors import InputError, UnknownName
from memagent.memory.memocr.loops import CHUNK_TOKENS
from memagent_renderers.budget import Budget
from memagent_renderers.processor_limits import tokens_for

TEXTS = ("memagent", "memagent-fair", "rag", "notes")
PICTURES = ("memocr", "uniform")
WHOLE = "raw"
"""Reads the context itself, as much of it as the window holds, whatever the budget."""
METHODS = ("memocr", "uniform", "memagent", "memagent-fair", "rag", "notes", WHOLE)
BUDGETS = (1024, 256, 64, 16)
LENGTHS = ("10K", "30K", "100K")
DRAFTERS = ("ranked", "model")
WINDOW = 120_000
"""Tokens of context that are read at once where a model does not say: the published limit."""


@dataclass(frozen=True)
class Settings:
    """What to measure. `embedder` is a name, "auto" for the best installed, or None; `tokens` counts text without a model."""

    methods: tuple[str, ...] = METHODS
    budgets: tuple[int, ...] = BUDGETS
    lengths: tuple[str, ...] = LENGTHS
    """Text tokens of the contexts, such as "10K" or "2500"."""
    by_documents: bool = False
    """Make contexts of as many documents as the published ones of these names have (50, 200, 800), whatever their tokens."""
    drafter: str | None = None
    """`ranked`, `model`, or None: the model, unless there is none or it is a small one."""
    chunk_tokens: int = CHUNK_TOKENS
    eye: str = "ocr"
    """Who reads pictures where the model sees none, or there is no model."""
    engine: str = "embedded"
    embedder: str | None = "auto"
    tokens: str = "auto"
    seeds: int = 1
    """Paddings of each question."""
    limit: int | None = None
    """Most questions, the first of the file; None for all."""
    window: int | None = None
    """Tokens that `raw` may read and write together; None: as many as the model has."""
    answer_tokens: int | None = None
    """Most tokens of an answer; None: 2048 as published, few for a small model."""
    concurrency: int = 4
    """Questions under way, and model calls, at once. Shapes nothing but the time."""

    def __post_init__(self) -> None:
        _chosen("method", self.methods, METHODS)
        if self.drafter is not None:
            _chosen("drafter", (self.drafter,), DRAFTERS)
        if not self.budgets or not self.lengths:
            raise InputError("at least one budget and one length are needed, such as 64 and 10K")
        for budget in self.budgets:
            tokens_for(Budget(budget))
        for length in self.lengths:
            self.size_of(length)
        counts = ("seeds", "limit", "window", "answer_tokens", "chunk_tokens", "concurrency")
        for name in counts:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is 1 or more, not {value}")

    def size_of(self, length: str) -> dict[str, int]:
        """A length as the arguments of `padded`. Raises `InputError` for what is none."""
        if self.by_documents:
            if length not in PUBLISHED:
                raise InputError(f"contexts by documents have the published lengths {', '.join(PUBLISHED)}, not {length!r}")
            return {"documents": PUBLISHED[length]}
        number = length[:-1] if length[-1:] in ("K", "k") else length
        if not number.isascii() or not number.isdigit() or int(number) < 1:
            raise InputError(f"a length is a number of tokens, such as 2500 or 10K, not {length!r}")
        return {"tokens": int(number) * (1 if number == length else 1000)}


def _chosen(what: str, names: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise UnknownName(f"no {what} of this bench is called `{unknown[0]}`; there are: {', '.join(allowed)}")
    if not names or len(set(names)) < len(names):
        raise InputError(f"each {what} is named once, one at least; these are: {', '.join(names) or 'none'}")
