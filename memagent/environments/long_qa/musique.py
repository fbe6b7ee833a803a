"""MuSiQue (Trivedi et al. 2022): questions of 2 to 4 hops over paragraphs, and the paragraph that answers each hop.

The data mark paragraphs, not sentences: a sentence counts as evidence where it is the first of a hop's paragraph that holds
the hop's answer. Questions that cannot be answered from their paragraphs (`answerable` false) are left out.
"""

from __future__ import annotations

from memagent.environments.long_qa.dataset import Document, QAExample
from memagent.environments.long_qa.gold_passages import sentence_with
from memagent.environments.long_qa.samples import Sample

UNANSWERABLE = "unanswerable"


def case_of(sample: Sample, number: int) -> QAExample | str:
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
