"""`memagent bench chat`: does the default chat answer from what it was told, and does it make anything up?

A talk is a JSON file: what a user `said`, in order; what is `asked` ([question, texts that a right answer holds, texts of
values that hold no more, which a right answer names later or not]); questions about what was never said (`unknown`), and
questions to an empty memory (`empty`), to which the right answer says that it does not know.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from memagent.agent import Agent, Answer
from memagent.errors import InputError
from memagent.evaluation.metrics import mean_interval, percentile
from memagent.evaluation.report import Report, Row, file_digest, machine_facts
from memagent.evaluation.runner import SILENT, Progress
from memagent.models.base import ChatModel
from memagent.models.registry import load_model
from memagent.store import Store

METHODS = ("rag", "notes", "memocr")

_QUOTED = re.compile("“[^”]*”")
_NOT_KNOWN = re.compile(
    r"\b(?:(?:do|does|did) not|(?:do|does|did|have|has)n['’]t|never|no (?:record|memory|note)|"
    r"not (?:sure|know|told|said|mentioned)|unknown)\b",
    re.IGNORECASE,
)


class Talk(BaseModel):
    """What a user said, and what is asked about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    said: tuple[str, ...]
    asked: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = ()
    unknown: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()


@dataclass
class _Found:
    """What one memory did in all talks, a value for each question."""

    right: list[float] = field(default_factory=list)
    certain: list[float] = field(default_factory=list)
    invented: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    wrong: list[dict[str, str]] = field(default_factory=list)


def run(
    data: Path,
    *,
    methods: Sequence[str] = METHODS,
    model: str = "embedded",
    embedder: str | None = "auto",
    progress: Progress = SILENT,
) -> Report:
    """Hold the talks of a file, or of all files of a folder. Raises `InputError` for a file that is no talk, and for none."""
    files = sorted(data.glob("*.json")) if data.is_dir() else [data]
    if not files:
        raise InputError(f"{data} holds no talk: a JSON file with `said` and `asked` is one")
    talks = {file.stem: load(file) for file in files}
    found = {method: _Found() for method in methods}
    questions = sum(len(talk.asked) + len(talk.unknown) + len(talk.empty) for talk in talks.values())
    with load_model(model) as answerer, progress.bar("questions", questions * len(found)) as done:
        for name, talk in talks.items():
            for method, into in found.items():
                _hold(name, talk, method, answerer, embedder, into)
                done(len(talk.asked) + len(talk.unknown) + len(talk.empty))
    meta = {
        "data": [{"name": file.name, "sha256": file_digest(file)} for file in files],
        "model": model,
        "embedder": embedder,
        "wrong": {method: one.wrong for method, one in found.items()},
        **machine_facts(),
    }
    return Report(name="chat", rows=[row for method, one in found.items() for row in _rows(method, one)], meta=meta)


def load(file: Path) -> Talk:
    """A talk. Raises `InputError` for a file that is none."""
    try:
        return Talk.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(
            f"{file} is no talk: {where}: {first['msg']}; it needs `said`, and may have asked, unknown, empty"
        ) from error


def is_right(answer: str, needed: Iterable[str], outdated: Iterable[str]) -> bool:
    """Whether an answer holds all that is needed, and names what holds no more only after that."""
    plain = answer.lower()
    places = [plain.find(text.lower()) for text in needed]
    old = [place for text in outdated if (place := plain.find(text.lower())) >= 0]
    return -1 not in places and not (old and min(old) < min(places, default=0))


def admits(answer: str) -> bool:
    """Whether an answer says that it does not know, in words of its own: not in those of the user that it quotes."""
    return _NOT_KNOWN.search(_QUOTED.sub("", answer)) is not None


def _hold(name: str, talk: Talk, method: str, model: ChatModel, embedder: str | None, into: _Found) -> None:
    """Tell one memory what was said, ask it, and ask an empty one. A question is asked in a session of its own."""
    with tempfile.TemporaryDirectory() as told, tempfile.TemporaryDirectory() as untold:
        for folder, said in ((told, talk.said), (untold, ())):
            with Store(folder, embedder=embedder) as store:
                memory = store.memory(method, session="told")
                for text in said:
                    memory.remember(text)
                memory.consolidate()
                agent = Agent(model=model, memory=store.memory(method, session="asked"), read_only=True, recent_messages=0)
                for question, needed, outdated in talk.asked if said else ():
                    answer = agent.run(question)
                    right = is_right(answer.text, needed, outdated)
                    into.right.append(right)
                    into.certain.append(right and not admits(answer.text))
                    _note(into, name, question, answer, wrong=not right)
                for question in talk.unknown if said else talk.empty:
                    answer = agent.run(question)
                    invented = not admits(answer.text)
                    into.invented.append(invented)
                    _note(into, name, question, answer, wrong=invented)


def _note(into: _Found, talk: str, question: str, answer: Answer, *, wrong: bool) -> None:
    into.seconds.append(answer.seconds.get("first_token", answer.seconds["total"]))
    if wrong:
        into.wrong.append({"talk": talk, "question": question, "answer": answer.text})


def _rows(method: str, found: _Found) -> list[Row]:
    shares = {"right": found.right, "right_and_certain": found.certain, "invented": found.invented}
    rows = [Row.of(method, metric, None, mean_interval(values)) for metric, values in shares.items() if values]
    if found.seconds:
        rows.append(Row(method=method, metric="first_token_s", value=percentile(found.seconds, 50), n=len(found.seconds)))
    return rows
