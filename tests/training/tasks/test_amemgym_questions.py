"""AMemGym's questions as questions about long texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.episodes import played

from memagent.environments.amemgym.data import golden_index, load_items, save_items
from memagent.environments.amemgym.generate import GeneratorSettings, generate_users
from memagent.errors import ConfigError
from memagent.memory.memocr.loops import ANY_PROBLEM
from memagent.text.token_chunks import CountCutter
from memagent_renderers.budget import ESTIMATE
from memagent_training.objectives.memocr_drafting import MemocrDrafting, MemocrSettings
from memagent_training.tasks.amemgym_questions import AMemGymQuestions

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
    said = {"draft": "# The user\n\nlikes long walks and tea", "std": f"\\boxed{{{gold}}}", "augM": "\\boxed{0}", "augQ": "?"}
    asked, outcome = played(loop, lambda request: said[request.role])
    roles = [one.role for one in asked]
    assert roles[-3:] == ["std", "augM", "augQ"]
    assert roles.count("draft") > 1
    assert {one.role for one in asked if question in one.messages[0].text} == {"std", "augM"}
    assert outcome.rewards == {"std": 1.0, "augM": 0.0, "augQ": 0.0}
