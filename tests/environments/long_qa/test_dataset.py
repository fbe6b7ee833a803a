"""Files of questions, whatever data set they come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memagent.environments.long_qa.dataset_files import load
from memagent.errors import InputError


def test_hotpotqa_in_both_published_forms(questions: Path, tmp_path: Path) -> None:
    loaded = load(questions)
    samples = [json.loads(line) for line in questions.read_text("utf-8").splitlines()]
    for one in samples:
        one["_id"] = one.pop("id")
        one["context"] = list(zip(one["context"]["title"], one["context"]["sentences"], strict=True))
        facts = one["supporting_facts"]
        one["supporting_facts"] = list(zip(facts["title"], facts["sent_id"], strict=True))
    other = tmp_path / "authors.json"
    other.write_text(json.dumps(samples), "utf-8")
    assert load(other) == loaded
    assert [case.id for case in loaded.cases] == ["q1", "q2", "q3"]
    assert [case.support for case in loaded.cases] == [(0, 1), (0, 1), (0,)]
    assert loaded.form == "hotpotqa"
    assert not loaded.without_gold


def test_supporting_sentences_keep_their_places(questions: Path) -> None:
    case = load(questions).cases[0]
    found = [case.documents[place].sentences[at] for place, at in case.evidence]
    assert found == ["Its last keeper was Tom Ferris.", "He moved to Port Carrick in 1934."]
    assert case.documents[1].sentences[2] == ""
    assert case.documents[1].text == "Tom Ferris repaired clocks in winter. He moved to Port Carrick in 1934."


def test_a_supporting_sentence_that_does_not_exist_is_left_out(questions: Path) -> None:
    samples = [json.loads(line) for line in questions.read_text("utf-8").splitlines()]
    samples[0]["supporting_facts"] = {"title": ["Bergen", "Bergen", "Atlantis"], "sent_id": [0, 7, 0]}
    questions.write_text("\n".join(map(json.dumps, samples)), "utf-8")
    case = load(questions).cases[0]
    assert case.evidence == ((2, 0),)
    assert case.support == (2,)


def test_every_document_is_in_the_pool_once(questions: Path) -> None:
    pool = load(questions).pool
    assert len(pool) == len(set(pool)) == 7
    questions.write_text(
        questions.read_text("utf-8")
        + questions.read_text("utf-8").replace('"q1', '"r1').replace('"q2', '"r2').replace('"q3', '"r3'),
        "utf-8",
    )
    assert load(questions).pool == pool


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no questions"),
        ("[]", "no questions"),
        ("{", "line 1 is no JSON"),
        ('{"golden_answers": []}\n\n{"golden', "line 3 is no JSON"),
        ("[" * 9_000, "is no JSON"),
        ('{"question": "x"}', "item 1|line 1 is of no known form: it has `question`; known by"),
        ("{}", "it has no fields"),
        ("[1]", "item 1 is of type `int`"),
        ('[{"context": []}]', "item 1: `question` is missing, a text is needed; its fields are: context"),
        ('{"context": 3, "question": "q", "answer": "a"}', "line 1: `context` is 3; a list of .title, sentences. pairs"),
        ('{"context": [["T", ["a", null]]], "question": "q", "answer": "a"}', "a list of texts is needed"),
        (
            '{"context": [["T", ["a"]]], "supporting_facts": [["T", "0"]], "question": "q", "answer": "a"}',
            "`supporting_facts` is .*; a whole number for each sentence is needed",
        ),
        ('{"context": [], "supporting_facts": [], "question": true, "answer": "a"}', "`question` is true; a text is needed"),
        ('{"question": "q", "answer": []}', "no question with an answer: 1 without a short answer"),
        ('{"paragraphs": [], "question": "q", "answer": "a", "answerable": false}', "1 unanswerable"),
        ('{"paragraphs": [7], "question": "q", "answer": "a"}', "`paragraphs` is .7.; a list of objects is needed"),
        ('{"golden_answers": "x", "id": "i", "question": "q"}', '`golden_answers` is "x"; a list is needed'),
        ('[{"conversation": {}}]', "no question with an answer: none at all"),
    ],
)
def test_another_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=said) as error:
        load(path)
    assert "file.json" in str(error.value)
    with pytest.raises(InputError, match="cannot read"):
        load(tmp_path / "absent.json")


def test_two_questions_of_one_id_are_refused(questions: Path) -> None:
    questions.write_text(questions.read_text("utf-8").replace('"q2"', '"q1"'), "utf-8")
    with pytest.raises(InputError, match="`q1` twice"):
        load(questions)


def test_a_locomo_session_is_a_document(tmp_path: Path) -> None:
    turns = [[{"speaker": "Ada", "dia_id": f"D{n}:{m}", "text": f"Said {n} {m}."} for m in (1, 2)] for n in (1, 2)]
    talk = {
        "session_1": turns[0],
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "session_2": turns[1],
        "session_2_date_time": "2:00 pm on 9 May, 2023",
    }
    asked = [
        {"question": "What?", "answer": 7, "evidence": ["D2:2"], "category": 4},
        {"question": "Trap?", "answer": "x", "evidence": ["D1:1"], "category": 5},
        {"question": "Nowhere?", "answer": "x", "evidence": ["D9:1"], "category": 1},
    ]
    path = tmp_path / "locomo.json"
    path.write_text(json.dumps([{"sample_id": "c", "conversation": talk, "qa": asked}]), "utf-8")
    loaded = load(path)
    (case,) = loaded.cases
    assert (case.id, case.answers, case.evidence, case.support) == ("c/1", ("7",), ((0, 1),), (0,))
    assert (loaded.form, case.kind) == ("locomo", "one turn")
    assert loaded.left_out == {"adversarial": 1, "without answer or evidence": 1}
    assert [(one.title, one.sentences[1]) for one in case.documents] == [("9 May 2023", "Ada: Said 2 2.")]
    assert [one.title for one in loaded.pool] == ["8 May 2023", "9 May 2023"]
