"""What shapes a run of questions about long contexts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from memagent.environments.long_qa.padding import PUBLISHED
from memagent.errors import InputError, unknown_name
from memagent.evaluation.runner import RunSettings
from memagent.memory import memory_kinds
from memagent.memory.memocr.loops import CHUNK_TOKENS
from memagent_renderers.budget import Budget, tokens_for

KINDS = ("memocr", "rag", "notes", "long_context")
"""Kinds of memory that are measured where nobody names any; every registered one can be."""
PICTURES = ("uniform", "shrink")
DRAFT_TEXTS = ("text_cut", "text_fair")
AGENT_TEXTS = ("memagent", "memagent-fair")
WHOLE = "raw"
"""Reads the context itself, as much of it as the window holds, whatever the budget."""
BASELINES = (*PICTURES, *DRAFT_TEXTS, *AGENT_TEXTS, WHOLE)
METHODS = (*KINDS, "uniform", *AGENT_TEXTS, WHOLE)
BUDGETS = (1024, 256, 64, 16)
LENGTHS = ("10K", "30K", "100K")
DRAFTERS = ("salience", "model")
WINDOW = 120_000
"""Tokens of context that are read at once where a model does not say: the published limit."""


@dataclass(frozen=True, kw_only=True)
class LongQaSettings(RunSettings):
    """What to measure. `tokens` says who counts text without a model: `auto`, `embedded` or `estimate`."""

    which_items: ClassVar[tuple[str, ...]] = (*RunSettings.which_items, "lengths", "seeds", "text_factors")

    methods: tuple[str, ...] = METHODS
    budgets: tuple[int, ...] = BUDGETS
    lengths: tuple[str, ...] = LENGTHS
    """Text tokens of the contexts, such as "10K" or "2500"."""
    by_documents: bool = False
    """Make contexts of as many documents as the published ones of these names have (50, 200, 800), whatever their tokens."""
    drafter: str | None = None
    """Who drafts for `memocr`, notes and the MemAgent texts: `model`, `salience` (no model), or None: the model, unless there
    is none or it is a small one."""
    chunk_tokens: int = CHUNK_TOKENS
    """Of the text that a model which drafts reads at once."""
    reader: str = "ocr"
    """Who reads pictures where the model sees none, or there is no model: `ocr` or `simulated`."""
    engine: str = "embedded"
    tokens: str = "auto"
    seeds: int = 1
    """Paddings of each question."""
    window: int | None = None
    """Tokens that `raw` may read and write together; None: as many as the model has."""
    answer_tokens: int | None = None
    """Most tokens of an answer; None: 2048 as published, few for a small model."""
    text_factors: tuple[int, ...] = (1,)
    """Methods that show text get the budget times each of these."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.drafter is not None and self.drafter not in DRAFTERS:
            raise unknown_name("drafter of this bench", self.drafter, DRAFTERS)
        if not self.lengths:
            raise InputError("at least one length is needed, such as 10K")
        for budget in self.budgets:
            tokens_for(Budget(budget))
        for length in self.lengths:
            self.size_of(length)
        self.check_positive("seeds", "window", "answer_tokens", "chunk_tokens")

    def known_methods(self) -> Sequence[str]:
        return (*memory_kinds(), *BASELINES)

    def budgets_of(self, method: str) -> list[int]:
        """The budgets within which a method is asked, largest first; `raw` has none."""
        factors = (1,) if method == "memocr" or method in PICTURES else self.text_factors
        return sorted({factor * budget for factor in factors for budget in self.budgets}, reverse=True)

    def size_of(self, length: str) -> dict[str, Any]:
        """A length as the arguments of `padded`. Raises `InputError` for what is none."""
        if self.by_documents:
            if length not in PUBLISHED:
                raise InputError(f"contexts by documents have the published lengths {', '.join(PUBLISHED)}, not {length!r}")
            return {"documents": PUBLISHED[length]}
        number = length[:-1] if length[-1:] in ("K", "k") else length
        if not number.isascii() or not number.isdigit() or int(number) < 1:
            raise InputError(f"a length is a number of tokens, such as 2500 or 10K, not {length!r}")
        return {"tokens": int(number) * (1 if number == length else 1000)}
