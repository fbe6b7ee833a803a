"""The page that a policy writes: facts of a made-up world, each on a line of its own in one of four sizes of type.

| tier | Markdown | px on the page of natural size |
|---|---|---|
| `H1` | heading of the first level | 32 |
| `bold` | bold paragraph | 16 |
| `body` | paragraph | 16 |
| `small` | heading of the sixth level | 10.7 |

Lines are in the order in which the world is told, so only the size of type says what matters. `shrink` sets a page at these
sizes and shrinks the picture to the budget, as published (arXiv 2601.21468); `fit` lays it out for the budget. Pages and
pictures are those of `memagent_renderers`; `laid_out` leaves out the drawing, which a simulated reader does not look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from memagent.environments.long_qa.synthetic_qa import WorldQuestion
from memagent_renderers import Budget, render
from memagent_renderers.budget import Picture, PictureReader
from memagent_renderers.fixed_size import SHRUNK, fixed_size_page, render_downscaled, scaled
from memagent_renderers.layout import fit
from memagent_renderers.legibility_curve import OCR, LegibilityCurve
from memagent_renderers.pricing import shrink_to

Mode = Literal["shrink", "fit"]
MODES: tuple[Mode, ...] = ("shrink", "fit")
CURVES: dict[Mode, LegibilityCurve] = {"shrink": SHRUNK, "fit": OCR}
"""What the packaged OCR reads of type of each size, in pictures that were shrunk and in pictures that were not."""
_PROFILE = "default"
"""Page of natural size: 640 px wide with small margins."""
_MARKDOWN = {"H1": "# {}", "bold": "**{}**", "body": "{}", "small": "###### {}"}
TIERS = tuple(_MARKDOWN)


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
    big = [line for line in lines if line.tier == "H1"]
    hits = sum(line.fact in chain for line in big)
    kept = sum(line.fact in chain for line in lines)
    return Shares(kept / len(chain), hits / len(chain), hits / len(big) if big else None, len(big) / max(1, len(lines)))


def markdown(question: WorldQuestion, lines: Sequence[Line]) -> str:
    """The page as rich text, in the order of the world."""
    ordered = sorted(lines, key=lambda line: line.fact)
    return "\n\n".join(_MARKDOWN[line.tier].format(question.facts[line.fact].sentence) for line in ordered)


def picture(text: str, tokens: int, mode: Mode) -> Picture:
    """The page drawn for so many visual tokens. Raises what `render_downscaled` and `render` raise."""
    budget = Budget(tokens)
    return render_downscaled(text, budget, profile=_PROFILE) if mode == "shrink" else render(text, budget)


def laid_out(text: str, budgets: Sequence[int], mode: Mode) -> Iterator[Picture]:
    """What `picture` would draw for each number of visual tokens, without the PNG: size and place of every word."""
    if mode == "fit":
        for tokens in budgets:
            page = fit(text, Budget(tokens))
            yield Picture(b"", page.width, page.height, tokens, lines=page.lines)
        return
    natural = fixed_size_page(text, profile=_PROFILE)
    for tokens in budgets:
        width, height = shrink_to(natural.width, natural.height, tokens)
        across, down = width / natural.width, height / natural.height
        yield Picture(b"", width, height, tokens, lines=tuple(scaled(line, across, down) for line in natural.lines))


def read(shown: Picture, reader: PictureReader) -> str:
    """What is read on a picture, as running text."""
    return " ".join(word.text for word in reader.read(shown))
