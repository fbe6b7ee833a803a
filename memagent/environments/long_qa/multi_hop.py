"""Questions over several paragraphs, and which of them answer: HotpotQA, 2WikiMultihopQA, MuSiQue, and FlashRAG's copies.

HotpotQA (Yang et al. 2018) and 2WikiMultihopQA (Ho et al. 2020) have one form. `context` and `supporting_facts` are read as the
authors write them (a list of pairs), as the datasets library does (an object of two lists), and as a text that holds the JSON
of either. A paragraph keeps empty sentences, so that places stay right.

MuSiQue (Trivedi et al. 2022), questions of 2 to 4 hops, marks paragraphs, not sentences: a sentence counts as evidence where it
is the first of a hop's paragraph that holds the hop's answer. Questions that cannot be answered from their paragraphs
(`answerable` false) are left out.

FlashRAG has `id`, `question`, `golden_answers`, and whatever the set had besides in `metadata`: `context` and
`supporting_facts`, a few items with no paragraph in it; of MuSiQue `paragraphs`, or a `support_paragraph` in each step of its
`question_decomposition`. NQ and TriviaQA have no paragraphs there.
"""

from __future__ import annotations

import json
from typing import Any

from memagent.environments.long_qa.dataset import Document, QAExample
from memagent.environments.long_qa.gold_passages import sentence_with
from memagent.environments.long_qa.samples import Sample, texts_of

UNANSWERABLE = "unanswerable"
UNANSWERED = "without an answer"


# -- HotpotQA, 2WikiMultihopQA ----------------------------------------------------------------------------------------


def hotpotqa(sample: Sample, number: int) -> QAExample:
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


# -- MuSiQue ----------------------------------------------------------------------------------------------------------


def musique(sample: Sample, number: int) -> QAExample | str:
    """A question, or why it is left out; `number` is its id where it has none."""
    if sample.fields.get("answerable") is False:
        return UNANSWERABLE
    aliases = sample.texts("answer_aliases") if sample.has("answer_aliases") else ()
    answers = tuple(dict.fromkeys((sample.text("answer"), *aliases)))
    return hopped(sample, sample.text("id") if sample.has("id") else str(number), sample.text("question"), answers)


def hopped(sample: Sample, id: str, question: str, answers: tuple[str, ...]) -> QAExample:
    """A question with the paragraphs of `sample` and the hops through them."""
    paragraphs = sample.each("paragraphs")
    documents = tuple(Document.of(one.text("title"), one.text("paragraph_text")) for one in paragraphs)
    numbers = {one.number("idx"): place for place, one in enumerate(paragraphs)}
    hops = sample.each("question_decomposition") if sample.has("question_decomposition") else []
    asked = [(numbers.get(hop.fields.get("paragraph_support_idx", -1)), hop.text("answer")) for hop in hops]
    steps = [(place, answer) for place, answer in asked if place is not None]
    marked = [place for place, one in enumerate(paragraphs) if one.fields.get("is_supporting") is True]
    found = [(place, sentence_with(documents[place], (answer,))) for place, answer in steps]
    evidence = tuple(dict.fromkeys((place, at) for place, at in found if at is not None))
    support = tuple(dict.fromkeys([place for place, _ in steps] + marked))
    return QAExample(id, question, answers, documents, evidence, support, f"{len(hops)} hops" if hops else "")


# -- FlashRAG ---------------------------------------------------------------------------------------------------------


def flashrag(sample: Sample, number: int) -> QAExample | str:
    """A question, or why it is left out; `number` is its id where it has none."""
    id, question = sample.text("id") if sample.has("id") else str(number), sample.text("question")
    answers = tuple(dict.fromkeys(sample.texts("golden_answers")))
    if not answers:
        return UNANSWERED
    more = sample.inside("metadata") if sample.has("metadata") else Sample(sample.place, {})
    if more.fields.get("answerable") is False:
        return UNANSWERABLE
    if more.has("context", "supporting_facts"):
        return supported(more, id, question, answers)
    if more.has("paragraphs"):
        return hopped(more, id, question, answers)
    if not more.has("question_decomposition"):
        return QAExample(id, question, answers, (), ())
    steps = [step for step in more.each("question_decomposition") if step.has("support_paragraph")]
    paragraphs = [{**step.inside("support_paragraph").fields, "idx": place} for place, step in enumerate(steps)]
    hops = [{"answer": step.text("answer"), "paragraph_support_idx": place} for place, step in enumerate(steps)]
    written = Sample(more.place, {"paragraphs": paragraphs, "question_decomposition": hops}, more.path)
    return hopped(written, id, question, answers)
