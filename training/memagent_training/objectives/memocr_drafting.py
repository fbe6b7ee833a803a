"""MemOCR's training task: draft a memory of a long text, then read the picture of it three times (arXiv 2601.21468).

An attempt drafts chunk by chunk in text (role `draft`). The one memory that results is drawn, and read under the full budget
(`std`), shrunk (`augM`), and for a detail of itself (`augQ`); each reading is a conversation of its own and earns its own
reward, which the credit `memocr` turns into advantages. The budget is in no drafting prompt.

Differences from the release, which fail or mislead there: `augM` costs a sixteenth of the budget (`blur=True` gives the
released picture, blurred but as large); an empty draft keeps the memory before it; a memory that cannot be drawn earns 0 and
stops nothing; a page without words to ask for has no `augQ`, neither reward nor segment.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, cast

from memagent.errors import ConfigError, InputError, RenderError
from memagent.memory.memocr.loops import ANSWER_TOKENS, MEMORY_TOKENS, draft, read
from memagent.models.base import Reply, Request
from memagent.text.boxed import extract_boxed
from memagent.text.token_chunks import Cutter
from memagent_renderers import Budget, ReaderProfile, render
from memagent_renderers.budget import ESTIMATE, Picture
from memagent_renderers.fixed_size import render_downscaled
from memagent_training.grpo.needs import Needs, Rewards
from memagent_training.objectives.base import Episode, EpisodeResult, Setup, Task, WorkItem, in_worker
from memagent_training.objectives.chunked import Chunked, ChunkedSettings, policy_cutter, policy_name, tagged
from memagent_training.objectives.memocr import memocr_reward
from memagent_training.objectives.memocr_detail import detail_question, detail_reward, page_text

Layout = Literal["shrink", "fit"]
SHARE = 16
"""The shrunk reading has a sixteenth of the tokens: a quarter of each side."""


@dataclass(frozen=True, kw_only=True)
class MemocrSettings(ChunkedSettings):
    """How memories are drafted, drawn and read; `MemocrDrafting` in a recipe. Raises `ConfigError` for what cannot be."""

    name: ClassVar[str] = "memocr"
    gives: ClassVar[Rewards] = Rewards(
        ranges={"std": (0.0, 1.0), "augM": (0.0, 1.0), "augQ": (0.0, 1.0)},
        primary="std",
        checked=frozenset({"std"}),
        several=True,
    )
    needs: ClassVar[Needs] = Needs(tasks=("long_text",), policy=frozenset({"chat", "pictures"}))
    budget: int = 512
    """Visual tokens of the full readings; at least 16, so that a sixteenth is a picture."""
    layout: Layout = "shrink"
    """`render_downscaled`: type of fixed sizes, the picture shrunk, as published; `fit`: laid out for the budget."""
    blur: bool = False
    """Show the shrunk reading the full picture blurred by 4 x 4 blocks, as released, instead of a smaller one."""
    partial_details: bool = False
    """Pay each filled gap of a detail question, not only all of them together."""
    memory_tokens: int = MEMORY_TOKENS
    answer_tokens: int = ANSWER_TOKENS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget < SHARE:
            raise ConfigError(f"`budget` is {self.budget}; the shrunk reading has a sixteenth of it, so give {SHARE} or more")
        if self.layout not in ("shrink", "fit"):
            raise ConfigError(f"`layout` is `{self.layout}`; one of: shrink, fit")

    def readings(self, memory: int) -> tuple[int, ...]:
        """Pictures under the full budget, shrunk, and for a detail, whatever the memory's length."""
        return self.budget, self.budget // SHARE, self.budget

    def build(self, setup: Setup) -> MemocrDrafting:
        """With the policy's tokens and its prices of pictures."""
        from memagent.models.hf_processor import config_pricing

        reader = ReaderProfile(name=policy_name(setup), sees_images=True, pricing=config_pricing(setup.model.config))
        return MemocrDrafting(policy_cutter(setup), reader=reader, settings=self, temperature=setup.temperature)


class MemocrDrafting(Chunked):
    """Draft, then read three times.

    Tasks are rows of `id`, `question`, `context` (text), `answers` (one or more) and perhaps `problem`: the memory is kept for
    it, where a row has one, in place of the question.
    """

    name: ClassVar[str] = "memocr"
    gives: Rewards = MemocrSettings.gives

    def __init__(
        self,
        cutter: Cutter,
        *,
        reader: ReaderProfile = ESTIMATE,
        settings: MemocrSettings | None = None,
        temperature: float = 1.0,
    ) -> None:
        """`cutter` counts and cuts text in the policy's tokens; `reader` says what pictures cost the policy."""
        super().__init__(cutter, temperature=temperature)
        self.reader = reader
        self.settings = settings or MemocrSettings()

    def episode(self, task: Task, *, seed: int) -> Episode:
        """One memory and its readings."""
        of = self.settings
        question, golds = str(task["question"]), cast("list[str]", task["answers"])
        drafted = yield from tagged(
            draft(
                self.chunks(str(task["context"]), of),
                problem=self.problem(task),
                max_tokens=of.memory_tokens,
                temperature=self.temperature,
            ),
            role="draft",
            seed=seed,
        )
        pictures = yield from self._drawn(drafted.memory)
        if pictures is None:
            return EpisodeResult(rewards=dict.fromkeys(("std", "augM"), 0.0), correct=False, valid=False)
        full, starved = pictures
        answer = yield from self._read(question, full, role="std", seed=seed)
        again = yield from self._read(question, starved, role="augM", seed=seed)
        rewards = {"std": memocr_reward(answer, golds), "augM": memocr_reward(again, golds)}
        detail = detail_question(page_text(full.lines, drafted.memory), seed=seed)
        if detail is not None:
            filled = yield from self._read(detail.problem, full, role="augQ", seed=seed)
            rewards["augQ"] = detail_reward(filled, detail, partial=of.partial_details)
        boxed = extract_boxed(answer)
        return EpisodeResult(rewards=rewards, answer=boxed, correct=rewards["std"] == 1.0, valid=boxed is not None)

    def _drawn(self, memory: str) -> Generator[WorkItem, Any, tuple[Picture, Picture] | None]:
        """The picture for the full budget and the starved one; None for a memory that cannot be drawn."""
        of = self.settings
        if not memory:
            return None
        try:
            full = yield from in_worker(drawn, memory, Budget(of.budget, self.reader), of.layout)
            starved = (
                (yield from in_worker(blurred, full))
                if of.blur
                else (yield from in_worker(drawn, memory, Budget(of.budget // SHARE, self.reader), of.layout))
            )
        except (RenderError, InputError):  # what was written; a missing font or package is not the policy's fault
            return None
        return full, starved

    def _read(self, problem: str, picture: Picture, *, role: str, seed: int) -> Generator[Request, Reply, str]:
        of = self.settings
        loop = read(problem, picture, max_tokens=of.answer_tokens, temperature=self.temperature)
        reply = yield from tagged(loop, role=role, seed=seed)
        return reply.text


def drawn(memory: str, budget: Budget, layout: Layout) -> Picture:
    """The memory as a picture within the budget."""
    return render(memory, budget) if layout == "fit" else render_downscaled(memory, budget)


def blurred(picture: Picture, *, block: int = 4) -> Picture:
    """The picture as large as it was, each `block` x `block` px of one colour: shrunk bilinearly, enlarged by repetition."""
    from PIL import Image

    with Image.open(io.BytesIO(picture.png)) as image:
        size = image.size
        small = image.convert("RGB").resize((max(1, size[0] // block), max(1, size[1] // block)), Image.Resampling.BILINEAR)
    out = io.BytesIO()
    small.resize(size, Image.Resampling.NEAREST).save(out, "PNG")
    return replace(picture, png=out.getvalue())
