"""Rewards of many drafts at once, by the calibrated eye and without drawing: what the rollouts of the size policy earn.

`std`: the question is answered at the full budget; `augM`: at a sixteenth of it; `augQ`: one fact of the page, drawn at
random, is read at the full budget. A question is answered when every fact of its chain is read: each entity has one value for
a relation, so nothing else leads to the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from memagent.environments.long_qa.synthetic_qa import WorldQuestion
from memagent_renderers.processor_limits import shrink_to
from memagent_training.objectives.memocr_drafting import SHARE
from training.experiments.memocr.eye import Eye
from training.experiments.memocr.page import TIERS, TYPES, Geometry, Line, Mode, width_em

_PX = np.array([TYPES[tier].px for tier in TIERS])
Ints = NDArray[np.intp]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sheet:
    """What must be known of a question's world to lay out any of its pages."""

    heights: Floats
    """(F, 4) px of each fact in each tier at natural size."""
    widths: Floats
    """(F, 4) em of each fact in the face of each tier."""
    chain: NDArray[np.bool_]
    """(F,)"""

    @classmethod
    def of(cls, question: WorldQuestion) -> Sheet:
        """Measure a world."""
        facts = question.facts
        chain = np.zeros(len(facts), bool)
        chain[list(question.chain)] = True
        widths = np.array([[width_em(one.sentence, tier) for tier in TIERS] for one in facts])
        return cls(Geometry(facts).heights, widths, chain)


class Pages:
    """N drafts of Q lines, laid out."""

    def __init__(self, sheets: Sequence[Sheet], facts: Ints, tiers: Ints, *, mode: Mode, eye: Eye) -> None:
        """`sheets` N, one a draft; `facts` and `tiers` (N, Q) by their places in the world and in `TIERS`."""
        self.mode, self.eye = mode, eye
        self.facts, self.tiers = facts, tiers
        rows = np.arange(len(sheets))[:, None]
        self._heights = np.stack([one.heights for one in sheets])[rows, facts, tiers]  # (N, Q)
        self._widths = np.stack([one.widths for one in sheets])[rows, facts, tiers]
        self.chain = np.stack([one.chain for one in sheets])  # (N, F)

    def chances(self, tokens: int) -> Floats:
        """(N, Q) chance that each line is read on the picture of so many visual tokens."""
        return self._shrunk(tokens) if self.mode == "shrink" else self._fitted(tokens)

    def _shrunk(self, tokens: int) -> Floats:
        heights = self._heights.sum(-1) + Geometry.gap * (self.facts.shape[1] - 1) + Geometry.ends
        factors = np.array([_factor(int(one), tokens) for one in heights])
        return self.eye.chances(_PX[self.tiers] * factors[:, None], self.tiers)

    def _fitted(self, tokens: int) -> Floats:
        room = self.eye.room(tokens)
        if math.isinf(room):
            return np.ones(self.facts.shape)
        order = np.lexsort((self.facts, self.tiers), axis=-1)
        used = np.take_along_axis(self._widths, order, -1).cumsum(-1)
        chances: Floats = np.empty(self.facts.shape)
        np.put_along_axis(chances, order, np.where(used <= room, self.eye.fitted, 0.0), -1)
        return chances

    def answered(self, read: NDArray[np.bool_]) -> Floats:
        """(N,) 1 where every fact of the chain is read; `read` (N, Q)."""
        right: Floats = (self._told(read.astype(float)) >= self.chain).all(-1).astype(float)
        return right

    def chance(self, tokens: int) -> Floats:
        """(N,) chance that the question is answered."""
        chances: Floats = np.where(self.chain, self._told(self.chances(tokens)), 1.0).prod(-1)
        return chances

    def _told(self, values: Floats) -> Floats:
        """(N, F) values of lines (N, Q) by fact, 0 for a fact that was left out."""
        told = np.zeros(self.chain.shape)
        np.put_along_axis(told, self.facts, values, -1)
        return told

    def shares(self) -> dict[str, float]:
        """Where the evidence is: means over the drafts; precision over all lines in H1."""
        large = self.tiers == TIERS.index("H1")
        hits = np.take_along_axis(self.chain, self.facts, -1)
        length, lines = self.chain.sum(-1), large.sum(-1)
        both = (hits & large).sum(-1)
        return {
            "evidence_kept": float((hits.sum(-1) / length).mean()),
            "h1_recall": float((both / length).mean()),
            "h1_precision": float(both.sum() / max(1, lines.sum())),
            "h1_lines": float(lines.mean()),
        }


def laid_out(sheets: Sequence[Sheet], drafts: Sequence[Sequence[Line]], mode: Mode) -> Pages:
    """Drafts of equally many lines as the packaged eye sees them."""
    facts = np.array([[line.fact for line in lines] for lines in drafts])
    tiers = np.array([[TIERS.index(line.tier) for line in lines] for lines in drafts])
    return Pages(sheets, facts, tiers, mode=mode, eye=Eye.packaged())


@lru_cache(20_000)
def _factor(height: int, tokens: int) -> float:
    """By how much a page of natural size is scaled: the mean of both sides."""
    width, tall = shrink_to(Geometry.width, height, tokens)
    return math.sqrt(width * tall / (Geometry.width * height))


def rewards(pages: Pages, *, budget: int, draw: np.random.Generator) -> dict[str, Floats]:
    """(N,) of each reward, readings drawn."""
    shape = pages.facts.shape
    full = draw.random(shape) < pages.chances(budget)
    starved = draw.random(shape) < pages.chances(budget // SHARE)
    asked = draw.integers(shape[1], size=len(full))
    return {
        "std": pages.answered(full),
        "augM": pages.answered(starved),
        "augQ": full[np.arange(len(full)), asked].astype(float),
    }
