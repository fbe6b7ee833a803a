"""What the policies' pages are worth: fresh drafts for unseen questions, each picture drawn and read by RapidOCR.

Readings are kept one a line, so that a study that was cut off goes on where it stopped; a page that fails counts as wrong and
is counted. Intervals are 95 % bootstraps over the questions of all seeds together; every seed has questions of its own, the
same for every arm, so differences are paired.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

from memagent.environments.long_qa.synthetic_qa import MOST_HOPS, WorldQuestion, world_questions
from memagent.errors import MemAgentError
from memagent.evaluation.metrics import mean_interval, paired_interval
from memagent.evaluation.report import Row
from memagent.evaluation.runner import SILENT, Progress, ResultLog, ResultRecord, reason
from memagent.forks import end_with_parent
from memagent_renderers.ocr.rapidocr import RapidOcrReader
from memagent_renderers.ocr.simulated import SimulatedReader
from training.experiments.memocr.engine import sample_drafts
from training.experiments.memocr.model import DraftModel
from training.experiments.memocr.page import CURVES, Line, Mode, laid_out, markdown, picture, read, shares
from training.experiments.memocr.rule_answerer import answer
from training.experiments.memocr.settings import StudySettings
from training.experiments.memocr.vocabulary import prompt_ids, read_draft, words_of

LARGE = 128
"""Visual tokens above which the OCR takes five to ten seconds a page: one question of `EVERY` is read there."""
EVERY = 4
FULL_SIZE, MIDDLE, SMALLEST = 1024, 64, 16
Runs = Mapping[tuple[str, int], "list[Draft]"]
"""The pages of an arm and a seed."""


@dataclass(frozen=True)
class Draft:
    """A test question and the page that an arm wrote for it."""

    question: WorldQuestion
    lines: tuple[Line, ...]


class Reading(ResultRecord):
    """One page at one budget, read by the OCR."""

    arm: str
    seed: int
    question: str
    tokens: int
    """Visual tokens of the budget."""
    hops: int
    right: bool = False
    answer: str | None = None
    """The script's."""

    @property
    def key(self) -> Hashable:
        return self.arm, self.seed, self.question, self.tokens


def test_drafts(model: DraftModel, settings: StudySettings, *, each: int, seed: int) -> list[Draft]:
    """A sampled draft for `each` questions of every chain length from 1 to 4, about people that training never names."""
    questions = [
        question
        for hops in range(1, MOST_HOPS + 1)
        for question in world_questions(each, split="test", seed=10 * seed + hops, settings=settings.worlds((hops,)))
    ]
    drafts = sample_drafts(model, [prompt_ids(one) for one in questions], seed=seed)
    texts = [" ".join(words_of(draft.ids)) for draft in drafts]
    return [Draft(one, tuple(read_draft(text))) for one, text in zip(questions, texts, strict=True)]


def read_by_ocr(
    runs: Runs, budgets: Sequence[int], mode: Mode, *, file: Path, workers: int, progress: Progress = SILENT
) -> list[Reading]:
    """Every page at every budget, those that `file` holds taken from there."""
    log = ResultLog(file, kind=Reading)
    jobs = [job for (arm, seed), drafts in runs.items() for job in _jobs(arm, seed, drafts, budgets)]
    left = [(blank, draft) for blank, draft in jobs if not log.done(blank.key)]
    with progress.bar(f"{mode}: reading", len(left)) as done:
        if left:
            with ProcessPoolExecutor(workers, get_context("spawn"), end_with_parent) as pool:
                for one in pool.map(partial(_read, mode=mode), left, chunksize=2):
                    log.add(one)
                    done(1)
    return [log.items[blank.key] for blank, _ in jobs]


def _jobs(arm: str, seed: int, drafts: Sequence[Draft], budgets: Sequence[int]) -> Iterator[tuple[Reading, Draft]]:
    met: Counter[int] = Counter()
    for draft in drafts:
        hops = len(draft.question.chain)
        met[hops] += 1
        for tokens in budgets:
            if tokens <= LARGE or met[hops] % EVERY == 1:
                yield Reading(arm=arm, seed=seed, question=draft.question.id, tokens=tokens, hops=hops), draft


def _read(job: tuple[Reading, Draft], *, mode: Mode) -> Reading:
    blank, draft = job
    try:
        said = ocr_answer(draft, blank.tokens, mode)
    except MemAgentError as error:
        return blank.model_copy(update={"error": reason(error)})
    return blank.model_copy(update={"answer": said, "right": said == draft.question.answer})


def ocr_answer(draft: Draft, tokens: int, mode: Mode) -> str | None:
    """The script's answer from the picture of a page, as the OCR reads it."""
    return answer(read(picture(markdown(draft.question, draft.lines), tokens, mode), _ocr()), draft.question)


@cache
def _ocr() -> RapidOcrReader:
    return RapidOcrReader(remember=1)


# -- rows ---------------------------------------------------------------------------------------------------------------


def study_rows(runs: Runs, readings: Sequence[Reading], settings: StudySettings) -> list[Row]:
    """Accuracy by OCR, what the simulated reader expects, and where the evidence is; chain lengths of training and longer."""
    rows: list[Row] = []
    arms, budgets = list(dict.fromkeys(arm for arm, _ in runs)), sorted({one.tokens for one in readings}, reverse=True)
    seen = set(settings.hops)
    for length, hops in (("seen chains", seen), ("longer chains", set(range(1, MOST_HOPS + 1)) - seen)):
        right = {
            (arm, tokens): {
                f"{one.seed}/{one.question}": float(one.right)
                for one in readings
                if (one.arm, one.tokens) == (arm, tokens) and one.hops in hops
            }
            for arm in arms
            for tokens in budgets
        }
        for arm in arms:
            drafts = [one for (name, _), some in runs.items() if name == arm for one in some if len(one.question.chain) in hops]
            for tokens in budgets:
                rows.append(Row.of(arm, "accuracy", tokens, mean_interval(list(right[arm, tokens].values())), length=length))
                expected = [simulated(one, tokens, settings.mode) for one in drafts]
                rows.append(Row.of(arm, "accuracy, simulated reader", tokens, mean_interval(expected), length=length))
                if arm != "full" and "full" in arms:
                    ahead = paired_interval(right["full", tokens], right[arm, tokens])
                    rows.append(Row.of(f"full - {arm}", "accuracy ahead", tokens, ahead, length=length))
            counts = [shares(one.question, one.lines) for one in drafts]
            evidence = {
                "evidence kept": [one.kept for one in counts],
                "evidence recall in H1": [one.large for one in counts],
                "evidence precision in H1": [one.pure for one in counts if one.pure is not None] or [0.0],
                "H1 share of lines": [one.lines_large for one in counts],
            }
            rows += [Row.of(arm, name, None, mean_interval(values), length=length) for name, values in evidence.items()]
    return rows


def simulated(draft: Draft, tokens: int, mode: Mode, *, times: int = 8) -> float:
    """The share of readings by the simulated reader that lead to the answer."""
    [page] = laid_out(markdown(draft.question, draft.lines), [tokens], mode)
    said = [answer(read(page, SimulatedReader(CURVES[mode], seed=seed)), draft.question) for seed in range(times)]
    return fmean(one == draft.question.answer for one in said)


def checks(rows: Sequence[Row]) -> dict[str, dict[str, float | bool]]:
    """What the study promises of chains that training showed; nothing where an arm or a budget was left out."""
    of = {(row.method, row.metric, row.at): row for row in rows if row.length == "seen chains"}

    def accuracy(arm: str, tokens: int) -> Row | None:
        return of.get((arm, "accuracy", tokens))

    found: dict[str, dict[str, float | bool]] = {}
    for tokens, least in ((MIDDLE, 0.25), (SMALLEST, 0.10)):
        full, std = accuracy("full", tokens), accuracy("std", tokens)
        if full and std:
            by, apart = full.value - std.value, (std.high or 0.0) < (full.low or 0.0)
            found[f"full ahead of std at {tokens}"] = {"by": by, "least": least, "good": by >= least and apart}
    full, std = accuracy("full", FULL_SIZE), accuracy("std", FULL_SIZE)
    if full and std:
        found["cost at 1024"] = {"points": std.value - full.value, "most": 0.02, "good": std.value - full.value <= 0.02}
    for name in ("evidence recall in H1", "evidence precision in H1"):
        if ("full", name, None) in of and ("none", name, None) in of:
            low, high = of["none", name, None].value, of["full", name, None].value
            found[name] = {"before": low, "after": high, "good": high > 0 and high >= 2 * low}
    return found
