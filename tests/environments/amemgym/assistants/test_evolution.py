"""Self-evolution: what feedback holds, steps that are made once, prompts with braces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.scripted_models import ToldModel

from memagent.environments.amemgym.assistants.base import Assistant
from memagent.environments.amemgym.assistants.config import AgentConfig
from memagent.environments.amemgym.assistants.evolution import (
    COMPLETE,
    QUESTION_ONLY,
    Evolution,
    EvolutionSettings,
    Feedback,
    option_letter,
)
from memagent.environments.amemgym.assistants.prompts import (
    CATEGORIES,
    FACTS_TEMPLATE,
    GUIDED,
    MINIMAL,
    SHEET_TEMPLATE,
    ExtractionPrompt,
    fill_missing_placeholders,
    initial,
)
from memagent.environments.amemgym.assistants.published import AwiAssistant
from memagent.environments.amemgym.assistants.windowed import Schedule, WindowedAssistant
from memagent.environments.amemgym.data import UserItem
from memagent.environments.amemgym.dialogues import Rounds, run_dialogues
from memagent.environments.amemgym.generate import generate_user, preset
from memagent.environments.amemgym.methods import Method
from memagent.environments.amemgym.rule_reader import question_prompt
from memagent.environments.amemgym.scoring.reply_parser import parse_reply
from memagent.environments.amemgym.simulated_user import NeutralUser
from memagent.errors import InputError, ModelError
from memagent.models.base import Request
from memagent.store import Store

BRACES = 'Keep {x}, {0}, {conversation}, {{y}}, "{current_memories}" and { on its own.'
REWRITTEN = json.dumps({"new_types": BRACES, "changes": ["braces"]})
EACH_PERIOD = EvolutionSettings(cadence="period", feedback_types=COMPLETE)


def user(periods: int = 2) -> UserItem:
    item = generate_user(3, settings=preset("v1.base"), seed=7)
    return item.model_copy(update={"periods": item.periods[:periods]})


def given(item: UserItem, period: int = 0, chosen: int | None = 0) -> Feedback:
    return Feedback(item, period, [chosen] * len(item.qas), [f"memories {k}" for k in range(len(item.qas))])


def evolving(model: ToldModel, settings: EvolutionSettings = EACH_PERIOD) -> AwiAssistant:
    evolution = Evolution(settings, model, AwiAssistant.template)
    return AwiAssistant("awi-evolve", model=model, schedule=Schedule(2, 0), evolution=evolution)


# -- feedback ---------------------------------------------------------------------------------------------------------


def test_letters_match_the_options() -> None:
    item = user()
    for period in (0, 1):
        for reply in range(1, 4):  # the numbers that a model gives count from 1
            chosen = [parse_reply(str(reply), options=len(one.answer_choices)).option for one in item.qas]
            said = Feedback(item, period, chosen, [""] * len(item.qas)).shown(("vanilla", "with_answer"))
            for one, question in zip(said, item.qas, strict=True):
                options = dict(line[1:].split(") ", 1) for line in one["question"].splitlines()[1:])
                assert options[one["assistant_response"]] == question.answer_choices[reply - 1].answer
                right = [item.periods[period].state[name] for name in question.required_info]
                golden = next(choice for choice in question.answer_choices if list(choice.state) == right)
                assert options[one["ground_truth"]] == golden.answer
    last = len(item.qas[0].answer_choices) - 1
    said = given(item, chosen=last).shown(("vanilla",))
    assert said[0]["assistant_response"] == "ABCDEFG"[last]
    assert given(item, chosen=None).shown(("vanilla",))[0]["assistant_response"] == "none"
    assert [option_letter(k) for k in (0, 25, 26, 27, 52)] == ["A", "Z", "AA", "AB", "BA"]


def test_complete_feedback_has_the_truth_and_the_exposed_states() -> None:
    item = user()
    said = given(item, 1).shown(COMPLETE)
    assert said["user_information_updates"] == {name: update.new for name, update in item.periods[1].updates.items()}
    assert len(said["question_answer_history"]) == len(item.qas)
    wanted = {"question", "assistant_response", "ground_truth", "retrieved_memories"}
    assert all(one.keys() == wanted for one in said["question_answer_history"])
    assert said["question_answer_history"][2]["retrieved_memories"] == "memories 2"


def test_question_only_feedback_has_neither_options_nor_answers() -> None:
    item = user()
    said = given(item, 1).shown(QUESTION_ONLY)
    assert [one.keys() for one in said] == [{"question", "retrieved_memories"}] * len(item.qas)
    text = json.dumps(said)
    assert item.qas[0].query in text
    for question in item.qas:
        assert not any(choice.answer in text for choice in question.answer_choices)
    assert not any(value in text for value in item.periods[1].state.values() if " " in value)


def test_feedback_must_fit_the_questions() -> None:
    item = user()
    with pytest.raises(InputError, match="10 questions need as many choices and memories, not 1 and 10"):
        Feedback(item, 0, [0], [""] * 10)
    with pytest.raises(InputError, match="question 0 has options 0 to"):
        given(item, chosen=9)
    broken = item.periods[0].model_copy(update={"state": {}})
    with pytest.raises(InputError, match=r"period 0, question 0: no option suits the state \(I7\)"):
        given(item.model_copy(update={"periods": (broken,)}))


# -- policies ---------------------------------------------------------------------------------------------------------


def test_there_are_four_policies_to_start_from() -> None:
    assert initial("info_type", SHEET_TEMPLATE).text == CATEGORIES
    assert initial("guided_info_type", SHEET_TEMPLATE).text == GUIDED
    assert GUIDED.startswith(CATEGORIES)
    assert GUIDED.count('\n- "') == 4
    assert initial("minimal", FACTS_TEMPLATE).text == MINIMAL
    for task in (SHEET_TEMPLATE, FACTS_TEMPLATE):
        whole = initial("default", task)
        parts = dict.fromkeys(task.places, "PART")
        assert whole.whole
        assert whole.prompt(task, parts) == ExtractionPrompt().prompt(task, parts)


def test_a_whole_prompt_gets_back_the_places_and_the_demand_that_it_lost() -> None:
    prompt = fill_missing_placeholders("Note everything.", SHEET_TEMPLATE)
    assert prompt.startswith("Note everything.")
    assert all(part in prompt for part in ("{current_memories}", "{conversation}", "JSON"))
    assert fill_missing_placeholders(prompt, SHEET_TEMPLATE) == prompt
    filled = ExtractionPrompt("Note {x}. JSON.", whole=True).prompt(FACTS_TEMPLATE, {"conversation": "{x} {conversation}"})
    assert filled == "Note {x}. JSON.\n\nConversation:\n{x} {conversation}"


# -- steps ------------------------------------------------------------------------------------------------------------


def test_an_evolved_policy_survives_saving_loading_and_braces(tmp_path: Path) -> None:
    item = user()
    model = ToldModel(SheetLines=['{"a": "{x}"}'], RevisedPrompt=[REWRITTEN])
    first = evolving(model)
    first.act("Before.")
    assert first.learn(given(item))
    first.save(tmp_path / "one")
    first.act("After.")
    assert BRACES in model.prompts("SheetLines")[-1]
    assert "user: After." in model.prompts("SheetLines")[-1]
    again = ToldModel(SheetLines=["{}"], RevisedPrompt=[json.dumps({"new_types": "third", "changes": []})])
    second = evolving(again)
    second.load(tmp_path / "one")
    second.save(tmp_path / "two")
    for name in ("evolution_state.json", "in_context_memory.json", "msg_history.json", "clock.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    second.act("After.")
    assert again.prompts("SheetLines")[-1].replace("{x}", "") == model.prompts("SheetLines")[-1].replace("{x}", "")
    assert second.learn(given(item, 1))
    assert BRACES in again.prompts("RevisedPrompt")[0]
    state = json.loads((tmp_path / "one" / "evolution_state.json").read_text("utf-8"))
    assert state.keys() == {"current_prompts", "evolution_history"}
    assert state["current_prompts"] == {"memory_update": BRACES}
    assert [one.keys() for one in state["evolution_history"]] == [{"step_id", "feedback", "changes"}]


def test_a_whole_prompt_with_braces_goes_on_too(tmp_path: Path) -> None:
    model = ToldModel(ExtractedFacts=['{"facts": []}'], RevisedPrompt=[REWRITTEN])
    raw = {
        "type": "rag-evolve",
        "name": "x",
        "llm_config": {"llm_model": "m"},
        "agent_config": {"update_bsz": 2, "local_length": 0},
        "evolution_config": {
            "cadence": "period",
            "feedback_types": ["vanilla_question_only"],
            "targets": ["fact_extraction_prompt"],
            "init_prompt_type": "default",
        },
    }
    with Store(tmp_path / "store", embedder="hash") as store:
        built = [Method("x", AgentConfig.model_validate(raw)).build(store=store, item=user(), model=model) for _ in range(2)]
    first, second = built
    assert isinstance(first, WindowedAssistant)
    first.learn(given(user()))
    first.save(tmp_path / "saved")
    second.load(tmp_path / "saved")
    second.act("Hello.")
    prompt = model.prompts("ExtractedFacts")[-1]
    assert prompt.startswith("Keep {x}, {0}, user: Hello.")
    assert "JSON" in prompt
    assert "fact_extraction_prompt" in (tmp_path / "saved" / "evolution_state.json").read_text("utf-8")


def test_a_step_is_made_once_a_period_also_when_the_run_stopped_before_it(tmp_path: Path) -> None:
    item = user()
    model = ToldModel(
        SheetLines=["{}"], RevisedPrompt=[json.dumps({"new_types": f"types {k}", "changes": []}) for k in range(5)]
    )
    first = evolving(model)
    first.save(tmp_path / "answered")  # and the process ends, between the questions and the step
    second = evolving(model)
    second.load(tmp_path / "answered")
    assert second.learn(given(item, 0))
    assert not second.learn(given(item, 0))
    second.save(tmp_path / "learnt")
    third = evolving(model)
    third.load(tmp_path / "learnt")
    assert not third.learn(given(item, 0))
    assert third.learn(given(item, 1))
    assert third.evolution is not None
    assert [step.step_id for step in third.evolution.history] == [0, 1]
    assert len(model.requests["RevisedPrompt"]) == 2
    assert third.prompts.keep.text == "types 1"


@pytest.mark.parametrize(
    "settings",
    [
        EvolutionSettings(cadence="no_evolution", feedback_types=COMPLETE),
        EvolutionSettings(cadence="period"),
        EvolutionSettings(cadence="period", feedback_types=COMPLETE, targets=()),
    ],
)
def test_without_cadence_feedback_or_target_nothing_is_learnt(settings: EvolutionSettings) -> None:
    model = ToldModel(SheetLines=["{}"])
    assistant = evolving(model, settings)
    assert not assistant.learn(given(user()))
    assert model.log == []
    assert assistant.evolution is not None
    assert assistant.evolution.state().evolution_history == []


def test_the_rewriting_model_sees_section_and_feedback_under_a_system_message() -> None:
    item, model = user(), ToldModel(RevisedPrompt=["nonsense", REWRITTEN])
    assistant = evolving(model)
    assistant.learn(given(item))
    request = model.requests["RevisedPrompt"][0]
    assert request.messages[0].role == "system"
    assert request.messages[0].text
    assert CATEGORIES in request.messages[1].text
    assert item.qas[0].query in request.messages[1].text
    assert '"user_information_updates"' in request.messages[1].text
    assert assistant.usage.calls == 2


def test_a_rewriting_that_fails_leaves_the_policy_and_says_so_once() -> None:
    model = ToldModel(RevisedPrompt=['{"new_types": " "}'])
    assistant = evolving(model)
    assert assistant.learn(given(user()))
    assert not assistant.learn(given(user()))
    assert assistant.prompts.keep == ExtractionPrompt()
    assert assistant.evolution is not None
    [step] = assistant.evolution.history
    assert step.changes[0].startswith("none: the model gave no usable `RevisedPrompt` in 3 tries")


class _Absent(ToldModel):
    """Not there when it is asked to rewrite."""

    def _say(self, request: Request) -> str:
        raise ModelError("no connection", retryable=True)


def test_a_model_that_is_not_there_makes_no_step() -> None:
    assistant = evolving(_Absent())
    with pytest.raises(ModelError, match="no connection"):
        assistant.learn(given(user()))
    assert assistant.evolution is not None
    assert assistant.evolution.history == []


def test_a_state_of_other_targets_is_refused(tmp_path: Path) -> None:
    evolving(ToldModel()).save(tmp_path)
    other = evolving(ToldModel(), EACH_PERIOD.model_copy(update={"targets": ("another",)}))
    with pytest.raises(InputError, match="holds memory_update, not 'another'"):
        other.load(tmp_path)


# -- the loop ---------------------------------------------------------------------------------------------------------


def live(item: UserItem, assistant: Assistant, folder: Path) -> list[dict[str, Any]]:
    """Converse, save, ask, learn, save: period by period."""
    prompts = []
    for period in range(len(item.periods)):
        run_dialogues(item, period, assistant.act, NeutralUser(), rounds=Rounds())
        assistant.save(folder / f"period_{period:02d}")
        assert isinstance(assistant, WindowedAssistant)
        asked = [question_prompt(question) for question in item.qas]
        memories = [assistant.memories(prompt) for prompt in asked]
        replies = [assistant.answer(prompt) for prompt in asked]
        chosen = [parse_reply(text, options=len(q.answer_choices)).option for text, q in zip(replies, item.qas, strict=True)]
        assistant.learn(Feedback(item, period, chosen, memories))
        assistant.save(folder / f"period_{period:02d}")
        prompts.append(json.loads((folder / f"period_{period:02d}" / "evolution_state.json").read_text("utf-8")))
    return prompts


@pytest.mark.parametrize("method", ["awi-evolve", "rag-evolve"])
def test_the_loop_makes_a_step_a_period_and_the_next_period_is_written_by_the_new_policy(method: str, tmp_path: Path) -> None:
    item = user(3)
    rewritten = [json.dumps({"new_types": f"policy {k}", "changes": [str(k)]}) for k in range(3)]
    model = ToldModel('{"answer": 2}', SheetLines=['{"a": "b"}'], ExtractedFacts=['{"facts": []}'], RevisedPrompt=rewritten)
    with Store(tmp_path / "store", embedder="hash") as store:
        states = live(item, Method(method).build(store=store, item=item, model=model), tmp_path)
    assert [list(one["current_prompts"].values()) for one in states] == [["policy 0"], ["policy 1"], ["policy 2"]]
    history = states[-1]["evolution_history"]
    assert [(step["step_id"], step["changes"]) for step in history] == [(0, ["0"]), (1, ["1"]), (2, ["2"])]
    assert {one["assistant_response"] for one in history[0]["feedback"]["question_answer_history"]} == {"B"}
    written = model.prompts("SheetLines" if method == "awi-evolve" else "ExtractedFacts")
    rounds = [len(item.periods[period].sessions) * (2 if period else 1) for period in range(3)]
    assert [sum(f"policy {k}" in prompt for prompt in written) for k in (0, 1)] == rounds[1:]
    assert len(written) == sum(rounds) - 2, "two rounds stay in the window"
