"""Runs the long-qa bench: every question, at every length, by every method, within every budget.

A unit is one padding of one question at one length. Its context is made, pictures are drawn and handed to the eye, texts are
answered meanwhile, and each item is kept as soon as it is there (`memagent.evaluation.result_log`); replies of the model are
kept too (`memagent.models.cached`). So the same command takes a run up again wherever it was cut off, counts nothing twice and
pays nothing twice. Whatever shapes an item is in the fingerprint that names the file; which items there are is not.

Without a model nothing is answered: what counts is whether a gold answer stands in what was read.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from memagent.environments.long_qa.answers import Asker, prediction_of
from memagent.environments.long_qa.dataset import Dataset, QAExample
from memagent.environments.long_qa.dataset_files import load
from memagent.environments.long_qa.padding import Context, Count, padded
from memagent.environments.long_qa.report import LongQaReport, report_of
from memagent.environments.long_qa.results import Facts, Key, Prediction, scores_of
from memagent.environments.long_qa.settings import PICTURES, WHOLE, WINDOW, Settings
from memagent.environments.long_qa.views import Views, Workshop
from memagent.errors import InputError, MemAgentError, RenderError
from memagent.evaluation.ocr_pool import OcrPool, Reading
from memagent.evaluation.report import code_digest, file_digest, machine_facts
from memagent.evaluation.runner import ResultLog, fingerprint
from memagent.evaluation.token_counts import counter
from memagent.models.base import ChatModel, Reply
from memagent.models.cached import CachedModel, CallCache
from memagent.models.concurrency import CallCancelled, CallPool
from memagent.retrieval.embedders.cached import CachedEmbedder, single_threaded_blas
from memagent.retrieval.embedders.registry import load_embedder, resolve_embedder
from memagent.types import Usage
from memagent_renderers.budget import ESTIMATE, Budget, Picture, text_of
from memagent_renderers.engines import make_engine

Say = Callable[[str], None]
Track = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows how far something is: a label and a total, then what is called with the units just done."""


@dataclass(frozen=True)
class Unit:
    """One padding of one question at one length."""

    case: QAExample
    seed: int
    length: str


@dataclass(frozen=True)
class Seen:
    """What was shown of a unit, and what became of it."""

    shown: str | None
    """As `Prediction.shown`."""
    read: str | None
    """Text that was read, where it is known."""
    tokens: int
    reply: Reply | None = None


def run(
    data: Path,
    settings: Settings,
    *,
    model: ChatModel | None = None,
    pool: Path | None = None,
    out: Path | None = None,
    say: Say = lambda _: None,
    track: Track | None = None,
) -> LongQaReport:
    """Measure on a file of questions in any form that `case_files` reads; `pool` has more documents to pad contexts with.

    `model` answers, and writes the memories where the settings say so; None: no model. With `out`, items are kept there and a
    run that was cut off is taken up again. Raises `InputError` for a file or a setting that cannot be, `UnknownName`,
    `MissingExtra`, and what the model raises when no call to it can succeed; any other failure of it costs its item only.
    """
    began = time.perf_counter()
    loaded, drafter = load(data, pool=pool), _drafter(settings, model)
    with ExitStack() as stack:
        stack.enter_context(single_threaded_blas())
        counted_by, count = stack.enter_context(_counting(settings, model))
        shaping = _shaping(data, pool, settings, model, counted_by) | {"drafter": drafter}
        name = fingerprint(shaping)
        ledger = ResultLog(out and out / f"items-{name}.jsonl", kind=Prediction)
        limit = CallPool(settings.concurrency)
        cached = None if model is None else stack.enter_context(_cached(model, out, limit))
        readers = stack.enter_context(OcrPool(settings.eye))
        embedder = None if shaping["embedder"] is None else CachedEmbedder(load_embedder(shaping["embedder"]), one_by_one=True)
        engine = make_engine(settings.engine)
        stack.callback(engine.close)
        writer = cached if drafter == "model" else None
        workshop = Workshop(settings, writer=writer, embedder=embedder, engine=engine, count=count)
        bench = _Bench(loaded, workshop, ledger, readers, cached, shaping["window"])
        units = list(_units(loaded, settings))
        done = stack.enter_context(track("long-qa", len(units)) if track else _untold())
        limit.map(lambda unit: done(bench.ask(unit)), units)
    items = [ledger.items[key] for unit in units for key in keys_of(unit, settings, shaping["window"])]
    if ledger.file is not None:
        say(f"every prediction is in {ledger.file}")
    facts = {
        "data": {"name": data.name, "sha256": shaping["data"], "form": loaded.form, "questions": len(loaded.cases)},
        "settings": shaping | {"seeds": settings.seeds, "limit": settings.limit},
        "fingerprint": name,
        "seconds": round(time.perf_counter() - began, 1),
        **machine_facts(),
    }
    return report_of(items, settings, form=loaded.form, model=None if model is None else model.name, facts=facts)


def keys_of(unit: Unit, settings: Settings, window: int) -> list[Key]:
    """The items of a unit."""
    return [
        Key(unit.case.id, unit.seed, unit.length, arm, at)
        for arm in settings.methods
        for at in ((window,) if arm == WHOLE else sorted(set(settings.budgets), reverse=True))
    ]


def _units(loaded: Dataset, settings: Settings) -> Iterator[Unit]:
    for length in settings.lengths:
        for case in loaded.cases[: settings.limit]:
            for seed in range(settings.seeds):
                yield Unit(case, seed, length)


class _Bench:
    """Answers units, several at once."""

    def __init__(
        self,
        loaded: Dataset,
        workshop: Workshop,
        ledger: ResultLog[Prediction],
        readers: OcrPool,
        model: ChatModel | None,
        window: int,
    ) -> None:
        self._pool, self._workshop, self._settings, self._ledger = loaded.pool, workshop, workshop.settings, ledger
        self._readers, self._window = readers, window
        self._asker = None if model is None else Asker(model, answer_tokens=self._settings.answer_tokens)
        self._reader = model.reader if model is not None and model.reader.sees_images else ESTIMATE

    def ask(self, unit: Unit) -> int:
        """Answer what is not answered yet of a unit. Returns 1, the number of units done. Raises `CallCancelled`."""
        due = [key for key in keys_of(unit, self._settings, self._window) if not self._ledger.done(key)]
        if not due:
            return 1
        with self._workshop.lock:
            size = self._settings.size_of(unit.length)
            context = padded(unit.case, self._pool, seed=unit.seed, count=self._workshop.count, **size)
        views = Views(self._workshop, unit.case, context)
        later = {key: self._drawn(views, key) for key in due if key.arm in PICTURES}
        for key in (*(key for key in due if key not in later), *later):
            self._ledger.add(self._answered(unit, context, views, key, later.get(key)))
        return 1

    def _drawn(self, views: Views, key: Key) -> _Drawn | MemAgentError:
        """A picture, handed to the eye where the model does not look itself; or why there is none."""
        try:
            picture = views.picture(key.arm, Budget(key.at, self._reader))
        except CallCancelled:
            raise
        except MemAgentError as error:
            return error
        if self._asker is not None and self._asker.sees:
            return _Drawn(picture, None)
        with self._workshop.lock:
            return _Drawn(picture, self._readers.read(picture))

    def _answered(
        self, unit: Unit, context: Context, views: Views, key: Key, drawn: _Drawn | MemAgentError | None
    ) -> Prediction:
        """An item, failed or not."""
        error, memory_tokens = None, None
        try:
            seen = self._whole(unit.case, context) if key.arm == WHOLE else self._seen(unit.case, views, key, drawn)
            memory_tokens = None if key.arm == WHOLE else views.memory_tokens(key.arm)
        except CallCancelled:
            raise
        except MemAgentError as failure:
            error = f"{type(failure).__name__}: {failure}"
            looked = key.arm in PICTURES and self._asker is not None and self._asker.sees
            seen = Seen("", None if looked else "", 0)
        prediction = None if seen.reply is None else prediction_of(seen.reply.text)
        return Prediction(
            **key._asdict(),
            question=unit.case.question,
            golds=unit.case.answers,
            context=Facts.of(context),
            memory_tokens=memory_tokens,
            shown=seen.shown,
            tokens=seen.tokens,
            reply=None if seen.reply is None else seen.reply.text,
            prediction=prediction,
            usage=Usage() if seen.reply is None else seen.reply.usage,
            scores=scores_of(unit.case, prediction=prediction, answered=self._asker is not None, read=seen.read),
            error=error,
        )

    def _seen(self, case: QAExample, views: Views, key: Key, drawn: _Drawn | MemAgentError | None) -> Seen:
        if isinstance(drawn, MemAgentError):
            raise drawn
        if drawn is None:
            text, tokens = views.text(key.arm, key.at), None
        elif drawn.reading is None:
            assert self._asker is not None
            on_page = "\n".join(line.text for line in drawn.picture.lines)
            return Seen(on_page, None, drawn.picture.tokens, self._asker.look(case.question, drawn.picture))
        else:
            text, tokens = drawn.text(), drawn.picture.tokens
        reply = None if self._asker is None else self._asker.read(case.question, text)
        return Seen(text, text, self._workshop.count(text) if tokens is None else tokens, reply)

    def _whole(self, case: QAExample, context: Context) -> Seen:
        if self._asker is None:
            text, reply = context.text, None
        else:
            text = self._asker.fitting(case.question, context.text, self._window)
            reply = self._asker.read_whole(case.question, text)
        return Seen(None, text, self._workshop.count(text), reply)


@dataclass(frozen=True)
class _Drawn:
    """A picture, and what an eye will have read of it; None where a model looks itself."""

    picture: Picture
    reading: Future[Reading] | None

    def text(self) -> str:
        """The words that were read. Raises `RenderError` where the eye could not."""
        assert self.reading is not None
        reading = self.reading.result()
        if reading.error is not None:
            raise RenderError(f"the eye could not read the picture: {reading.error}")
        return text_of(list(reading.words))


# -- what a run needs -------------------------------------------------------------------------------------------------


@contextmanager
def _untold() -> Iterator[Callable[[int], None]]:
    """Progress that nobody looks at."""
    yield lambda _done: None


@contextmanager
def _counting(settings: Settings, model: ChatModel | None) -> Iterator[tuple[str, Count]]:
    """Who counts text tokens: the model that reads them, or without one the counter of the settings."""
    if model is not None:
        yield model.name if model.reader.exact else f"{model.name} (estimate)", lru_cache(maxsize=100_000)(model.reader.count)
        return
    with counter(settings.tokens) as found:
        yield found


@contextmanager
def _cached(model: ChatModel, out: Path | None, limit: CallPool) -> Iterator[ChatModel]:
    """The model with its replies kept in `out`, or for as long as the run lasts."""
    with tempfile.TemporaryDirectory() as place, CallCache(out or place) as cache:
        yield CachedModel(model, cache, limit=limit)


def _shaping(data: Path, pool: Path | None, settings: Settings, model: ChatModel | None, counted_by: str) -> dict[str, Any]:
    """Everything that shapes an item, apart from which items there are."""
    return {
        "data": file_digest(data),
        "pool": None if pool is None else file_digest(pool),
        "model": None if model is None else model.name,
        "by_documents": settings.by_documents,
        "chunk_tokens": settings.chunk_tokens,
        "answer_tokens": None if model is None else Asker(model, answer_tokens=settings.answer_tokens).answer_tokens,
        "window": settings.window or getattr(model, "context", None) or WINDOW,
        "eye": "the model" if model is not None and model.reader.sees_images else settings.eye,
        "engine": settings.engine,
        "embedder": resolve_embedder(settings.embedder),
        "text_tokens_counted_by": counted_by,
        "code": code_digest(),
        "libraries": machine_facts()["versions"],
    }


def _drafter(settings: Settings, model: ChatModel | None) -> str:
    """Who writes the memories. Raises `InputError` where that is a model and there is none."""
    if settings.drafter == "model" and model is None:
        raise InputError("the drafter `model` needs a model; without one, memories are `ranked`")
    return settings.drafter or ("ranked" if model is None or model.small else "model")
