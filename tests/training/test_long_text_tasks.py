"""Where the rows of long texts come from: data sets with padding, joined worlds, AMemGym's periodic questions."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from memagent.environments.amemgym.data import golden_index, load_items, save_items
from memagent.environments.amemgym.generate import GeneratorSettings, generate_users
from memagent.environments.long_qa.synthetic_qa import follow, world_questions, worlds_beside
from memagent.errors import ConfigError, InputError
from memagent.memory.memocr.loops import ANY_PROBLEM
from memagent.models.base import Reply
from memagent.text.token_chunks import CountCutter
from memagent_renderers.budget import ESTIMATE
from memagent_training.objectives.base import PolicyRequest
from memagent_training.objectives.memocr_drafting import MemocrDrafting, MemocrSettings
from memagent_training.recipe import load_recipe
from memagent_training.run import task_rows
from memagent_training.tasks.amemgym_questions import AMemGymQuestions
from memagent_training.tasks.long_qa import LongQuestions


def numbers(context: str) -> list[str]:
    return re.findall(r"^Document (\d+):$", context, re.MULTILINE)


# -- data sets --------------------------------------------------------------------------------------------------------


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


def test_6_3_each_question_stands_among_so_many_documents_in_an_order_of_its_own(hotpot: Path) -> None:
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


def test_6_3_two_hundred_documents_when_nothing_is_said_and_short_ones_are_told(
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


# -- made-up worlds ---------------------------------------------------------------------------------------------------


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


# -- AMemGym ----------------------------------------------------------------------------------------------------------

SIZES = {"questions": 2, "periods": 2, "changes": 1}


def test_amemgym_rows_ask_each_periods_questions_of_all_sessions_so_far() -> None:
    family = AMemGymQuestions(**SIZES)  # type: ignore[arg-type]
    rows = family.tasks(8, seed=4)
    assert rows == family.tasks(9, seed=4)[:8]
    settings = GeneratorSettings(num_questions=2, num_periods=2, num_changes_per_period=1)
    first, second = generate_users(2, settings=settings, seed=4)
    assert [row["id"] for row in rows[:6]] == [f"{first.id}/{period}/{place}" for period in range(3) for place in range(2)]
    assert str(rows[6]["id"]).startswith(second.id)
    for row in rows[:6]:
        _, period, place = str(row["id"]).split("/")
        question, state = first.qas[int(place)], first.periods[int(period)].state
        right = golden_index(question, state)
        assert right is not None
        assert row["answers"] == [str(right + 1)]
        assert f"\n{right + 1}: {question.answer_choices[right].answer}" in str(row["question"])
        for number, one in enumerate(first.periods):
            told = [session.query in str(row["context"]) for session in one.sessions]
            assert told == [number <= int(period)] * len(told)
        assert row["problem"] == ANY_PROBLEM


def test_amemgym_rows_of_a_file_and_focused_ones(tmp_path: Path) -> None:
    settings = GeneratorSettings(num_questions=2, num_periods=1, num_changes_per_period=1)
    save_items(generate_users(2, settings=settings, seed=0), tmp_path / "data.json")
    family = AMemGymQuestions(data=str(tmp_path / "data.json"), focused=True)
    rows = family.tasks(99, seed=0)
    assert len(rows) == 2 * 2 * 2
    assert all(row["problem"] == row["question"] for row in rows)
    silent = [item.model_copy(update={"qas": ()}) for item in load_items(tmp_path / "data.json")]
    save_items(silent, tmp_path / "silent.json")
    with pytest.raises(ConfigError, match="asks nothing"):
        AMemGymQuestions(data=str(tmp_path / "silent.json")).tasks(1, seed=0)


def test_memocr_drafts_a_users_sessions_blind_and_is_asked_the_question_under_three_budgets() -> None:
    row = AMemGymQuestions(**SIZES).tasks(6, seed=4)[-1]  # type: ignore[arg-type]
    question = str(row["question"]).partition("\n")[0]
    answers = row["answers"]
    assert isinstance(answers, list)
    gold = str(answers[0])
    loop = MemocrDrafting(CountCutter(ESTIMATE.count), settings=MemocrSettings(budget=256, chunk_tokens=300)).episode(
        row, seed=0
    )
    asked: list[PolicyRequest] = []
    said = {"draft": "# The user\n\nlikes long walks and tea", "std": f"\\boxed{{{gold}}}", "augM": "\\boxed{0}", "augQ": "?"}
    try:
        request = next(loop)
        while True:
            assert isinstance(request, PolicyRequest)
            asked.append(request)
            request = loop.send(Reply(text=said[request.role]))
    except StopIteration as end:
        outcome = end.value
    roles = [one.role for one in asked]
    assert roles[-3:] == ["std", "augM", "augQ"]
    assert roles.count("draft") > 1
    assert {one.role for one in asked if question in one.messages[0].text} == {"std", "augM"}
    assert outcome.rewards == {"std": 1.0, "augM": 0.0, "augQ": 0.0}


@pytest.mark.parametrize("name", ["memocr-qwen25-vl-7b", "memocr-qwen3-vl-2b-lora", "memagent-7b"])
def test_recipes_of_long_texts_take_either_task(name: str) -> None:
    places = {"tasks": 64, "rollouts.prompts": 4, "rollouts.updates": 1, "rollouts.micro_batches": 1}
    worlds = load_recipe(name, overrides={"task": {"kind": "long_qa", "joined": 2}, **places})
    users = load_recipe(name, overrides={"task": {"kind": "amemgym_questions", "periods": 1, "questions": 2}, **places})
    assert len(task_rows(worlds)) == len(task_rows(users)) == 64
