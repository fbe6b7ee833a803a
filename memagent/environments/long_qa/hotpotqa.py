"""HotpotQA (Yang et al. 2018) and 2WikiMultihopQA (Ho et al. 2020): questions over Wikipedia paragraphs in sentences, and which
sentences support each answer. Both have one form.

`context` and `supporting_facts` are read as the authors write them (a list of pairs), as the datasets library does (an object
of two lists), and as a text that holds the JSON of either. A paragraph keeps empty sentences, so that places stay right.
"""

from __future__ import annotations

import json
from typing import Any

from memagent.environments.long_qa.dataset import Document, QAExample
from memagent.environments.long_qa.samples import Sample, texts_of


def case_of(sample: Sample, number: int) -> QAExample:
    """A question; `number` is its id where it has none."""
    id = next((sample.text(name) for name in ("id", "_id") if sample.has(name)), str(number))
    return supported(sample, id, sample.text("question"), (sample.text("answer"),))


def supported(sample: Sample, id: str, question: str, answers: tuple[str, ...]) -> QAExample:
    """A question with the paragraphs and supporting facts of `sample`; facts that point nowhere, as some do, are left out."""
    documents = tuple(
        Document(str(title), tuple(one.strip() for one in texts_of(sample, "context", sentences)))
        for title, sentences in _pairs(sample, "context", "title", ("sentences", "content"))
    )
    places = {document.title: place for place, document in enumerate(documents)}
    facts = _pairs(sample, "supporting_facts", "title", ("sent_id",))
    if not all(isinstance(at, int) for _, at in facts):
        raise sample.wrong("supporting_facts", "a whole number for each sentence")
    known = [(places[title], at) for title, at in facts if title in places]
    evidence = tuple((place, at) for place, at in known if 0 <= at < len(documents[place].sentences))
    kind = sample.text("type") if sample.has("type") else ""
    return QAExample(id, question, answers, documents, evidence, tuple(dict.fromkeys(place for place, _ in known)), kind)


def _pairs(sample: Sample, name: str, first: str, seconds: tuple[str, ...]) -> list[tuple[Any, Any]]:
    """Pairs in any of the forms."""
    wrong = sample.wrong(name, f"a list of [{first}, {seconds[0]}] pairs, or an object of these two lists,")
    value = sample.fields.get(name)
    try:
        if isinstance(value, str):
            value = json.loads(value)
        if isinstance(value, dict):
            second = next(key for key in seconds if key in value)
            return list(zip(value[first], value[second], strict=True))
        return [(one, other) for one, other in value]  # type: ignore[union-attr]
    except (KeyError, StopIteration, TypeError, ValueError):
        raise wrong from None
