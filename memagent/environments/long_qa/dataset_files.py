"""Files of questions, told apart by what is in them, and files of paragraphs to pad contexts with.

| form | known by | paragraphs |
|---|---|---|
| `flashrag` | `golden_answers` | those of `metadata`, if any |
| `locomo` | `conversation` | its sessions |
| `musique` | `paragraphs`, `question`, `answer` | its own |
| `2wikimultihopqa` | `context`, `supporting_facts`, `evidences` | its own |
| `hotpotqa` | `context`, `supporting_facts` | its own |
| `triviaqa` | `Answer`, or an `answer` with `aliases` | none |
| `nq` | `question_text`, or an `answer` that is a list | that of the page, or none |

A file is one JSON list, an object with the list in `Data`, or one JSON object a line, and not packed. Data sets are read from
a path only; what the `datasets` library downloads is read once it is written as such a file (`to_json`).

Of a LoCoMo conversation every session is a document, titled by its date, and every turn a sentence; a question's own documents
are the sessions that hold its evidence. Questions without evidence, and adversarial ones, are left out and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from memagent.environments.long_qa import multi_hop, open_questions
from memagent.environments.long_qa.dataset import Dataset, Document, QAExample
from memagent.environments.long_qa.gold_passages import with_gold
from memagent.environments.long_qa.samples import Sample, read_text, samples_of
from memagent.errors import InputError
from memagent.evaluation import locomo
from memagent.evaluation.report import file_digest
from memagent.memory.view import day

_ADVERSARIAL = 5
_KINDS = {1: "several turns", 2: "time", 3: "inference", 4: "one turn"}
Parse = Callable[[Sample, int], QAExample | str]
"""A question out of a sample and its number from 1, or why it is left out."""


@dataclass(frozen=True)
class Questions:
    """What the files of a run hold, and their digests."""

    dataset: Dataset
    digest: str
    pool_digest: str | None

    @classmethod
    def read(cls, data: Path, pool: Path | None = None) -> Questions:
        """Raises as `load` does."""
        return cls(load(data, pool=pool), file_digest(data), None if pool is None else file_digest(pool))


def load(path: Path, *, pool: Path | None = None) -> Dataset:
    """Questions of a file in any of the forms; with `pool`, the documents of that file are added to the pool.

    A question without documents gets the paragraph of the pool that holds its answer (`gold`); where there is none it stays,
    and `Dataset.without_gold` names it. Raises `InputError` naming the file, the place and what is wrong there.
    """
    found = _load(path)
    more = () if pool is None else load_documents(pool)
    documents = tuple(dict.fromkeys((*found.pool, *more)))
    return Dataset(with_gold(found.cases, documents), documents, found.form, found.left_out)


def load_documents(path: Path) -> tuple[Document, ...]:
    """Each document of a file once: of a file of questions, or of a corpus of passages.

    A passage is an object with `title` and `text`, or with `contents`, whose first line is the title (as FlashRAG and DPR write
    Wikipedia), perhaps in quotes. Raises `InputError` naming the file, the place and what is wrong there.
    """
    samples = samples_of(read_text(path), path.name)
    if samples and (samples[0].has("contents") or samples[0].has("title", "text")):
        return tuple(dict.fromkeys(_passage(one) for one in samples))
    return _load(path).pool


def _load(path: Path) -> Dataset:
    samples = samples_of(read_text(path), path.name)
    if not samples:
        raise InputError(f"{path.name} holds no questions")
    form = _form(samples[0])
    if form == "locomo":
        return _of_locomo(locomo.load(path), path.name)
    parsed = [_PARSE[form](sample, number) for number, sample in enumerate(samples, 1)]
    return _cases(parsed, form, path.name)


def _cases(parsed: list[QAExample | str], form: str, name: str, pool: Iterable[Document] | None = None) -> Dataset:
    """What a file holds, given its questions; without `pool`, their documents are the pool."""
    cases = tuple(one for one in parsed if isinstance(one, QAExample))
    left_out = Counter(one for one in parsed if isinstance(one, str))
    if not cases:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "none at all"
        raise InputError(f"{name} holds no question with an answer: {why}")
    twice = [id for id, times in Counter(case.id for case in cases).items() if times > 1]
    if twice:
        raise InputError(f"{name} holds question `{twice[0]}` twice; each needs an id of its own")
    documents = (document for case in cases for document in case.documents) if pool is None else pool
    return Dataset(cases, tuple(dict.fromkeys(documents)), form, dict(left_out))


_PARSE: dict[str, Parse] = {
    "flashrag": multi_hop.flashrag,
    "musique": multi_hop.musique,
    "2wikimultihopqa": multi_hop.hotpotqa,
    "hotpotqa": multi_hop.hotpotqa,
    "triviaqa": open_questions.triviaqa,
    "nq": open_questions.nq,
}
_KNOWN_BY = (
    "`golden_answers` (flashrag), `conversation` (locomo), `paragraphs` (musique), `context` (hotpotqa, 2wikimultihopqa), "
    "`Answer` or an object `answer` (triviaqa), `question_text` or a list `answer` (nq)"
)


def _form(sample: Sample) -> str:
    """The form of a file by its first sample."""
    answer = sample.fields.get("answer")
    signs = {
        "flashrag": sample.has("golden_answers"),
        "locomo": sample.has("conversation"),
        "musique": sample.has("paragraphs"),
        "2wikimultihopqa": sample.has("context", "evidences"),
        "hotpotqa": sample.has("context"),
        "triviaqa": sample.has("Answer") or isinstance(answer, dict),
        "nq": sample.has("question_text") or isinstance(answer, list),
    }
    form = next((form for form, seen in signs.items() if seen), None)
    if form is None:
        fields = ", ".join(f"`{name}`" for name in sample.fields) or "no fields"
        raise InputError(f"{sample.place} is of no known form: it has {fields}; known by their fields are {_KNOWN_BY}")
    return form


def _passage(sample: Sample) -> Document:
    if sample.has("contents"):
        title, _, text = sample.text("contents").partition("\n")
        return Document.of(title.strip().strip('"'), text)
    return Document.of(sample.text("title"), sample.text("text"))


# -- LoCoMo -----------------------------------------------------------------------------------------------------------


def _of_locomo(conversations: list[locomo.LocomoConversation], name: str) -> Dataset:
    parsed: list[QAExample | str] = []
    pool: list[Document] = []
    for one in conversations:
        sessions = []
        for _, turns in one.sessions:
            if turns and turns[0].time is not None:
                document = Document(day(turns[0].time), tuple(f"{turn.speaker}: {turn.text}" for turn in turns))
                sessions.append((document, [turn.id for turn in turns]))
        pool += (document for document, _ in sessions)
        parsed += (_asked(f"{one.name}/{number}", question, sessions) for number, question in enumerate(one.questions, 1))
    return _cases(parsed, "locomo", name, pool)


def _asked(id: str, question: locomo.LocomoQuestion, sessions: list[tuple[Document, list[str | None]]]) -> QAExample | str:
    if question.category == _ADVERSARIAL:
        return "adversarial"
    if question.answer is None or not question.evidence:
        return "without answer or evidence"
    own = [session for session in sessions if set(session[1]) & set(question.evidence)]
    evidence = tuple(
        (place, ids.index(turn)) for place, (_, ids) in enumerate(own) for turn in question.evidence if turn in ids
    )
    documents = tuple(document for document, _ in own)
    kind = _KINDS.get(question.category, "")
    return QAExample(id, question.text, (question.answer,), documents, evidence, tuple(range(len(own))), kind)
