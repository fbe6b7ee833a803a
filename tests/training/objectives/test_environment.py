"""Any environment can be trained in: AMemGym's notes through the trainer, for a few steps of a tiny policy."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any

import pytest

from memagent.environments.amemgym.environment import AMemGymEnvironment
from memagent.environments.amemgym.generate import GeneratorSettings, generate_users
from memagent.errors import ConfigError
from memagent_training.grpo.judge import Judge
from memagent_training.objectives import InEnvironment

SETTINGS = GeneratorSettings(num_questions=2, num_periods=1, num_changes_per_period=1)
_PART = re.compile(r"<(memory|conversation)>\n(.*?)\n</\1>", re.DOTALL)


@pytest.fixture(scope="module")
def users() -> Any:
    return generate_users(2, settings=SETTINGS, seed=1)


def _note(prompt: str, attempt: int) -> str:
    """Attempt 0 keeps every opening, 1 the last one, others nothing."""
    parts = dict(_PART.findall(prompt))
    opening = parts["conversation"].split("\n")[1]
    return (f"{parts['memory']}\n{opening}", opening)[attempt] if attempt < 2 else "Hello."


def _trained(folder: Path, users: Any, *, note_tokens: int, scripted: bool, **parts: Any) -> Any:
    """A run of two steps: a decoder over printable characters, two users, four attempts each."""
    import scripted_runs
    from datasets import Dataset

    from memagent_training.policy import TinyPolicy, build_policy

    tiny = TinyPolicy(width=16, layers=1, heads=2, context=3072)
    model, tokenizer, _ = build_policy(tiny, alphabet=string.printable, seed=0)

    def say(ids: Any, attempt: int) -> list[int]:
        said = tokenizer(_note(tokenizer.decode(list(ids)), attempt), add_special_tokens=False)["input_ids"]
        return [*said, tokenizer.eos_token_id]

    def world() -> AMemGymEnvironment:
        return AMemGymEnvironment({"train": users}, note_tokens=note_tokens)

    return scripted_runs.ours(
        folder,
        script=say if scripted else None,
        objective=InEnvironment(world),
        model=(model, tokenizer),
        parts={"train_dataset": Dataset.from_list([dict(task) for task in world().tasks("train")]), **parts},
        max_steps=2,
        learning_rate=1e-3,
        max_completion_length=note_tokens,
    )


@pytest.mark.slow
def test_hian_trains_on_what_a_life_of_notes_earned_and_on_what_each_note_shows(tmp_path: Path, users: Any) -> None:
    from memagent_training.grpo.baselines import GroupMean
    from memagent_training.grpo.credit import HianCredit

    credit, baseline = HianCredit(w_session=1.0, w_turn=0.5), GroupMean()
    run = _trained(tmp_path, users, note_tokens=1_200, scripted=True, credit=credit, baseline=baseline)
    rollouts = run.trainer.rollouts
    for item in users:
        sessions = sum(len(period.sessions) for period in item.periods)
        group = [one for one in rollouts if one.prompt_id == item.id]
        keeper, last, *idle = group
        assert [len(one.segments) for one in group] == [len(one.turn_rewards) for one in group] == [sessions] * 4
        assert {segment.role for one in group for segment in one.segments} == {"draft"}
        assert keeper.rewards == {"answer": pytest.approx(1.0)}
        assert (keeper.correct, idle[0].correct) == (True, False)
        assert keeper.rewards["answer"] > last.rewards["answer"] > idle[0].rewards["answer"] == idle[1].rewards["answer"]
        assert (set(keeper.turn_rewards), set(idle[0].turn_rewards)) == ({1.0}, {0.0})
        both = credit.assign([group], judge=Judge(baseline))
        plain = HianCredit(w_turn=0).assign([group], judge=Judge(baseline))
        assert both[0][0][0][0] > plain[0][0][0][0] > 0 > plain[0][3][0][0] > both[0][3][0][0]
    assert len(run.batches[-1]["advantages"]) == sum(len(one.segments) for one in rollouts)
    assert len(run.losses) == 2
    assert all(float(one.abs().max()) > 0 for one in run.gradients)
    mean = sum(one.rewards["answer"] for one in rollouts) / len(rollouts)
    assert [log["rewards/answer"] for log in run.logs if "rewards/answer" in log] == pytest.approx([mean] * 2)


def test_a_policy_samples_notes_of_at_most_the_allowed_tokens(tmp_path: Path, users: Any) -> None:
    run = _trained(tmp_path, users, note_tokens=8, scripted=False)
    lengths = [len(segment.ids) for rollout in run.trainer.rollouts for segment in rollout.segments]
    assert 1 <= max(lengths) <= 8
    assert len(run.losses) == 2


def test_a_policy_is_trained_on_what_it_samples() -> None:
    with pytest.raises(ConfigError, match="`temperature` is 0"):
        InEnvironment(lambda: AMemGymEnvironment({}), temperature=0)


SMALL = {
    "policy.kind": "tiny",
    "policy.width": 16,
    "policy.layers": 1,
    "policy.heads": 2,
    "policy.context": 3072,
    "engine.kind": "generate",
    "task.questions": 1,
    "task.periods": 1,
    "task.changes": 1,
    "task.note_tokens": 8,
    "tasks": 2,
    "rollouts.prompts": 2,
    "rollouts.group_size": 2,
    "rollouts.micro_batches": 1,
    "optimizer.steps": 1,
    "trl.bf16": False,
    "trl.use_vllm": False,
    "trl.activation_checkpointing": False,
}


@pytest.mark.slow
def test_the_recipe_runs_with_a_tiny_policy_in_place_of_its_own(tmp_path: Path) -> None:
    from memagent_training.recipe import load_recipe
    from memagent_training.run import build_trainer, train

    recipe = load_recipe("amemgym", overrides=SMALL)
    assert recipe.config(tmp_path).max_completion_length == recipe.reply_tokens == 8
    trainer = build_trainer(recipe, tmp_path, quiet=True)
    train(trainer)
    assert trainer.state.global_step == 1
    assert {one.prompt_id for one in trainer.rollouts} == {task["id"] for task in recipe.task.tasks(2, seed=recipe.seed)}
    assert all(len(one.turn_rewards) == len(one.segments) > 0 for one in trainer.rollouts)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"objective.kind": "single_turn"}, 'objective "single_turn" does not go with task "amemgym".*use "environment"'),
        ({"objective.kind": "self_verify"}, 'objective "self_verify" does not go with task "amemgym".*use "environment"'),
        ({"task.kind": "cipher"}, 'objective "environment" does not go with task "cipher"; it is for amemgym'),
        ({"task.kind": "file", "task.path": "t"}, 'objective "environment" does not go with task "file"; it is for amemgym'),
    ],
)
def test_recipes_that_part_the_objective_from_its_task_are_refused(settings: dict[str, Any], said: str) -> None:
    from memagent_training.recipe import load_recipe

    with pytest.raises(ConfigError, match=said):
        load_recipe("amemgym", overrides=settings)


def test_users_of_a_file_are_tasks_and_a_policy_that_talks_may_say_more(tmp_path: Path, users: Any) -> None:
    from memagent.environments.amemgym.data import save_items
    from memagent_training.tasks.amemgym import AMemGymUsers

    save_items(users, tmp_path / "data.json")
    family = AMemGymUsers(data=str(tmp_path / "data.json"), note_tokens=64, talks=True)
    assert family.tasks(9, seed=0) == [{"id": item.id} for item in users]
    assert family.worlds(1, seed=0)().tasks("train") == family.tasks(1, seed=5)
    assert (family.reply_tokens, AMemGymUsers(note_tokens=64).reply_tokens) == (512, 64)
    with pytest.raises(ConfigError, match="`note_tokens` is 0"):
        AMemGymUsers(note_tokens=0)
