"""Assistants: the window's schedule, what AWE and AWI keep, and questions that leave no trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.amemgym_runs import tree
from helpers.scripted_models import ToldModel
from hypothesis import given
from hypothesis import strategies as st

from memagent.environments.amemgym.assistants.base import ACKNOWLEDGED, Assistant
from memagent.environments.amemgym.assistants.memory import MemoryAssistant
from memagent.environments.amemgym.assistants.published import AweAssistant, AwiAssistant, RagWindowAssistant
from memagent.environments.amemgym.assistants.windowed import Schedule
from memagent.environments.amemgym.dialogues import Rounds, run_dialogues
from memagent.environments.amemgym.generate import generate_user, preset
from memagent.environments.amemgym.methods import Method
from memagent.environments.amemgym.rule_reader import question_prompt, state_prompt
from memagent.environments.amemgym.simulated_user import NeutralUser
from memagent.errors import ConfigError, InputError
from memagent.memory import BUILT_IN
from memagent.models.base import ChatModel
from memagent.models.fake import FakeModel
from memagent.models.scripted import ScriptedModel
from memagent.store import Store

DAY = "[Current Time: 2020-10-{:02d} 20:00:00]\n"
METHODS = (*BUILT_IN, "native", "rag_window", "awe", "awi")
BY_MODEL = ("native", "rag_window", "awe", "awi", "awi-hack", "awi-evolve", "rag-evolve")
CASES = [*((method, False) for method in METHODS), *((method, True) for method in BY_MODEL)]
"""Methods, and whether a model writes their memory."""
WRITTEN = {
    "SheetLines": ['{"a": "1", "b": "2"}', '{"a": "3"}', "no", "no", "no", '{"c": "{4}"}'],
    "ExtractedFacts": ['{"facts": ["x is 1"]}', '{"facts": ["x is 2", "y is 3"]}', "no", "no", "no", '{"facts": []}'],
    "MemoryChanges": [
        '{"changes": [{"event": "ADD", "text": "x is 1"}]}',
        '{"changes": [{"event": "UPDATE", "memory": 0, "text": "x is 2"}]}',
        '{"changes": []}',
    ],
}


def make(method: str, store: Store, *, model: ChatModel | None = None) -> Assistant:
    return Method(method).build(store=store, item=generate_user(1, settings=preset("v1.base"), seed=5), model=model)


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 30))
def test_nothing_is_lost_between_the_window_and_what_leaves_it(freq: int, local: int, rounds: int) -> None:
    assistant = RagWindowAssistant(schedule=Schedule(freq, local))
    for number in range(rounds):
        assistant.add(f"said {number}", f"replied {number}")
    left = [one.text.split(": ", 1)[1] for one in assistant.notes.notes.values()]
    whole = [text for number in range(rounds) for text in (f"said {number}", f"replied {number}")]
    assert left + [one.text for one in assistant.window] == whole
    assert len(left) % freq == 0


@pytest.mark.parametrize("values", [(0, 4, 30), (2, -1, 30), (2, 4, 0)])
def test_impossible_schedules_are_refused(values: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="a schedule has"):
        Schedule(*values)


@pytest.mark.parametrize(("method", "by_model"), CASES)
def test_questions_and_probes_leave_the_snapshot_as_it_is(method: str, by_model: bool, tmp_path: Path) -> None:
    item = generate_user(1, settings=preset("v1.base"), seed=5)
    with Store(tmp_path / "store", embedder="hash") as store:
        assistant = make(method, store, model=ToldModel('{"answer": 1}', **WRITTEN) if by_model else None)
        if not by_model:
            assistant.model = FakeModel('{"answer": 1}', sees_images=True)
        for period in (0, 1):
            run_dialogues(item, period, assistant.act, NeutralUser(), rounds=Rounds())
            assistant.consolidate()
        assistant.save(tmp_path / "before")
        for question in item.qas[:4]:
            assert assistant.answer(question_prompt(question)) == '{"answer": 1}'
            assistant.answer(state_prompt(item, question))
        assistant.save(tmp_path / "after")
    assert tree(tmp_path / "before") == tree(tmp_path / "after") != {}


@pytest.mark.parametrize(("method", "by_model"), CASES)
def test_a_loaded_assistant_goes_on_as_the_saved_one(method: str, by_model: bool, tmp_path: Path) -> None:
    item = generate_user(1, settings=preset("v1.base"), seed=5)
    said = {name: lines[-1:] for name, lines in WRITTEN.items()}
    models = (ToldModel(**WRITTEN), ToldModel(**said)) if by_model else (None, None)
    with Store(tmp_path / "one", embedder="hash") as store, Store(tmp_path / "two", embedder="hash") as other:
        first, second = make(method, store, model=models[0]), make(method, other, model=models[1])
        run_dialogues(item, 0, first.act, NeutralUser(), rounds=Rounds())
        first.consolidate()
        first.save(tmp_path / "saved")
        second.load(tmp_path / "saved")
        for assistant in (first, second):
            run_dialogues(item, 1, assistant.act, NeutralUser(), rounds=Rounds())
            assistant.consolidate()
            assistant.save(tmp_path / f"after {id(assistant)}")
        question = question_prompt(item.qas[0])
        assert first.recall(question).text == second.recall(question).text != ""
    if method not in BUILT_IN:  # theirs hold ids drawn anew
        assert tree(tmp_path / f"after {id(first)}") == tree(tmp_path / f"after {id(second)}")


@pytest.mark.parametrize("method", METHODS)
def test_a_view_keeps_to_its_budget(method: str, tmp_path: Path) -> None:
    item = generate_user(2, settings=preset("v1.base"), seed=5)
    with Store(tmp_path, embedder=None) as store:
        assistant = make(method, store)
        for period in (0, 1):
            run_dialogues(item, period, assistant.act, NeutralUser(), rounds=Rounds())
            assistant.consolidate()
        for budget in (64, 256):
            assert 0 < assistant.recall(question_prompt(item.qas[0]), budget=budget).cost <= budget


def test_a_reply_is_made_from_the_memory_before_the_round_and_then_kept(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        model = ScriptedModel([{"match": "(?s)blue Fiat.*drive", "text": "Your blue Fiat."}, "Hello!"])
        assistant = MemoryAssistant(store.memory("long_context"), model=model)
        assert assistant.act(DAY.format(1) + "I drive a blue Fiat.") == "Hello!"
        assert assistant.act("What do I drive?") == "Your blue Fiat."
        kept = assistant.memory.messages()
    assert [one.text for one in kept] == ["I drive a blue Fiat.", "Hello!", "What do I drive?", "Your blue Fiat."]
    assert {one.time.date().isoformat() for one in kept if one.time} == {"2020-10-01"}
    assert assistant.usage.calls == 2


def test_without_a_model_it_acknowledges_and_cannot_answer() -> None:
    assistant = AwiAssistant("awi")
    assert assistant.act("I live in Lyon.") == ACKNOWLEDGED
    with pytest.raises(ConfigError, match="awi has no model"):
        assistant.answer("Where do I live?")


def test_awi_overwrites_a_label_in_place_and_shows_it_last(tmp_path: Path) -> None:
    assistant = AwiAssistant("awi", schedule=Schedule(2, 0))
    for day, text in enumerate(("I live in Lyon.", "My dog is called Rex.", "I live in Oslo."), 1):
        assistant.act(DAY.format(day) + text)
    assistant.save(tmp_path)
    saved = json.loads((tmp_path / "in_context_memory.json").read_text("utf-8"))
    assert [one["value"] for one in saved] == ["Oslo", "Rex"]
    assert [one["timestamp"][:10] for one in saved] == ["2020-10-03", "2020-10-02"]
    lines = str(assistant.recall("anything").text).splitlines()
    assert [line.rsplit(": ")[-1] for line in lines] == ["Rex", "Oslo"]


def test_awe_keeps_the_window_verbatim_and_shows_the_nearest_statements_by_age() -> None:
    assistant = AweAssistant("awe", schedule=Schedule(2, 2, 2))
    told = ("My cat is called Tom.", "I live in Lyon.", "My cat sleeps a lot.", "I like tea.")
    for day, text in enumerate(told, 1):
        assistant.act(DAY.format(day) + text)
    lines = str(assistant.recall("What is my cat called?").text).splitlines()
    assert lines[0] == "- [2020-10-01] My cat is called Tom."
    assert lines[1] == "- [2020-10-03] My cat sleeps a lot."
    assert lines[2:] == ["[4 Oct 2020] user: I like tea.", f"[4 Oct 2020] assistant: {ACKNOWLEDGED}"]


def test_awe_takes_statements_of_the_user_only() -> None:
    assistant = AweAssistant("awe", schedule=Schedule(2, 0))
    assistant.add(DAY.format(1) + "Can you help me? I have two cousins.", "I have a red car.")
    assert [held.text for held in assistant.notes.notes.values()] == ["I have two cousins."]
