"""The page that a laptop policy writes: facts of a made-up world, each on a line of its own in one of four sizes of type.

| tier | Markdown | px on the page of natural size |
|---|---|---|
| `H1` | heading of the first level | 32 |
| `bold` | bold paragraph | 16 |
| `body` | paragraph | 16 |
| `small` | heading of the sixth level | 10.7 |

Lines stand in the order in which the world is told, so only the size of type says what matters. Two ways to draw a page:
`render_downscaled` sets it at these sizes and shrinks the picture to the budget, as published (arXiv 2601.21468), on the tight
page of
`memagent_renderers.fixed_size`; `fit` lays it out for the budget. `Geometry` knows the size of a `render_downscaled` page
without drawing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from memagent.environments.long_qa.synthetic_qa import Fact, WorldQuestion
from memagent_renderers import Budget, render
from memagent_renderers.budget import ESTIMATE, Picture, ReaderProfile
from memagent_renderers.fixed_size import PROFILES, render_downscaled
from memagent_renderers.layout import fit
from memagent_renderers.styled_blocks import BLANK, width_of

Mode = Literal["shrink", "fit"]
MODES: tuple[Mode, ...] = ("shrink", "fit")
PROFILE = "default"
"""Page of natural size: 640 px wide with small margins."""
_RUNG = PROFILES[PROFILE]


@dataclass(frozen=True)
class Type:
    """The type of a tier."""

    tier: str
    """Its name in `renderers`."""
    markdown: str
    """A line with {} for the sentence."""

    @property
    def px(self) -> float:
        """Type size on the page of natural size."""
        return _RUNG.sizes[self.tier]

    @property
    def bold(self) -> bool:
        """Whether the face is heavy."""
        return self.tier != "body"


TYPES = {
    "H1": Type("h1", "# {}"),
    "bold": Type("bold", "**{}**"),
    "body": Type("body", "{}"),
    "small": Type("h6", "###### {}"),
}
TIERS = tuple(TYPES)


@dataclass(frozen=True)
class Line:
    """One line of a draft."""

    tier: str
    fact: int
    """Place of the fact in the question's world."""


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


def markdown(question: WorldQuestion, lines: Sequence[Line]) -> str:
    """The page as rich text, in the order of the world."""
    ordered = sorted(lines, key=lambda line: line.fact)
    return "\n\n".join(TYPES[line.tier].markdown.format(question.facts[line.fact].sentence) for line in ordered)


def picture(text: str, tokens: int, mode: Mode, reader: ReaderProfile = ESTIMATE) -> Picture:
    """The page drawn for so many visual tokens. Raises what `render_downscaled` and `render` raise."""
    budget = Budget(tokens, reader)
    return render_downscaled(text, budget, profile=PROFILE) if mode == "shrink" else render(text, budget)


def words_shown(text: str, tokens: int) -> int:
    """Words of the document that a `fit` page of so many visual tokens holds, nothing drawn."""
    return sum(tier != "" for line in fit(text, Budget(tokens)).lines for tier in line.tiers)


def width_em(text: str, tier: str) -> float:
    """Advance width in em of a text on one line in the face of a tier."""
    face = "bold" if TYPES[tier].bold else "regular"
    words = text.split()
    return (sum(width_of(face, word) for word in words) + BLANK * max(0, len(words) - 1)) / _units()


class Geometry:
    """Heights of the lines of a world's pages at natural size."""

    width = _RUNG.width
    """Px."""
    gap = _RUNG.gap("body", "body")
    """Px between two lines of a draft."""
    ends = 2 * _RUNG.margin
    """Px above the first and below the last."""

    def __init__(self, facts: Sequence[Fact]) -> None:
        self.heights: NDArray[np.float64] = np.array([[_height(one.sentence, tier) for tier in TIERS] for one in facts])
        """(F, 4) px of each fact in each tier of `TIERS`."""

    def height(self, facts: NDArray[np.intp], tiers: NDArray[np.intp]) -> NDArray[np.float64]:
        """Px of pages (..., Q) of facts in tiers, by their numbers."""
        told: NDArray[np.float64] = self.heights[facts, tiers].sum(-1) + (self.gap * (facts.shape[-1] - 1) + self.ends)
        return told


@lru_cache(100_000)
def _height(sentence: str, tier: str) -> int:
    """Px of a sentence set in a tier: the lines that `memagent_renderers.line_layout` breaks it into."""
    kind = TYPES[tier]
    face = "bold" if kind.bold else "regular"
    room = (_RUNG.width - 2 * _RUNG.margin) * _units() / kind.px
    lines, used = 1, 0
    for word in sentence.split():
        wide = width_of(face, word)
        if used and used + BLANK + wide > room:
            lines, used = lines + 1, wide
        else:
            used += wide + (BLANK if used else 0)
    return lines * _RUNG.line(kind.tier)


@lru_cache(1)
def _units() -> int:
    from memagent_renderers import fonts

    return fonts.face("regular").units
