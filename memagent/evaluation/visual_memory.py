"""`memagent bench visual-memory`: how much of an answer a memory still shows within B tokens, as a picture and as text.

Every question gets a long context, one ranking of its sentences and one draft that knows no budget. Each method of
`memagent.evaluation.arms` shows that draft within each budget; pictures are read by an eye, text is taken as it is.

- `answer_shown`: share of questions whose gold answer stands in what was read (strict sub-EM); yes/no answers are left out.
- `evidence_shown`: share of the supporting sentences, 80 % of whose words stand there in order.
- `legible_chars_per_token`: characters of the words on a picture that were read right, for each visual token.
- `ocr_seconds`: median processor time of reading one picture.

Text is measured at B and at 4B tokens; `fit_minus_best_text_4x` is the paired difference between `fit` at B and the text
method that does best at 4B on these very questions, a choice that favours text. Intervals are 95 % bootstraps over
questions; several paddings of one question count as one. Failed items count as 0, and their number is in `meta`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from memagent.environments.long_qa.dataset import Dataset, QAExample
from memagent.environments.long_qa.dataset_files import load
from memagent.environments.long_qa.padding import Context, Count, padded
from memagent.errors import InputError, MemAgentError
from memagent.evaluation import arms
from memagent.evaluation.drafts import Draft, Drafting
from memagent.evaluation.evidence import Precision, evidence_precision, evidence_shown
from memagent.evaluation.metrics import normalise, strict_sub_em
from memagent.evaluation.ocr_pool import OcrPool, PatientEye, Reading
from memagent.evaluation.report import Report, code_digest, file_digest, machine_facts
from memagent.evaluation.runner import ResultLog, fingerprint
from memagent.evaluation.token_counts import counter
from memagent.evaluation.visual_rows import TEXT_FACTOR, Item, Key, best_texts, rows_of
from memagent.retrieval.embedders.registry import load_embedder, resolve_embedder
from memagent_renderers.budget import Budget, Picture, text_of
from memagent_renderers.engines import make_engine
from memagent_renderers.legibility import read_back
from memagent_renderers.legibility_curve import OCR
from memagent_renderers.ocr.simulated import SimulatedReader, agreement
from memagent_renderers.processor_limits import tokens_for

BUDGETS = (16, 64, 256)
CONTEXT_TOKENS = 10_000
CHECKED_READS = 100
"""Pictures that the real eye reads too where a calibrated one stands in for it."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What shapes a run. `embedder` is a name, "auto" for the best installed, or None; `tokens` counts text."""

    budgets: tuple[int, ...] = BUDGETS
    context_tokens: int = CONTEXT_TOKENS
    drafter: str = "ranked"
    eye: str = "ocr"
    engine: str = "embedded"
    embedder: str | None = "auto"
    tokens: str = "auto"
    seeds: int = 1
    """Paddings of each question."""
    limit: int | None = None
    """Most questions, the first of the file; None for all."""

    def __post_init__(self) -> None:
        for name, value in (("context_tokens", self.context_tokens), ("seeds", self.seeds), ("limit", self.limit)):
            if value is not None and value < 1:
                raise InputError(f"{name} is 1 or more, not {value}")
        if not self.budgets:
            raise InputError("at least one budget is needed, such as 64")
        for budget in self.budgets:
            tokens_for(Budget(budget))


@dataclass(frozen=True)
class Question:
    """A question with one of its paddings, and the memory drafted for it."""

    case: QAExample
    seed: int
    context: Context
    draft: Draft

    @property
    def sentences(self) -> list[str]:
        """The supporting sentences."""
        return [self.context.documents[place].sentences[at] for place, at in self.context.evidence]

    @property
    def golds(self) -> list[str]:
        """The gold answers and the titles of the supporting documents."""
        titles = {self.context.documents[place].title: None for place, _ in self.context.evidence}
        return [*(self.case.answers if asked(self.case) else ()), *titles]

    def scored(self, arm: str, at: int, view: str, **facts: Any) -> Item:
        """What a view shows of it."""
        return Item(
            case=self.case.id,
            seed=self.seed,
            arm=arm,
            at=at,
            answer=strict_sub_em(view, self.case.answers) if asked(self.case) else None,
            evidence=evidence_shown(self.sentences, view) if self.sentences else None,
            **facts,
        )


def asked(case: QAExample) -> bool:
    """Whether the gold answers can be looked for: yes, no and answers without words stand in any text or in none."""
    return {"", "yes", "no"}.isdisjoint(map(normalise, case.answers))


def run(data: Path, settings: Settings, *, out: Path | None = None, say: Say = lambda _: None) -> Report:
    """Measure on a HotpotQA or LoCoMo file. With `out`, items are kept there and a run that was cut off is taken up again.

    `say` is told what is going on. Raises `InputError` for another file, `UnknownName`, and `MissingExtra` for an eye, an
    engine or an embedder that is not installed.
    """
    began = time.perf_counter()
    loaded = load(data)
    embedder_name = resolve_embedder(settings.embedder)
    embedder = None if embedder_name is None else load_embedder(embedder_name)
    with counter(settings.tokens) as (counted_by, count), OcrPool(settings.eye) as readers:
        drafting = Drafting(settings.drafter, embedder, count)
        shaping = _shaping(data, settings, embedder_name, counted_by)
        name = fingerprint(shaping)
        log = ResultLog(out and out / f"items-{name}.jsonl", kind=Item)
        bench = _Bench(settings, log, readers, count, say)
        for question in _questions(loaded, settings, drafting, count):
            bench.ask(question)
        bench.finish()
        compared = bench.agreement()
    items = list(bench.items())
    meta = {
        "data": {"name": data.name, "sha256": shaping["data"], "questions": len(loaded.cases)},
        "settings": {**shaping, "budgets": list(settings.budgets), "limit": settings.limit, "seeds": settings.seeds},
        "fingerprint": name,
        **bench.facts(),
        "best_text_4x": best_texts(items, settings.budgets),
        "eye_agreement": compared,
        "seconds": round(time.perf_counter() - began, 1),
        **machine_facts(),
    }
    return Report(name="visual-memory", rows=rows_of(items, settings.budgets), meta=meta)


def _questions(loaded: Dataset, settings: Settings, drafting: Drafting, count: Count) -> Iterator[Question]:
    for case in loaded.cases[: settings.limit]:
        for seed in range(settings.seeds):
            context = padded(case, loaded.pool, tokens=settings.context_tokens, seed=seed, count=count)
            yield Question(case, seed, context, drafting.draft(case.question, context.documents))


class _Bench:
    """Items of a run: text at once, pictures as their readings come in."""

    def __init__(self, settings: Settings, ledger: ResultLog[Item], readers: OcrPool, count: Count, say: Say) -> None:
        self._settings, self._ledger, self._readers, self._count, self._say = settings, ledger, readers, count, say
        self._engine = make_engine(settings.engine)
        self._questions: list[Question] = []
        self._open: list[tuple[Question, str, int, Picture, Future[Reading]]] = []
        self._keys: list[Key] = []

    def ask(self, question: Question) -> None:
        """Show a question by every method within every budget, unless that was done before."""
        self._questions.append(question)
        budgets = sorted(set(self._settings.budgets))
        for at in sorted({*budgets, *(TEXT_FACTOR * budget for budget in budgets)}):
            for arm in arms.TEXTS:
                if self._due(question, arm, at):
                    view = arms.text(arm, question.draft, question.context.documents, at, self._count)
                    self._ledger.add(question.scored(arm, at, view, tokens=self._count(view)))
        for at in budgets:
            for arm in arms.PICTURES:
                if self._due(question, arm, at):
                    self._show(question, arm, at)
        self._take_in(waiting=False)

    def _due(self, question: Question, arm: str, at: int) -> bool:
        key = Key(question.case.id, question.seed, arm, at)
        self._keys.append(key)
        return not self._ledger.done(key)

    def _show(self, question: Question, arm: str, at: int) -> None:
        try:
            picture = self._picture(question, arm, at)
        except MemAgentError as error:
            self._fail(question, arm, at, f"{type(error).__name__}: {error}")
        else:
            self._open.append((question, arm, at, picture, self._readers.read(picture)))

    def _picture(self, question: Question, arm: str, at: int) -> Picture:
        return arms.picture(arm, question.draft.markdown, Budget(at), self._engine)

    def _take_in(self, *, waiting: bool) -> None:
        """Keep the readings that are there, or all of them."""
        left = []
        for number, entry in enumerate(self._open, 1):
            question, arm, at, picture, future = entry
            if not waiting and not future.done():
                left.append(entry)
                continue
            reading = future.result()
            if reading.error is not None:
                self._fail(question, arm, at, reading.error)
            else:
                density = read_back(picture, PatientEye(self._readers)).density
                view = text_of(list(reading.words))
                facts = {"density": density, "seconds": reading.seconds, "tokens": picture.tokens}
                self._ledger.add(question.scored(arm, at, view, **facts))
            if waiting and number % 50 == 0:
                self._say(f"read {number} of {len(self._open)} pictures that were left")
        self._open = left

    def _fail(self, question: Question, arm: str, at: int, why: str) -> None:
        """An item that failed shows nothing, and stays in every mean."""
        self._ledger.add(question.scored(arm, at, "", density=0.0, error=why))

    def finish(self) -> None:
        """Wait for every reading."""
        self._say(f"{len(self._questions)} contexts drafted and shown; reading {len(self._open)} pictures")
        self._take_in(waiting=True)
        self._engine.close()

    def items(self) -> Iterator[Item]:
        """The items of this run, in its own order, whenever they were made."""
        for key in self._keys:
            yield self._ledger.items[key]

    def agreement(self) -> dict[str, Any] | None:
        """How a calibrated eye compares with the real one on a seeded sample of pictures; None for other eyes."""
        shown = [(question, key) for question in self._questions for key in self._pictures_of(question)]
        if self._settings.eye != "calibrated" or not shown:
            return None
        sample = random.Random(0).sample(shown, min(CHECKED_READS, len(shown)))
        pictures = [self._picture(question, key.arm, key.at) for question, key in sample]
        self._say(f"reading {len(pictures)} pictures with the real eye, to compare")
        with OcrPool("ocr") as real:
            for picture in pictures:
                real.read(picture)
            return asdict(agreement(pictures, PatientEye(real), SimulatedReader(OCR)))

    def _pictures_of(self, question: Question) -> list[Key]:
        keys = [Key(question.case.id, question.seed, arm, at) for arm in arms.PICTURES for at in self._settings.budgets]
        return [key for key in keys if self._ledger.done(key)]

    def facts(self) -> dict[str, Any]:
        """What went into the run and what was left out, for `meta`."""
        questions = self._questions
        failed = [item for item in self.items() if item.error is not None]
        once = {question.case.id: question.case for question in questions}.values()
        return {
            "excluded": {
                "from_answer_shown": sum(not asked(case) for case in once),
                "from_evidence_shown": sum(not case.evidence for case in once),
            },
            "failures": {"count": len(failed), "first": [f"{item.key}: {item.error}" for item in failed[:20]]},
            "context": {
                "tokens_mean": mean(question.context.tokens for question in questions),
                "tokens_least": min(question.context.tokens for question in questions),
                "documents_mean": mean(len(question.context.documents) for question in questions),
            },
            "draft": {
                "tokens_mean": mean(question.draft.tokens for question in questions),
                "lines_mean": mean(len(question.draft.lines) for question in questions),
                "answer_in_context": _share_holding(questions, lambda one: one.context.text),
                "answer_in_draft": _share_holding(questions, lambda one: one.draft.text),
                "evidence_precision": _precision(questions),
            },
            "ocr_seconds_total": round(sum(item.seconds or 0.0 for item in self.items()), 1),
        }


def _share_holding(questions: Sequence[Question], text: Callable[[Question], str]) -> float | None:
    """Share of questions whose answer stands in a text of theirs: no view can show more."""
    found = [strict_sub_em(text(one), one.case.answers) for one in questions if asked(one.case)]
    return sum(found) / len(found) if found else None


def _precision(questions: Sequence[Question]) -> dict[str, dict[str, float | int | None]]:
    """Evidence precision of each region and tier of the drafts, words of all drafts together."""
    total: dict[str, Precision] = {}
    for question in questions:
        for tier, own in evidence_precision(question.draft.markdown, question.golds).items():
            total[tier] = total.get(tier, Precision()) + own
    return {tier: {"precision": one.share, "words": one.words} for tier, one in total.items()}


def _shaping(data: Path, settings: Settings, embedder: str | None, counted_by: str) -> dict[str, Any]:
    """Everything that shapes an item, apart from which items there are."""
    return {
        "data": file_digest(data),
        "context_tokens": settings.context_tokens,
        "drafter": settings.drafter,
        "eye": settings.eye,
        "engine": settings.engine,
        "embedder": embedder,
        "text_tokens_counted_by": counted_by,
        "code": code_digest(),
        "libraries": machine_facts()["versions"],
    }
