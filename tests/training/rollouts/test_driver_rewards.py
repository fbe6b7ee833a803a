"""What an episode earned is what its objective declares, also where it ended in nonsense."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from helpers.checkpoints import tiny_llama

from memagent.errors import ConfigError, InputError
from memagent.memory.memocr.loops import Loop
from memagent.types import user_message
from memagent_training.engines import ScriptedEngine
from memagent_training.grpo.needs import Rewards
from memagent_training.grpo.rollout import Rollout
from memagent_training.objectives.base import EpisodeResult, PlainBatches, PolicyRequest, Task
from memagent_training.rollouts.driver import Job, roll_out
from memagent_training.tokenization import PolicyTokenizer


class Graded(PlainBatches):
    """One question; what it earns is said by its task."""

    name = "graded"
    gives: Rewards = Rewards(ranges={"answer": (-4.0, -0.5)})

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        yield PolicyRequest((user_message("a"),), max_tokens=3)
        if "pays" not in task:
            raise InputError("nonsense")
        return EpisodeResult(rewards={"answer": float(str(task["pays"]))})


def rolled(**task: float) -> Rollout:
    model, tokenizer = tiny_llama(layers=1)
    [found] = roll_out(
        [Job(task={"id": "t", **task}, group_id="g", attempt=0)],
        objective=Graded(),
        engine=ScriptedEngine(script=lambda prompt: [1]),
        tokenizer=PolicyTokenizer(tokenizer, model.config),
        seed=1,
    )
    return found


def test_a_reward_out_of_its_declared_range_ends_the_run_and_names_objective_and_key() -> None:
    assert rolled(pays=-0.5).rewards == {"answer": -0.5}
    for wrong in (0.0, -4.001):
        with pytest.raises(ConfigError, match=r'objective "graded" gave rollout `g/0` .* as answer, and declares -4 to -0\.5'):
            rolled(pays=wrong)


def test_nonsense_earns_the_least_that_there_is() -> None:
    found = rolled()
    assert found.rewards == {"answer": -4.0}, "0 would be more than any good answer earns"
    assert not found.valid
