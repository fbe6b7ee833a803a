"""Natural Questions (Kwiatkowski et al. 2019) and TriviaQA (Joshi et al. 2017): questions of one hop.

Of Natural Questions, NQ-open (`question`, `answer`: a list) has no paragraphs; the full and the simplified form mark them in a
page's tokens: the answers are those of all annotators, the paragraph is the long answer of the first that gave one. TriviaQA
is read in the authors' form (an object with the questions in `Data`) and in that of the datasets library; its pages are
separate files or long columns and are not read. What has no paragraph gets one out of a pool (`gold`).
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from memagent.environments.long_qa.dataset import Document, QAExample
from memagent.environments.long_qa.gold_passages import answered_by
from memagent.environments.long_qa.samples import Sample

UNANSWERED = "without a short answer"
_TITLE = re.compile(r"[?&;]title=([^&]+)")
_TAG = re.compile(r"</?[A-Za-z][^>]*>")


def nq(sample: Sample, number: int) -> QAExample | str:
    """A question of Natural Questions in any form, or why it is left out; `number` is its id where it has none."""
    if sample.has("question_text"):
        return _nq_page(sample, number)
    answers = tuple(dict.fromkeys(sample.texts("answer")))
    return QAExample(str(number), sample.text("question"), answers, (), ()) if answers else UNANSWERED


def triviaqa(sample: Sample, number: int) -> QAExample | str:
    """A question of TriviaQA in either form; every alias is a gold answer."""
    upper = sample.has("Answer")
    question, answer, id = ("Question", "Answer", "QuestionId") if upper else ("question", "answer", "question_id")
    value, aliases = ("Value", "Aliases") if upper else ("value", "aliases")
    gold = sample.inside(answer)
    others = gold.texts(aliases) if gold.has(aliases) else ()
    answers = tuple(dict.fromkeys((gold.text(value), *others)))
    return QAExample(sample.text(id) if sample.has(id) else str(number), sample.text(question), answers, (), ())


def _nq_page(sample: Sample, number: int) -> QAExample | str:
    if sample.has("document_text"):
        tokens = sample.text("document_text").split(" ")  # tags included, so that places count
    else:
        tokens = [one.text("token") for one in sample.each("document_tokens")]
    notes = sample.each("annotations")
    short = [_between(tokens, one) for note in notes for one in note.each("short_answers")]
    said = [note.text("yes_no_answer").lower() for note in notes if note.has("yes_no_answer")]
    answers = tuple(dict.fromkeys(one for one in (*short, *said) if one and one != "none"))
    if not answers:
        return UNANSWERED
    id = sample.text("example_id") if sample.has("example_id") else str(number)
    text = next((text for note in notes if (text := _between(tokens, note.inside("long_answer")))), "")
    case = QAExample(id, sample.text("question_text"), answers, (), ())
    return answered_by(case, Document.of(_title(sample), text)) if text else case


def _between(tokens: list[str], span: Sample) -> str:
    """The text of a span without tags; "" for one that is not there (-1)."""
    start, end = span.number("start_token"), span.number("end_token")
    return " ".join(token for token in tokens[max(start, 0) : max(end, 0)] if not _TAG.fullmatch(token))


def _title(sample: Sample) -> str:
    """The title of a page, out of its address where it has no field of its own."""
    if sample.has("document_title"):
        return sample.text("document_title")
    found = _TITLE.search(sample.text("document_url")) if sample.has("document_url") else None
    return unquote_plus(found[1]).replace("_", " ") if found else ""
