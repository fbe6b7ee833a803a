"""What a policy's pages are worth: fresh drafts for test questions, read by the eye at several budgets.

The pages themselves are written down, so that they can be drawn and read by a real eye.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from memagent.environments.long_qa.synthetic_qa import WorldQuestion, world_questions
from training.experiments.memocr.page import Mode, shares
from training.experiments.memocr.rewards import Sheet, laid_out
from training.experiments.memocr.study import SPLIT, Drafted
from training.experiments.memocr.tokens.engine import sample_drafts
from training.experiments.memocr.tokens.model import DraftModel
from training.experiments.memocr.tokens.settings import TokenSettings
from training.experiments.memocr.tokens.vocabulary import prompt_ids, read_draft, words_of

BUDGETS = (1024, 512, 256, 128, 64, 32, 16)
_AT_ONCE = 256


def draft_all(model: DraftModel, questions: Sequence[WorldQuestion], *, seed: int) -> list[Drafted]:
    """One sampled draft a question."""
    done = []
    for start in range(0, len(questions), _AT_ONCE):
        some = questions[start : start + _AT_ONCE]
        drafts = sample_drafts(model, [prompt_ids(one) for one in some], seed=seed + start)
        texts = [" ".join(words_of(draft.ids)) for draft in drafts]
        done += [Drafted(one, tuple(read_draft(text))) for one, text in zip(some, texts, strict=True)]
    return done


def test_questions(settings: TokenSettings, *, each: int, seed: int) -> list[WorldQuestion]:
    """`each` questions of every chain length from 1 to 4, about people that training never names."""
    return [
        question
        for hops in range(1, 5)
        for question in world_questions(each, split=SPLIT, seed=10 * seed + hops, settings=settings.worlds((hops,)))
    ]


def summary(drafted: Sequence[Drafted], *, seen_hops: Sequence[int], mode: Mode) -> dict[str, dict[str, float]]:
    """Means for each chain length, and for `seen` (those of training) and `longer` ones together.

    By the eye's own chances, not by sampling them: `eye 64` is the expected share of right answers at 64 tokens.
    """
    groups: dict[str, list[Drafted]] = {}
    for one in drafted:
        hops = len(one.question.chain)
        for name in (f"{hops} hops", "seen" if hops in seen_hops else "longer"):
            groups.setdefault(name, []).append(one)
    return {name: _means(members, mode) for name, members in groups.items()}


def _means(drafted: Sequence[Drafted], mode: Mode) -> dict[str, float]:
    pages = laid_out([Sheet.of(one.question) for one in drafted], [one.lines for one in drafted], mode)
    counts = [shares(one.question, one.lines) for one in drafted]
    pure = [one.pure for one in counts if one.pure is not None]
    return {
        "questions": len(drafted),
        **{f"eye {tokens}": float(pages.chance(tokens).mean()) for tokens in BUDGETS},
        "evidence kept": fmean(one.kept for one in counts),
        "evidence in H1": fmean(one.large for one in counts),
        "H1 precision": fmean(pure) if pure else 0.0,
        "H1 lines": fmean(one.lines_large for one in counts),
    }


def write_pages(drafted: Sequence[Drafted], path: Path) -> None:
    """One JSON object a question: id, split, hops, and the page as pairs of tier and place of the fact in the world."""
    draft = path.with_suffix(".tmp")
    draft.write_text("".join(json.dumps(row) + "\n" for row in _rows(drafted)), "utf-8")
    draft.replace(path)


def _rows(drafted: Sequence[Drafted]) -> Iterator[dict[str, object]]:
    for one in drafted:
        page = [[line.tier, line.fact] for line in one.lines]
        yield {"id": one.question.id, "split": SPLIT, "hops": len(one.question.chain), "page": page}
