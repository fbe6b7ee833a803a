"""Why MemOCR stands where it does: losses by reason, and the sentence that a report prints."""

from __future__ import annotations

import pytest

from memagent.environments.amemgym.assistants.published import AwiAssistant
from memagent.environments.amemgym.baselines import state_text
from memagent.environments.amemgym.data import UserItem
from memagent.environments.amemgym.dialogues import first_message
from memagent.environments.amemgym.error_analysis import (
    MethodResult,
    MissingValue,
    ReaderInput,
    StoredValues,
    compare_to_best,
    count_reasons,
    missing_values,
)
from memagent.environments.amemgym.generate import generate_users, preset
from memagent.environments.amemgym.rule_reader import RuleBasedReader
from memagent.environments.amemgym.scoring.metrics import accuracy_by_age, ages_and_changes
from memagent_renderers.budget import Picture, TextLine


@pytest.fixture(scope="module")
def item() -> UserItem:
    return generate_users(1, settings=preset("v1.base").model_copy(update={"num_periods": 2}), seed=7)[0]


def pictured(text: str) -> Picture:
    lines = [one.split() for one in text.splitlines()]
    return Picture(
        b"",
        1,
        1,
        1,
        lines=tuple(TextLine(tuple(w), ("body",) * len(w), ("regular",) * len(w), 6.5, (0, 0, 1, 1)) for w in lines),
    )


def heard(item: UserItem) -> AwiAssistant:
    assistant = AwiAssistant("awi")
    for session in item.periods[0].sessions:
        assistant.add(first_message(session), "Noted.")
    return assistant


def reasons(item: UserItem, view: ReaderInput | None, assistant: AwiAssistant) -> list[str]:
    reader = RuleBasedReader(item)
    return [one.reason for one in missing_values(reader, item.qas[0], (0, 0), view, StoredValues(reader, assistant, 0))]


def test_a_value_is_lost_at_the_first_step_that_does_not_show_it(item: UserItem) -> None:
    needed = len(item.qas[0].required_info)
    assert reasons(item, None, heard(item)) == ["failed"] * needed
    assert reasons(item, ReaderInput("", pictured(state_text(item.periods[0].state))), heard(item)) == ["illegible"] * needed
    assert reasons(item, ReaderInput("", pictured("something else")), heard(item)) == ["left_out"] * needed
    assert reasons(item, ReaderInput(""), AwiAssistant("awi")) == ["not_kept"] * needed
    assert reasons(item, ReaderInput(state_text(item.periods[0].state)), heard(item)) == []


def test_a_value_of_before_in_view_is_noted(item: UserItem) -> None:
    reader, question = RuleBasedReader(item), item.qas[0]
    other = {
        name: next(one for one in item.state_schema[name] if one != item.periods[0].state[name]) for name in item.state_schema
    }
    found = missing_values(reader, question, (0, 0), ReaderInput(state_text(other)), StoredValues(reader, heard(item), 0))
    assert count_reasons(found) == {"left_out": len(found), "older_shown": len(found)}


def test_where_another_memory_is_ahead_the_text_says_what_was_lost() -> None:
    lost = [MissingValue(1, 0, "pet", "illegible", older=True, size=6.5), MissingValue(1, 1, "job", "left_out", older=False)]
    own = MethodResult([[[1.0, 1.0], [0.0, 0.0]]], [lost])
    rag = MethodResult([[[1.0, 1.0], [1.0, 0.0]]], [[]])
    found = compare_to_best({"memocr": own, "rag": rag})
    assert found is not None
    assert (found["best_other"], found["behind_in"], found["better_elsewhere"]) == ("rag", [1], 1)
    assert found["lost"] == {"illegible": 1, "older_shown": 1}
    text = str(found["text"])
    assert "memocr is behind by 0.250" in text
    assert "ahead in the periods 1." in text
    assert "1 of 4 questions better; there memocr lacks 1 values: 1 on the page but not legible" in text
    assert "6.5 px" in text


def test_what_had_no_room_is_told_with_how_much_had() -> None:
    lost = [
        MissingValue(0, 0, "pet", "left_out", older=True, shown=20, pieces=70),
        MissingValue(0, 0, "job", "not_kept", older=False),
    ]
    found = compare_to_best({"memocr": MethodResult([[[0.0]]], [lost]), "rag": MethodResult([[[0.25]]], [[]])})
    assert found is not None
    assert found["of_these_guessed"] == 1
    text = str(found["text"])
    assert "1 of 1 questions better (1 of them by the odds of a guess, without knowing)" in text
    assert "lacks 2 values: 1 kept, but the page shows 20 of 70 lines (medians)" in text
    assert "1 not kept at all; for 1 of them an older value is read." in text


def test_without_rivals_or_without_memocr_there_is_nothing_to_say() -> None:
    alone = MethodResult([[[1.0]]], [[]])
    assert compare_to_best({"memocr": alone}) is None
    assert compare_to_best({"rag": alone, "awi": alone}) is None
    level = compare_to_best({"memocr": alone, "rag": alone})
    assert level is not None
    assert str(level["text"]).endswith("level. No other memory answers any question better.")


def test_ages_count_from_the_last_change_and_changes_from_the_start(item: UserItem) -> None:
    question = item.qas[0]
    assert ages_and_changes(item, 0, question) == (0, 0, 0)
    changed = [number for number in (1, 2) for name in question.required_info if name in item.periods[number].updates]
    newest, oldest, changes = ages_and_changes(item, 2, question)
    assert changes == len(changed)
    assert 0 <= newest <= oldest <= 2
    assert newest == 2 - max(changed, default=0)
    cells = [[[float(p == 0) for _ in item.qas] for p in range(3)]]
    rows = {(row.metric, row.at): row.value for row in accuracy_by_age("x", [item], cells)}
    assert rows["accuracy_by_newest_age", 2] == 0.0
    assert 0 < rows["accuracy_by_changes", 0] < 1
