"""Runs questions about long contexts: every question, at every length, by every method, within every budget.

A unit is one padding of one question at one length. Its context is made and told to the memories (`methods`), pictures are
handed to the reader, texts are answered meanwhile, and each record is kept as soon as it is there
(`memagent.evaluation.runner`). Without a model nothing is answered: what counts is what stands in what was read.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from memagent.environments.long_qa.answers import QuestionAsker, prediction_of
from memagent.environments.long_qa.dataset import Dataset, QAExample
from memagent.environments.long_qa.dataset_files import Questions
from memagent.environments.long_qa.methods import ContextViews, MemoryParts, View
from memagent.environments.long_qa.padding import Context, padded
from memagent.environments.long_qa.results import ContextFacts, Key, MemoryFacts, Prediction, scores_of
from memagent.environments.long_qa.settings import WHOLE, WINDOW, LongQaSettings
from memagent.errors import InputError, MemAgentError, RenderError
from memagent.evaluation.ocr_pool import OcrPool, OcrResult, PooledReader
from memagent.evaluation.report import machine_facts
from memagent.evaluation.runner import SILENT, BenchRun, Progress, ResultLog, fingerprint, open_run, reason
from memagent.evaluation.token_counts import Count, counter
from memagent.models.base import ChatModel, Reply
from memagent.models.concurrency import CallCancelled
from memagent.types import Usage
from memagent_renderers.budget import ESTIMATE, Picture, text_of
from memagent_renderers.legibility import read_back
from memagent_renderers.legibility_curve import OCR
from memagent_renderers.ocr.simulated import SimulatedReader, agreement


@dataclass(frozen=True)
class Unit:
    """One padding of one question at one length."""

    example: QAExample
    seed: int
    length: str


Due = tuple[Unit, list[Key]]
"""A unit, and which of its records are to be made."""
Ask = Callable[[Questions, "LongQaBench", list[Due]], None]
"""Makes what is due, and adds it to the log of the bench."""


@dataclass(frozen=True)
class LongQaRun:
    """What a run found."""

    records: list[Prediction]
    form: str
    model: str | None
    facts: dict[str, Any]
    """How it came about, for the `meta` of a report."""


def measure(
    data: Path,
    settings: LongQaSettings,
    *,
    model: ChatModel | None = None,
    pool: Path | None = None,
    out: Path | None = None,
    ask: Ask | None = None,
    progress: Progress = SILENT,
) -> LongQaRun:
    """Measure on a file of questions in any form that `dataset_files` reads; `pool` has more documents to pad contexts with.

    `model` answers, and writes the memories where the settings say so; None: no model. With `out`, records are kept there and
    a run that was cut off is taken up again. `ask` makes the records elsewhere than in threads of this process. Raises
    `InputError` for a file or a setting that cannot be, `UnknownName`, `MissingExtra`, and what the model raises when no call
    to it can succeed; any other failure of it costs its record only.
    """
    began = time.perf_counter()
    questions = Questions.read(data, pool)
    with open_bench(questions, settings, model=model, out=out, progress=progress) as bench:
        due = [(unit, keys) for unit in bench.units if (keys := bench.due(unit))]
        if ask is not None:
            ask(questions, bench, due)
        else:
            bench.run.map("questions", lambda one: bench.make(*one, keep=bench.log.add), due)
        if bench.log.file is not None:
            progress.say(f"every prediction is in {bench.log.file}")
        facts = {
            "data": {
                "name": data.name,
                "sha256": bench.shaping["data"],
                "form": bench.loaded.form,
                "questions": len(bench.loaded.cases),
            },
            "settings": bench.shaping | {"seeds": settings.seeds, "limit": settings.limit, "budgets": list(settings.budgets)},
            "fingerprint": fingerprint(bench.shaping),
            "seconds": round(time.perf_counter() - began, 1),
            **machine_facts(),
        }
        records = [bench.log.items[key] for unit in bench.units for key in bench.keys_of(unit)]
    return LongQaRun(records, bench.loaded.form, None if model is None else model.name, facts)


def compare_readers(
    data: Path, settings: LongQaSettings, records: Sequence[Prediction], *, pictures: int, progress: Progress = SILENT
) -> dict[str, Any] | None:
    """How the simulated reader compares with the real one on a seeded sample of the pictures of a run; None for no picture."""
    drawn = [one.key for one in records if one.seconds is not None and one.error is None]
    sample = random.Random(0).sample(drawn, min(pictures, len(drawn)))
    if not sample:
        return None
    with (
        open_bench(Questions.read(data), settings) as bench,
        OcrPool("ocr") as real,
        progress.bar("pictures", len(sample)) as done,
    ):
        found: list[Picture] = []
        for unit in bench.units:
            wanted = [key for key in bench.keys_of(unit) if key in sample]
            if wanted:
                with bench.views(unit, bench.context(unit)) as views:
                    found += [picture for key in wanted if (picture := views.view(key.method, key.at).picture) is not None]
        progress.say(f"reading {len(found)} pictures with the real reader, to compare")
        for picture in found:
            real.read(picture).add_done_callback(lambda _: done(1))
        return asdict(agreement(found, PooledReader(real), SimulatedReader(OCR)))


@contextmanager
def open_bench(
    questions: Questions,
    settings: LongQaSettings,
    *,
    model: ChatModel | None = None,
    out: Path | None = None,
    read_here: bool = False,
    progress: Progress = SILENT,
) -> Iterator[LongQaBench]:
    """Everything that a run works with; with `read_here`, pictures are read in this process, not in processes for it.

    Raises `InputError` where a model shall draft and there is none.
    """
    if settings.drafter == "model" and model is None:
        raise InputError("the drafter `model` needs a model; without one, memories are drafted by `salience`")
    drafter = settings.drafter or ("salience" if model is None or model.small else "model")
    with ExitStack() as stack:
        counted_by, count = stack.enter_context(_counting(settings, model))
        shaping = _shaping(questions, settings, model, counted_by) | {"drafter": drafter}
        readers = stack.enter_context(OcrPool(settings.reader, here=read_here))
        run = stack.enter_context(
            open_run(out, concurrency=settings.concurrency, embedder=settings.embedder_name, progress=progress)
        )
        answering = None if model is None else run.model(model)
        seen = model.reader if model is not None and model.reader.sees_images else ESTIMATE
        parts = MemoryParts(
            embedder=run.embedder,
            count=count,
            reader=replace(seen, count=count, exact=not counted_by.endswith("estimate)") and counted_by != "estimate"),
            writer=answering if drafter == "model" else None,
            engine=settings.engine,
            chunk_tokens=settings.chunk_tokens,
        )
        yield LongQaBench(questions.dataset, settings, run, readers, parts, answering, shaping)


class LongQaBench:
    """Answers units, several at once."""

    def __init__(
        self,
        loaded: Dataset,
        settings: LongQaSettings,
        run: BenchRun,
        readers: OcrPool,
        parts: MemoryParts,
        model: ChatModel | None,
        shaping: dict[str, Any],
    ) -> None:
        self.loaded, self.run, self.shaping = loaded, run, shaping
        self.log: ResultLog[Prediction] = run.log(Prediction, shaping)
        self._settings, self._readers, self._parts = settings, readers, parts
        self._asker = None if model is None else QuestionAsker(model, answer_tokens=settings.answer_tokens)
        self.units = [
            Unit(example, seed, length)
            for length in settings.lengths
            for example in loaded.cases[: settings.limit]
            for seed in range(settings.seeds)
        ]

    def keys_of(self, unit: Unit) -> list[Key]:
        return [
            Key(unit.example.id, unit.seed, unit.length, method, at)
            for method in self._settings.methods
            for at in ((self.shaping["window"],) if method == WHOLE else self._settings.budgets_of(method))
        ]

    def context(self, unit: Unit) -> Context:
        """What a unit is about."""
        size = self._settings.size_of(unit.length)
        return padded(unit.example, self.loaded.pool, seed=unit.seed, count=self._parts.count, **size)

    def views(self, unit: Unit, context: Context) -> ContextViews:
        return ContextViews(unit.example.question, context, self._parts)

    def due(self, unit: Unit) -> list[Key]:
        """Which records of a unit are not there yet."""
        return [key for key in self.keys_of(unit) if not self.log.done(key)]

    def make(self, unit: Unit, due: Sequence[Key], *, keep: Callable[[Prediction], None]) -> None:
        """Make these records of a unit, and keep each as soon as it is there. Raises `CallCancelled`."""
        context = self.context(unit)
        with self.views(unit, context) as views:
            answering = _Answering(unit.example, context, views, self._asker, self._readers, self._parts.count)
            shown = {key: answering.show(key) for key in due}
            for key in sorted(due, key=lambda key: isinstance(shown[key], PendingPicture)):  # pictures are read meanwhile
                keep(answering.record(key, shown[key]))


@dataclass(frozen=True)
class PendingPicture:
    """A picture, and what a reader will have read of it; None where a model looks itself."""

    picture: Picture
    reading: Future[OcrResult] | None


@dataclass(frozen=True)
class Outcome:
    """What became of what was shown."""

    shown: str | None
    read: str | None
    """Text that was read, where it is known."""
    tokens: int
    reply: Reply | None = None
    density: float | None = None
    seconds: float | None = None


class _Answering:
    """Shows and answers one unit."""

    def __init__(
        self,
        example: QAExample,
        context: Context,
        views: ContextViews,
        asker: QuestionAsker | None,
        readers: OcrPool,
        count: Count,
    ) -> None:
        self._example, self._context, self._views = example, context, views
        self._asker, self._readers, self._count = asker, readers, count
        self._context_facts = ContextFacts.of(example, context)
        self._memories: dict[str, MemoryFacts] = {}

    def show(self, key: Key) -> View | PendingPicture | MemAgentError | None:
        """The view of a method, its picture handed to the reader where the model does not look itself; or why there is none."""
        if key.method == WHOLE:
            return None
        try:
            view = self._views.view(key.method, key.at)
        except CallCancelled:
            raise
        except MemAgentError as error:
            return error
        if view.picture is None:
            return view
        looks = self._asker is not None and self._asker.sees
        return PendingPicture(view.picture, None if looks else self._readers.read(view.picture))

    def record(self, key: Key, shown: View | PendingPicture | MemAgentError | None) -> Prediction:
        """The record of what was shown, failed or not."""
        error, memory = None, None
        try:
            if isinstance(shown, MemAgentError):
                raise shown
            found = self._whole(key.at) if shown is None else self._answered(shown)
            memory = None if shown is None else self._memory(key.method)
        except CallCancelled:
            raise
        except MemAgentError as failure:
            error = reason(failure)
            drawn = isinstance(shown, PendingPicture)
            looked = drawn and self._asker is not None and self._asker.sees
            found = Outcome("", None if looked else "", 0, density=0.0 if drawn else None)
        prediction = None if found.reply is None else prediction_of(found.reply.text)
        return Prediction(
            **key._asdict(),
            question=self._example.question,
            golds=self._example.answers,
            context=self._context_facts,
            memory=memory,
            shown=found.shown,
            tokens=found.tokens,
            seconds=found.seconds,
            reply=None if found.reply is None else found.reply.text,
            prediction=prediction,
            usage=Usage() if found.reply is None else found.reply.usage,
            scores=scores_of(
                self._example,
                self._context,
                prediction=prediction,
                answered=self._asker is not None,
                read=found.read,
                density=found.density,
            ),
            error=error,
        )

    def _answered(self, shown: View | PendingPicture) -> Outcome:
        question = self._example.question
        if isinstance(shown, View):
            text = shown.text or ""
            return Outcome(text, text, shown.tokens, None if self._asker is None else self._asker.read(question, text))
        picture = shown.picture
        if shown.reading is None:
            assert self._asker is not None
            on_page = "\n".join(line.text for line in picture.lines)
            return Outcome(on_page, None, picture.tokens, self._asker.look(question, picture))
        reading = shown.reading.result()
        if reading.error is not None:
            raise RenderError(f"the reader could not read the picture: {reading.error}")
        text = text_of(list(reading.words))
        density = read_back(picture, PooledReader(self._readers)).density
        reply = None if self._asker is None else self._asker.read(question, text)
        return Outcome(text, text, picture.tokens, reply, density, reading.seconds)

    def _whole(self, window: int) -> Outcome:
        if self._asker is None:
            text, reply = self._context.text, None
        else:
            text = self._asker.fitting(self._example.question, self._context.text, window)
            reply = self._asker.read_whole(self._example.question, text)
        return Outcome(None, text, self._count(text), reply)

    def _memory(self, method: str) -> MemoryFacts | None:
        memory = self._views.memory(method)
        if memory is None:
            return None
        if memory not in self._memories:
            self._memories[memory] = MemoryFacts.of(self._example, self._context, memory, self._count(memory))
        return self._memories[memory]


# -- what a run needs -------------------------------------------------------------------------------------------------


@contextmanager
def _counting(settings: LongQaSettings, model: ChatModel | None) -> Iterator[tuple[str, Count]]:
    """Who counts text tokens: the model that reads them, or without one the counter of the settings."""
    if model is not None:
        yield model.name if model.reader.exact else f"{model.name} (estimate)", lru_cache(maxsize=100_000)(model.reader.count)
        return
    with counter(settings.tokens) as found:
        yield found


def _shaping(questions: Questions, settings: LongQaSettings, model: ChatModel | None, counted_by: str) -> dict[str, Any]:
    """Everything that shapes a record, apart from which records there are."""
    sees = model is not None and model.reader.sees_images
    return settings.shaping() | {
        "data": questions.digest,
        "pool": questions.pool_digest,
        "model": None if model is None else model.name,
        "answer_tokens": None if model is None else QuestionAsker(model, answer_tokens=settings.answer_tokens).answer_tokens,
        "window": settings.window or getattr(model, "context", None) or WINDOW,
        "reader": "the model" if sees else settings.reader,
        "tokens": counted_by,
    }
