"""The methods that are compared: ways to show one and the same draft within a budget.

Pictures: `fit` is laid out for the budget; `render_downscaled` is the published page, drawn at its natural size, cut at 656 px
as their service cuts it (whole, it would be smaller still), and shrunk; `uniform` is the best page of one type size, shrunk.
Text: `text_cut` is the draft up to its B-th token, as published; `text_fair` takes whole lines in the order of the draft,
each that still fits; `rag` takes the documents in the order of their best lines, up to the B-th token.
"""

from __future__ import annotations

from collections.abc import Sequence

from memagent.environments.long_qa.dataset import Document
from memagent.environments.long_qa.padding import Count
from memagent.evaluation.drafts import Draft
from memagent.memory.memocr.document import CHARACTERS_PER_TOKEN
from memagent_renderers.budget import Budget, Picture
from memagent_renderers.engines import Engine
from memagent_renderers.fixed_size import best_uniform, render_downscaled
from memagent_renderers.picture import render

PICTURES = ("fit", "shrink", "uniform")
TEXTS = ("text_cut", "text_fair", "rag")


def picture(arm: str, markdown: str, budget: Budget, engine: Engine) -> Picture:
    """The picture that a method shows, within the budget. Raises what layout and engine raise."""
    match arm:
        case "fit":
            return render(markdown, budget, engine=engine)
        case "shrink":
            return render_downscaled(markdown, budget, cut=True, engine=engine)
        case _:
            return best_uniform(markdown, budget, engine=engine)


def text(arm: str, draft: Draft, documents: Sequence[Document], tokens: int, count: Count) -> str:
    """The text that a method shows, at most `tokens` tokens by `count`."""
    match arm:
        case "text_cut":
            return cut(draft.text, tokens, count)
        case "text_fair":
            return whole_lines(draft.texts, tokens, count)
        case _:
            found = dict.fromkeys(line.seq for line in draft.lines)
            return cut("\n\n".join(f"{documents[place].title}\n{documents[place].text}" for place in found), tokens, count)


def cut(text: str, tokens: int, count: Count) -> str:
    """The longest start of a text that costs at most `tokens`."""
    low, high = 0, min(len(text), tokens * CHARACTERS_PER_TOKEN)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(text[:middle]) <= tokens else (low, middle - 1)
    while count(text[:low]) > tokens:  # a tokenizer may join what follows, so that a longer text costs less
        low -= 1
    return text[:low]


def whole_lines(lines: Sequence[str], tokens: int, count: Count) -> str:
    """Lines in their order, each that fits beside those before it, joined by line breaks; at most `tokens` in all."""
    chosen: list[str] = []
    for line in lines:
        if count("\n".join([*chosen, line])) <= tokens:
            chosen.append(line)
    return "\n".join(chosen)
