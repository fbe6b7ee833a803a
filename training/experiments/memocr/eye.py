"""The eye of rollouts: chances that a fact is read, measured with the real OCR and then frozen.

A fact counts as read when `answerer.statements` finds it in what the OCR made of the whole page. Two tables:

- `shrink`: share of facts read by size of type in the shrunk picture and weight of the face, made to rise; 1 above 8 px.
- `fit`: how much text of a page too long for its budget is on it (advance width in em, in the order of importance), and the
  share read of the facts that are; a page that holds everything is read whole.

`measure` makes the tables (thousands of facts, a quarter of an hour), `Eye.packaged` loads those that came with this version.
Used as a reward only: every number that is reported comes from the OCR itself. The measured curve belongs to one font, one
engine and one OCR.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from memagent.environments.long_qa.synthetic_qa import WorldQuestion, WorldSettings, world_questions
from memagent.evaluation.runner import end_with_parent
from memagent_renderers.budget import Picture, text_of
from memagent_renderers.budget import PictureReader as PageEye
from memagent_renderers.ocr.rapidocr import RapidOcrReader
from training.experiments.memocr.answerer import statements
from training.experiments.memocr.page import TIERS, TYPES, Line, Mode, markdown, picture, width_em, words_shown
from training.experiments.memocr.settings import SizeSettings

CAP = 8.0
"""Px of type from which on a fact is always read: what is missing there in the table is noise."""
STEP = 0.25
"""Px between two points of a curve."""
SHRUNK_TO = (16, 24, 32, 48, 64, 64, 96, 128)
FITTED_TO = (16, 32, 64)
Curve = tuple[tuple[float, float], ...]


class Seen(NamedTuple):
    """One fact on one picture."""

    mode: Mode
    tokens: int
    size: float
    """Of its type in the picture, px."""
    bold: bool
    read: bool


@dataclass(frozen=True)
class Eye:
    """The frozen tables."""

    regular: Curve
    """(px, share of facts read), rising."""
    bold: Curve
    capacity: dict[str, float]
    """By visual tokens: em of text, at the page's own size, that a `fit` page too small for everything holds."""
    fitted: float
    """Share of facts read of those on such a page."""
    facts: int
    """Facts that were measured."""

    def chances(self, sizes: NDArray[np.float64], tiers: NDArray[np.intp]) -> NDArray[np.float64]:
        """Chance of being read for each fact: `sizes` px in the picture, `tiers` places in `TIERS`; any shape."""
        return np.where(_BOLD[tiers], _along(self.bold, sizes), _along(self.regular, sizes))

    def room(self, tokens: int) -> float:
        """Em on a `fit` page of so many tokens; infinite where everything of our pages was found to fit."""
        return self.capacity.get(str(tokens), np.inf)

    def save(self, path: Path) -> None:
        """Write the tables as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path) -> Eye:
        """What `save` wrote."""
        data = json.loads(path.read_text("utf-8"))
        curves = {name: tuple((float(size), float(share)) for size, share in data[name]) for name in ("regular", "bold")}
        return cls(capacity=data["capacity"], fitted=data["fitted"], facts=data["facts"], **curves)

    @classmethod
    @cache
    def packaged(cls) -> Eye:
        """The tables of this version's font, engine and OCR."""
        return cls.load(Path(__file__).with_name("eye.json"))


_BOLD = np.array([TYPES[tier].bold for tier in TIERS])


def _along(curve: Curve, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    at, share = zip(*curve, strict=True)
    return np.where(sizes >= CAP, 1.0, np.interp(sizes, at, share))


def read_page(shown: Picture, eye: PageEye) -> str:
    """What an eye reads on a picture, as running text."""
    return text_of(eye.read(shown)).replace("\n", " ")


def drafts(questions: Sequence[WorldQuestion], *, lines: int, seed: int) -> Iterator[tuple[WorldQuestion, list[Line]]]:
    """A random page for each question, with a mix of tiers of its own."""
    for question in questions:
        draw = random.Random(f"{seed}:{question.id}")
        weights = [draw.random() ** 2 + 0.02 for _ in TIERS]
        facts = sorted(draw.sample(range(len(question.facts)), lines))
        yield question, [Line(draw.choices(TIERS, weights)[0], fact) for fact in facts]


def look(question: WorldQuestion, lines: Sequence[Line], tokens: int, mode: Mode, eye: PageEye) -> list[Seen]:
    """Which facts the real eye reads on one picture; of a `fit` page only those that are wholly on it."""
    text = markdown(question, lines)
    shown = picture(text, tokens, mode)
    found = set(statements(read_page(shown, eye)))
    on_page = " ".join(line.text for line in shown.lines)
    seen = []
    for line in lines:
        fact, kind = question.facts[line.fact], TYPES[line.tier]
        if mode == "shrink" or fact.sentence in on_page:
            size = shown.sizes[kind.tier]
            seen.append(Seen(mode, tokens, size, kind.bold, (fact.subject, fact.relation, fact.value) in found))
    return seen


def tables(seen: Iterable[Seen], capacity: dict[str, float]) -> Eye:
    """The tables of what was seen."""
    rows = list(seen)
    shrunk = [one for one in rows if one.mode == "shrink"]
    full = [one.read for one in rows if one.mode == "fit" and str(one.tokens) in capacity]
    curves = [_curve([one for one in shrunk if one.bold == bold]) for bold in (False, True)]
    return Eye(curves[0], curves[1], capacity, sum(full) / max(1, len(full)), len(rows))


def _curve(seen: Sequence[Seen]) -> Curve:
    bins: dict[float, list[bool]] = {}
    for one in seen:
        if one.size < CAP + STEP:
            bins.setdefault(round(one.size / STEP) * STEP, []).append(one.read)
    at = sorted(bins)
    rising = isotonic_regression([sum(bins[x]) / len(bins[x]) for x in at], weights=[float(len(bins[x])) for x in at]).x
    return tuple(zip(at, map(float, rising), strict=True))


def capacities(questions: Sequence[WorldQuestion], *, lines: int, seed: int) -> dict[str, float]:
    """Em of text on `fit` pages, by tokens; only budgets that never hold everything."""
    found = {}
    for tokens in FITTED_TO:
        held = [_held(question, drafted, tokens) for question, drafted in drafts(questions, lines=lines, seed=seed)]
        if all(one is not None for one in held):
            found[str(tokens)] = float(np.mean([one for one in held if one is not None]))
    return found


def _held(question: WorldQuestion, lines: Sequence[Line], tokens: int) -> float | None:
    """Em on the page; None when everything is."""
    words = sum(len(question.facts[line.fact].sentence.split()) for line in lines)
    left = words_shown(markdown(question, lines), tokens)
    if left >= words:
        return None
    held = 0.0
    for line in sorted(lines, key=lambda line: (TIERS.index(line.tier), line.fact)):
        told = question.facts[line.fact].sentence.split()[: max(0, left)]
        held += width_em(" ".join(told), line.tier)
        left -= len(told)
    return held


def measure(settings: WorldSettings, *, lines: int, facts: int, seed: int, workers: int = 2) -> Eye:
    """Tables from at least so many facts, three of four on `shrink` pages, in worlds of the `dev` split."""
    questions = world_questions(-(-facts // lines), split="dev", seed=seed, settings=settings)
    jobs = [(question, drafted, number) for number, (question, drafted) in enumerate(drafts(questions, lines=lines, seed=seed))]
    with ProcessPoolExecutor(workers, get_context("spawn"), end_with_parent) as pool:
        seen = [one for page in pool.map(_job, jobs, chunksize=4) for one in page]
    return tables(seen, capacities(questions[:60], lines=lines, seed=seed))


def _job(job: tuple[WorldQuestion, list[Line], int]) -> list[Seen]:
    question, lines, number = job
    mode: Mode = "fit" if number % 4 == 3 else "shrink"
    choices = FITTED_TO if mode == "fit" else SHRUNK_TO
    return look(question, lines, choices[number // 4 % len(choices)], mode, ocr())


@cache
def ocr() -> RapidOcrReader:
    """The real eye of this process."""
    return RapidOcrReader(remember=1)


def main(argv: list[str] | None = None) -> int:
    """Measure the tables again and write them to a file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--facts", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("eye.json"))
    options = parser.parse_args(argv)
    shape = SizeSettings()
    measure(shape.worlds(), lines=shape.quota, facts=options.facts, seed=options.seed).save(options.out)
    print(options.out.read_text("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
