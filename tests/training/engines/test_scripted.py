"""What a script says, and which engines recipes name."""

from __future__ import annotations

from memagent_training.engines import ENGINES, GenerateEngine, HttpEngine, ReplayEngine, ScriptedEngine, VllmEngine
from memagent_training.engines.base import Completion, Prompt


def test_a_script_speaks_by_prompt_and_attempt_and_is_cut() -> None:
    engine = ScriptedEngine(script=lambda prompt: [*prompt.ids, prompt.attempt, 9])
    asked = [Prompt(ids=(1,), max_tokens=5, attempt=2), Prompt(ids=(1, 2, 3), max_tokens=4), Prompt(ids=(1, 2), max_tokens=4)]

    said = engine.generate(asked, seed=0)

    assert said == [Completion(ids=(1, 2, 9)), Completion(ids=(1, 2, 3, 0), finished=False), Completion(ids=(1, 2, 0, 9))]
    assert engine.generate([], seed=0) == []


def test_recipes_name_the_engines_that_need_no_python() -> None:
    assert {"generate": GenerateEngine, "vllm": VllmEngine, "http": HttpEngine, "replay": ReplayEngine} == ENGINES
    assert all(name == engine.name for name, engine in ENGINES.items())
