"""Data sets as FlashRAG publishes them: `id`, `question`, `golden_answers`, and whatever the set had besides in `metadata`.

HotpotQA and 2WikiMultihopQA have `context` and `supporting_facts` there, a few items with no paragraph in it; MuSiQue has
`paragraphs`, or a `support_paragraph` in each step of its `question_decomposition`. NQ and TriviaQA have no paragraphs.
"""

from __future__ import annotations

from memagent.environments.long_qa import hotpotqa, musique
from memagent.environments.long_qa.dataset import QAExample
from memagent.environments.long_qa.samples import Sample

UNANSWERED = "without an answer"


def case_of(sample: Sample, number: int) -> QAExample | str:
    """A question, or why it is left out; `number` is its id where it has none."""
    id, question = sample.text("id") if sample.has("id") else str(number), sample.text("question")
    answers = tuple(dict.fromkeys(sample.texts("golden_answers")))
    if not answers:
        return UNANSWERED
    more = sample.inside("metadata") if sample.has("metadata") else Sample(sample.place, {})
    if more.fields.get("answerable") is False:
        return musique.UNANSWERABLE
    if more.has("context", "supporting_facts"):
        return hotpotqa.supported(more, id, question, answers)
    if more.has("paragraphs"):
        return musique.hopped(more, id, question, answers)
    if more.has("question_decomposition"):
        return _of_steps(more, id, question, answers)
    return QAExample(id, question, answers, (), ())


def _of_steps(more: Sample, id: str, question: str, answers: tuple[str, ...]) -> QAExample:
    """A question whose supporting paragraphs stand in its steps."""
    steps = [step for step in more.each("question_decomposition") if step.has("support_paragraph")]
    paragraphs = [{**step.inside("support_paragraph").fields, "idx": place} for place, step in enumerate(steps)]
    hops = [{"answer": step.text("answer"), "paragraph_support_idx": place} for place, step in enumerate(steps)]
    written = Sample(more.place, {"paragraphs": paragraphs, "question_decomposition": hops}, more.path)
    return musique.hopped(written, id, question, answers)
