"""Every form in which the data sets are published, in miniature; and the real files, where they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_questions import SAMPLES

from memagent.environments.long_qa.dataset import Dataset, Document, QAExample
from memagent.environments.long_qa.dataset_files import load, load_documents
from memagent.errors import InputError

TITLES = ["Selden lighthouse", "Tom Ferris"]
SENTENCES = [["It was lit in 1871.", "Its keeper was Tom Ferris."], ["He moved to Port Carrick.", "He mended clocks."]]
FACTS: dict[str, list[Any]] = {"title": ["Selden lighthouse", "Tom Ferris"], "sent_id": [1, 0]}
PARAGRAPHS = [
    {"idx": 0, "title": "Bergen", "paragraph_text": "Bergen is wet.", "is_supporting": False},
    {
        "idx": 1,
        "title": "Tom Ferris",
        "paragraph_text": "Tom mended clocks. Ferris moved to Port Carrick.",
        "is_supporting": True,
    },
    {
        "idx": 2,
        "title": "Selden",
        "paragraph_text": "Selden was lit in 1871. The keeper was Tom Ferris.",
        "is_supporting": True,
    },
]
HOPS = [
    {"id": 7, "question": "Selden >> keeper", "answer": "Tom Ferris", "paragraph_support_idx": 2},
    {"id": 8, "question": "#1 >> moved to", "answer": "Port Carrick", "paragraph_support_idx": 1},
]
MUSIQUE = {
    "id": "2hop__7_8",
    "paragraphs": PARAGRAPHS,
    "question": "Where did the keeper of Selden move to?",
    "question_decomposition": HOPS,
    "answer": "Port Carrick",
    "answer_aliases": ["Carrick", "Port Carrick"],
    "answerable": True,
}


def _load(tmp_path: Path, *samples: Any, whole: bool = False, pool: Path | None = None) -> Dataset:
    path = tmp_path / "file.jsonl"
    path.write_text(json.dumps(samples[0] if whole else samples) if whole else "\n".join(map(json.dumps, samples)), "utf-8")
    return load(path, pool=pool)


def _shown(case: QAExample) -> list[str]:
    return [case.documents[place].sentences[at] for place, at in case.evidence]


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


@pytest.mark.parametrize("packed", [False, True])
def test_2wikimultihopqa(tmp_path: Path, packed: bool) -> None:
    context: Any = list(zip(TITLES, SENTENCES, strict=True))
    facts: Any = list(zip(FACTS["title"], FACTS["sent_id"], strict=True))
    sample = {
        "_id": "w1",
        "type": "compositional",
        "question": "Where did the keeper move to?",
        "context": json.dumps(context) if packed else context,  # a text of JSON in the columns of the datasets library
        "supporting_facts": json.dumps(facts) if packed else facts,
        "evidences": [["Selden lighthouse", "keeper", "Tom Ferris"]],
        "answer": "Port Carrick",
    }
    found = _load(tmp_path, [sample], whole=True)
    (case,) = found.cases
    assert (found.form, case.id, case.kind, case.answers) == ("2wikimultihopqa", "w1", "compositional", ("Port Carrick",))
    assert _shown(case) == ["Its keeper was Tom Ferris.", "He moved to Port Carrick."]
    assert case.support == (0, 1)


def test_musique(tmp_path: Path) -> None:
    found = _load(tmp_path, MUSIQUE, {**MUSIQUE, "id": "2hop__9", "answerable": False})
    (case,) = found.cases
    assert (found.form, case.id, case.kind) == ("musique", "2hop__7_8", "2 hops")
    assert case.answers == ("Port Carrick", "Carrick")
    assert case.support == (2, 1)
    assert _shown(case) == ["The keeper was Tom Ferris.", "Ferris moved to Port Carrick."]
    assert case.documents[1].text == PARAGRAPHS[1]["paragraph_text"]
    assert found.left_out == {"unanswerable": 1}


def test_a_supporting_paragraph_without_the_answer_of_its_hop_still_supports(tmp_path: Path) -> None:
    hops = [{**HOPS[0], "answer": "someone else"}, HOPS[1]]
    (case,) = _load(tmp_path, {**MUSIQUE, "question_decomposition": hops}).cases
    assert case.support == (2, 1)
    assert _shown(case) == ["Ferris moved to Port Carrick."]


@pytest.mark.parametrize("sentences", ["sentences", "content"])
def test_flashrag_of_a_set_with_paragraphs(tmp_path: Path, sentences: str) -> None:
    sample = {
        "id": "dev_0",
        "question": "Where did the keeper move to?",
        "golden_answers": ["Port Carrick", "Carrick"],
        "metadata": {"type": "bridge", "context": {"title": TITLES, sentences: SENTENCES}, "supporting_facts": FACTS},
    }
    found = _load(tmp_path, sample)
    (case,) = found.cases
    assert (found.form, case.id, case.kind) == ("flashrag", "dev_0", "bridge")
    assert case.answers == ("Port Carrick", "Carrick")
    assert _shown(case) == ["Its keeper was Tom Ferris.", "He moved to Port Carrick."]


@pytest.mark.parametrize(
    "metadata",
    [
        {"paragraphs": PARAGRAPHS, "question_decomposition": HOPS},
        {"question_decomposition": [{**hop, "support_paragraph": PARAGRAPHS[3 - at]} for at, hop in enumerate(HOPS, 1)]},
    ],
)
def test_flashrag_of_musique(tmp_path: Path, metadata: dict[str, Any]) -> None:
    sample = {"id": "m", "question": "q", "golden_answers": ["Port Carrick"], "metadata": {"answerable": True, **metadata}}
    metadata_false = {**sample, "id": "n", "metadata": {"answerable": False}}
    found = _load(tmp_path, sample, metadata_false)
    (case,) = found.cases
    assert _shown(case) == ["The keeper was Tom Ferris.", "Ferris moved to Port Carrick."]
    assert [case.documents[place].title for place in case.support] == ["Selden", "Tom Ferris"]
    assert case.kind == "2 hops"
    assert found.left_out == {"unanswerable": 1}


def _passages(tmp_path: Path) -> Path:
    path = tmp_path / "wiki.jsonl"
    texts = [
        '"Paris (mythology)"\nParis was a son of Priam. He was a prince of Troy.',
        '"Eiffel Tower"\nThe tower is tall. The frame stands in Paris, on the Champ de Mars.',
        '"Lyon"\nLyon lies on the Rhone.',
        '"Lyon"\nLyon lies on the Rhone.',
    ]
    path.write_text("\n".join(json.dumps({"id": str(n), "contents": one}) for n, one in enumerate(texts)), "utf-8")
    return path


def test_single_hop_questions_get_the_paragraph_that_holds_the_answer(tmp_path: Path) -> None:
    samples = [
        {"id": "test_0", "question": "in which city is the eiffel tower", "golden_answers": ["Lutetia", "paris"]},
        {"id": "test_1", "question": "who was a son of priam", "golden_answers": ["Paris"], "metadata": {}},
        {"id": "test_2", "question": "where is it", "golden_answers": ["Par"]},
        {"id": "test_3", "question": "is lyon on the rhone", "golden_answers": ["yes"]},
        {"id": "test_4", "question": "never answered", "golden_answers": []},
    ]
    found = _load(tmp_path, *samples, pool=_passages(tmp_path))
    assert [document.title for document in found.pool] == ["Paris (mythology)", "Eiffel Tower", "Lyon"]
    assert [[one.title for one in case.documents] for case in found.cases] == [["Eiffel Tower"], ["Paris (mythology)"], [], []]
    assert _shown(found.cases[0]) == ["The frame stands in Paris, on the Champ de Mars."]
    assert found.without_gold == ("test_2", "test_3")  # kept and reported, not dropped
    assert found.left_out == {"without an answer": 1}


def test_without_a_pool_every_such_question_is_reported(tmp_path: Path) -> None:
    found = _load(tmp_path, {"question": "in which city is the eiffel tower", "answer": ["Paris", "Paris", "Lutetia"]})
    (case,) = found.cases
    assert (found.form, case.id, case.answers, case.documents) == ("nq", "1", ("Paris", "Lutetia"), ())
    assert found.without_gold == ("1",)


def _page(short: list[tuple[int, int]], long: tuple[int, int], said: str = "NONE") -> dict[str, Any]:
    span = {"start_token": long[0], "end_token": long[1], "candidate_index": 0}
    return {
        "example_id": 5_655_493_461_695_504_401,
        "question_text": "where is the tower",
        "document_text": PAGE,
        "document_url": "https://en.wikipedia.org//w/index.php?title=Eiffel_Tower%27s&amp;oldid=1",
        "annotations": [
            {
                "annotation_id": 1,
                "yes_no_answer": said,
                "long_answer": span,
                "short_answers": [{"start_token": start, "end_token": end} for start, end in short],
            }
        ],
    }


PAGE = "<P> It was built in 1889 . </P> <P> It stands in <B> Paris </B> , France . </P>"


def test_natural_questions_mark_answer_and_paragraph_by_tokens(tmp_path: Path) -> None:
    found = _load(tmp_path, _page([(12, 15), (16, 17)], (8, 19)))
    (case,) = found.cases
    assert (found.form, case.id, case.answers) == ("nq", "5655493461695504401", ("Paris", "France"))
    assert case.documents == (Document("Eiffel Tower's", ("It stands in Paris , France .",)),)
    assert (case.evidence, case.support) == (((0, 0),), (0,))
    full: dict[str, Any] = _page([(12, 15), (16, 17)], (8, 19))
    full |= {"document_title": "Eiffel Tower's", "document_tokens": [{"token": one} for one in PAGE.split()]}
    del full["document_text"]
    assert _load(tmp_path, full) == found


def test_natural_questions_without_a_short_answer_or_a_paragraph(tmp_path: Path) -> None:
    nothing = _page([], (-1, -1))
    yes = {**_page([], (-1, -1), "YES"), "example_id": 2}
    found = _load(tmp_path, nothing, yes)
    assert [(case.id, case.answers, case.documents) for case in found.cases] == [("2", ("yes",), ())]
    assert found.left_out == {"without a short answer": 1}
    assert found.without_gold == ("2",)


def test_triviaqa_in_both_forms(tmp_path: Path) -> None:
    answer = {"Value": "Paris", "Aliases": ["City of Light", "Paris"], "NormalizedAliases": ["paris"]}
    official = {"Data": [{"Question": "Where?", "QuestionId": "tc_1", "Answer": answer, "EntityPages": []}], "Domain": "x"}
    columns = {"question": "Where?", "question_id": "tc_1", "answer": {"value": "Paris", "aliases": answer["Aliases"]}}
    first, second = _load(tmp_path, official, whole=True), _load(tmp_path, columns)
    assert first == second
    (case,) = first.cases
    assert (first.form, case.id, case.answers) == ("triviaqa", "tc_1", ("Paris", "City of Light"))
    with_pool = _load(tmp_path, columns, pool=_passages(tmp_path))
    assert [document.title for document in with_pool.cases[0].documents] == ["Paris (mythology)"]  # no words to tell by


def test_documents_of_questions_and_of_passages(tmp_path: Path, questions: Path) -> None:
    assert load_documents(questions) == load(questions).pool
    path = tmp_path / "passages.json"
    path.write_text(json.dumps([{"title": "A", "text": "One. Two is next."}]), "utf-8")
    assert load_documents(path) == (Document.of("A", "One. Two is next."),)
    path.write_text('{"title": "A", "text": "x"}\n{"title": "A"}', "utf-8")
    with pytest.raises(InputError, match=r"passages.json, line 2: `text` is missing"):
        load_documents(path)


def test_a_file_of_two_forms_is_refused_at_the_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"file.jsonl, line 2: `context` is missing"):
        _load(tmp_path, SAMPLES[0], MUSIQUE)


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


def test_the_real_hotpotqa_file(hotpotqa: Path) -> None:
    found = load(hotpotqa)
    assert (found.form, len(found.cases), found.left_out, found.without_gold) == ("hotpotqa", 60, {}, ())
    assert {case.kind for case in found.cases} == {"bridge", "comparison"}
    assert all(len(case.support) == 2 and {place for place, _ in case.evidence} <= set(case.support) for case in found.cases)
    assert len(found.pool) == len(set(found.pool))


def test_the_real_locomo_file(locomo: Path) -> None:
    found = load(locomo)
    assert found.form == "locomo"
    assert len(found.cases) + sum(found.left_out.values()) == 1157
    assert not found.without_gold
    assert {case.kind for case in found.cases} == {"several turns", "time", "inference", "one turn"}
