"""Questions about long texts as tasks: for objectives whose policy keeps a memory of the text and answers from it.

Three sources. `data`: rows that are ready, such as `memagent-train data long-qa` writes. `questions`: a data set in any form
that `dataset_files` reads, each question's own documents among those of others (`padding`), in an order of its own. Neither:
made-up worlds, several told together where `joined` asks for it, so that a context spans chunks and the facts that a question
needs lie in different ones.
"""

from __future__ import annotations

import logging
import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from memagent.environments.long_qa.dataset import Document, QAExample
from memagent.environments.long_qa.dataset_files import load
from memagent.environments.long_qa.padding import PUBLISHED, Context, padded
from memagent.environments.long_qa.synthetic_qa import WorldQuestion, WorldSettings, world_questions, worlds_beside
from memagent.errors import ConfigError
from memagent_renderers.budget import ESTIMATE
from memagent_training.tasks.base import Form, Row
from memagent_training.tasks.stored import StoredRows

log = logging.getLogger("memagent.training")
FIELDS = "an object with `id`, `question`, `context` and `answers`, a list of one text or more"
QUESTION_FILES = "HotpotQA, 2WikiMultihopQA, MuSiQue, NQ, TriviaQA, LoCoMo or FlashRAG"
_SAMPLED = 4
"""Documents drawn out of a large pool for each one that a context wants: most of a pool need not be looked at."""


@dataclass(frozen=True)
class QuestionContexts:
    """Questions of a data set that wait for their contexts, which depend on seed and question alone."""

    cases: tuple[QAExample, ...]
    pool: tuple[Document, ...]
    seed: int
    documents: int | None
    tokens: int | None
    left_out: Mapping[str, int]
    """Questions of the data set that are no cases, counted by the reason."""

    def __len__(self) -> int:
        return len(self.cases)

    def id(self, number: int) -> str:
        """Of a question."""
        return self.cases[number].id

    def row(self, number: int) -> Row:
        """A question with its context; `complete` says whether that is as long as asked."""
        case = self.cases[number]
        context = self._context(case)
        asked: Row = {"id": case.id, "question": case.question, "context": context.text, "answers": list(case.answers)}
        return asked | {"complete": context.complete}

    def _context(self, case: QAExample) -> Context:
        """The documents that it may draw are sampled, more as long as they do not suffice."""
        documents = None if self.tokens is not None else self.documents or PUBLISHED["30K"]
        size = _SAMPLED * (documents or PUBLISHED["30K"])
        while True:
            some = random.Random(f"{self.seed}:{case.id}:pool").sample(self.pool, min(size, len(self.pool)))
            context = padded(case, some, seed=self.seed, count=ESTIMATE.count, tokens=self.tokens, documents=documents)
            if context.complete or size >= len(self.pool):
                return context
            size *= _SAMPLED


@dataclass(frozen=True, kw_only=True)
class LongQuestions:
    """Questions from a file, or about made-up worlds. Files are relative to where the program runs."""

    name: ClassVar[str] = "long_qa"
    form: ClassVar[Form] = "long_text"
    alphabet: ClassVar[str] = string.printable
    replaces: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "data": ("questions", "pool", "documents", "tokens"),
        "questions": ("data",),
    }
    """Settings of a recipe that go where another is set in their place."""

    data: str | None = None
    """Rows: one JSON object a line with `id`, `question`, `context` (the text) and `answers` (any of them is right)."""
    questions: str | None = None
    """A data set, see `QUESTION_FILES`."""
    pool: str | None = None
    """A further file whose paragraphs fill contexts, and are searched for the answers of questions that come without any."""
    documents: int | None = None
    """Of a context of `questions`; as published (200) where `tokens` is not given either."""
    tokens: int | None = None
    """Of a context of `questions`, in place of `documents`, by the estimate of `memagent_renderers.budget`."""
    joined: int = 1
    """Made-up worlds told in one context."""
    hops: tuple[int, ...] = (1, 2, 3)
    facts: int = 18
    """Of a made-up world, evidence included."""
    sentence_chars: int = 120

    def __post_init__(self) -> None:
        self._shape()
        if self.joined < 1:
            raise ConfigError(f"`joined` is {self.joined}; a context tells 1 world or more")
        if self.data is not None and self.questions is not None:
            raise ConfigError("`data` are rows with contexts, `questions` are made into such: give one of the two")
        if self.questions is None and (self.pool, self.documents, self.tokens) != (None, None, None):
            raise ConfigError("`pool`, `documents` and `tokens` are about the contexts of `questions`; name that file too")
        if self.documents is not None and self.tokens is not None:
            raise ConfigError("a context has so many `documents` or so many `tokens`; give one of the two")
        if any(one is not None and one < 1 for one in (self.documents, self.tokens)):
            raise ConfigError(f"a context has 1 or more `documents` or `tokens`, not {self.documents} and {self.tokens}")

    def tasks(self, n: int, *, seed: int) -> Sequence[Row]:
        """The first `n` questions; of a file, all when there are fewer. Contexts depend on seed and question alone.

        Questions of a data set that no document answers are left out: they could only be guessed. Raises `ConfigError` or
        `InputError` for a file that cannot be used.
        """
        if self.data is not None:
            return StoredRows(Path(self.data), _row, wanted=FIELDS, most=n)
        if self.questions is not None:
            return self._of_data_set(n, seed)
        return [self._told(one) for one in world_questions(n, split="train", seed=seed, settings=self._shape())]

    def contexts(self, n: int, *, seed: int) -> QuestionContexts:
        """The first `n` questions of the data set that a document answers, ready to be made into rows.

        Raises `ConfigError` where there is none, and `InputError` for a file that cannot be read.
        """
        path = Path(str(self.questions))
        found = load(path, pool=None if self.pool is None else Path(self.pool))
        answerable = tuple(case for case in found.cases if case.support)
        if not answerable:
            raise ConfigError(f"`{path}` has no question that a document answers; give a file of paragraphs as task.pool")
        left_out = dict(found.left_out)
        if unanswered := len(found.cases) - len(answerable):
            left_out["no document answers it"] = unanswered
        return QuestionContexts(answerable[:n], found.pool, seed, self.documents, self.tokens, left_out)

    def _of_data_set(self, n: int, seed: int) -> list[Row]:
        contexts = self.contexts(n, seed=seed)
        rows = [contexts.row(number) for number in range(len(contexts))]
        if short := sum(not row.pop("complete") for row in rows):
            log.warning(
                "%d of %d contexts are shorter than asked: the paragraphs of `%s` are used up", short, len(rows), self.questions
            )
        return rows

    # -- made-up worlds -----------------------------------------------------------------------------------------------

    def _shape(self) -> WorldSettings:
        return WorldSettings(facts=self.facts, hops=tuple(self.hops), sentence_chars=self.sentence_chars)

    def _told(self, question: WorldQuestion) -> Row:
        """Worlds as documents of one fact each, in the form of the published contexts (arXiv 2601.21468), in any order."""
        facts = list(question.facts)
        if self.joined > 1:
            others = worlds_beside(question, self.joined - 1, split="train", settings=self._shape())
            facts += (one for other in others for one in other.facts)
            random.Random(f"{question.id}:order").shuffle(facts)
        context = "\n\n".join(f"Document {number}:\n{one.subject}\n{one.sentence}" for number, one in enumerate(facts, 1))
        return {"id": question.id, "question": question.text, "context": context, "answers": [question.answer]}


def _row(row: dict[str, Any]) -> Row:
    answers = row["answers"]
    if not isinstance(answers, list) or not answers:
        raise TypeError("`answers` is no list of texts")
    return {**{key: str(row[key]) for key in ("id", "question", "context")}, "answers": [str(one) for one in answers]}
