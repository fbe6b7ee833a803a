"""Questions about long texts: files, data sets, made-up worlds."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from memagent.environments.long_qa.synthetic_qa import follow, world_questions, worlds_beside
from memagent.errors import ConfigError, InputError
from memagent.text.token_chunks import CountCutter
from memagent_renderers.budget import ESTIMATE
from memagent_training.recipe import load_recipe
from memagent_training.run import task_rows
from memagent_training.tasks.long_qa import LongQuestions


def numbers(context: str) -> list[str]:
    return re.findall(r"^Document (\d+):$", context, re.MULTILINE)


@pytest.fixture
def hotpot(tmp_path: Path) -> Path:
    """Thirty questions in HotpotQA's form, with four paragraphs each."""
    samples: list[dict[str, Any]] = []
    for at in range(30):
        context = [[f"Title {at} {place}", [f"Paragraph {place} of {at}.", f" Gold {at}."]] for place in range(4)]
        sample = {"_id": f"h{at}", "question": f"What is {at}?", "answer": f"Gold {at}", "context": context}
        samples.append(sample | {"supporting_facts": [[f"Title {at} 1", 1]], "type": "bridge", "level": "hard"})
    path = tmp_path / "hotpot.json"
    path.write_text(json.dumps(samples), "utf-8")
    return path


def test_each_question_stands_among_so_many_documents_in_an_order_of_its_own(hotpot: Path) -> None:
    rows = LongQuestions(questions=str(hotpot), documents=20).tasks(99, seed=1)
    assert [row["id"] for row in rows] == [f"h{at}" for at in range(30)]
    places = set()
    for at, row in enumerate(rows):
        context = str(row["context"])
        assert numbers(context) == [str(number) for number in range(1, 21)]
        assert all(f"\nTitle {at} {place}\n" in context for place in range(4)), "its own documents are all there"
        assert (row["question"], row["answers"]) == (f"What is {at}?", [f"Gold {at}"])
        places.add(context.split("\n\n").index(next(one for one in context.split("\n\n") if f"\nTitle {at} 1\n" in one)))
    assert len(places) > 5
    assert rows[:3] == LongQuestions(questions=str(hotpot), documents=20).tasks(3, seed=1)
    assert rows[:3] != LongQuestions(questions=str(hotpot), documents=20).tasks(3, seed=2)


def test_a_context_may_be_so_many_tokens_long(hotpot: Path) -> None:
    for row in LongQuestions(questions=str(hotpot), tokens=500).tasks(30, seed=0):
        assert 450 < ESTIMATE.count(str(row["context"])) <= 500


def test_two_hundred_documents_when_nothing_is_said_and_short_ones_are_told(
    hotpot: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "memagent.training"):
        rows = LongQuestions(questions=str(hotpot)).tasks(2, seed=0)
    assert [len(numbers(str(row["context"]))) for row in rows] == [120, 120]  # all that the file has
    assert "2 of 2 contexts are shorter than asked" in caplog.text


def test_paragraphs_of_another_file_fill_contexts_and_answer_questions(hotpot: Path, tmp_path: Path) -> None:
    asked = [
        {"question": "Who is it?", "answer": ["Gold 7"], "id": "n1"},
        {"question": "And?", "answer": ["nowhere"], "id": "n2"},
    ]
    path = tmp_path / "nq.jsonl"
    path.write_text("\n".join(map(json.dumps, asked)), "utf-8")
    (row,) = LongQuestions(questions=str(path), pool=str(hotpot), documents=8).tasks(9, seed=0)
    assert row["question"] == "Who is it?"
    assert "Gold 7." in str(row["context"])
    with pytest.raises(ConfigError, match=r"no question that a document answers.*task\.pool"):
        LongQuestions(questions=str(path)).tasks(9, seed=0)


@pytest.mark.parametrize("name", ["hotpotqa", "locomo"])
def test_real_files_become_rows(name: str, request: pytest.FixtureRequest) -> None:
    rows = LongQuestions(questions=str(request.getfixturevalue(name)), tokens=9000).tasks(20, seed=0)
    assert len(rows) == 20
    assert all(7000 < ESTIMATE.count(str(row["context"])) <= 9000 for row in rows)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"data": "a", "questions": "b"}, "give one of the two"),
        ({"documents": 5}, "about the contexts of `questions`"),
        ({"pool": "p"}, "about the contexts of `questions`"),
        ({"questions": "q", "documents": 5, "tokens": 5}, "give one of the two"),
        ({"questions": "q", "documents": 0}, "1 or more `documents`"),
        ({"joined": 0}, "`joined` is 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        LongQuestions(**settings)


def test_a_data_set_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        LongQuestions(questions=str(tmp_path / "none.json")).tasks(1, seed=0)


def test_joined_worlds_span_chunks_and_spread_the_evidence() -> None:
    rows = LongQuestions(joined=20, hops=(2, 3)).tasks(20, seed=3)
    assert rows[:2] == LongQuestions(joined=20, hops=(2, 3)).tasks(2, seed=3)
    questions = world_questions(20, split="train", seed=3, settings=LongQuestions(hops=(2, 3))._shape())
    cutter, apart = CountCutter(ESTIMATE.count), 0
    for row, question in zip(rows, questions, strict=True):
        context = str(row["context"])
        assert len(numbers(context)) == 20 * 18
        assert (row["id"], row["question"], row["answers"]) == (question.id, question.text, [question.answer])
        chunks = cutter.chunks(context, 5000)
        assert len(chunks) >= 3
        evidence = [question.facts[place].sentence for place in question.chain]
        found = {number for number, chunk in enumerate(chunks) for sentence in evidence if sentence in chunk}
        assert all(sentence in context for sentence in evidence)
        apart += len(found) > 1
    assert apart > 10


def test_worlds_told_together_share_no_entity_so_a_chain_has_one_answer() -> None:
    question = world_questions(1, split="train", seed=0)[0]
    others = worlds_beside(question, 40, split="train")
    assert others[:7] == worlds_beside(question, 7, split="train")
    names = [
        {name for fact in one.facts for name in (fact.subject, fact.value) if not name.isdigit()} for one in [question, *others]
    ]
    assert len(set.union(*names)) == sum(map(len, names))
    told = [fact for one in [*others, question] for fact in one.facts]
    assert follow(told, question.start, question.relations) == question.answer


def test_more_worlds_than_there_are_names_for_are_refused() -> None:
    question = world_questions(1, split="dev", seed=0)[0]
    with pytest.raises(InputError, match="split `dev` has no 6 names of kind `person` left"):
        worlds_beside(question, 200, split="dev")


@pytest.mark.parametrize("name", ["memocr-qwen25-vl-7b", "memocr-qwen3-vl-2b-lora", "memagent-7b"])
def test_recipes_of_long_texts_take_either_task(name: str) -> None:
    places = {"tasks": 64, "rollouts.prompts": 4, "rollouts.updates": 1, "rollouts.micro_batches": 1}
    worlds = load_recipe(name, overrides={"task": {"kind": "long_qa", "joined": 2}, **places})
    users = load_recipe(name, overrides={"task": {"kind": "amemgym_questions", "periods": 1, "questions": 2}, **places})
    assert len(task_rows(worlds)) == len(task_rows(users)) == 64
