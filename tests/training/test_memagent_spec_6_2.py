"""Specification memocr.md, 6.2, multi-conversation GRPO: one test for each fact and each row of the table, named after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import string

import torch
from helpers.checkpoints import character_tokenizer, tiny_llama
from scripted_runs import Run, ours

from memagent.errors import InputError
from memagent.text.token_chunks import TokenCutter
from memagent_training.advantages import to_rows
from memagent_training.engines import ScriptedEngine
from memagent_training.engines.base import Prompt
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.credit import OutcomeCredit
from memagent_training.objectives.memagent import MemagentSettings, TextMemory, golds_found
from memagent_training.recipe import Recipe, load_recipe

GROUP = 4
QUESTIONS = [
    {"id": f"q{at}", "question": f"where is {at}?", "context": f"{at} is in lyon. " * (4 + 3 * at), "answers": ["lyon"]}
    for at in range(4)
]
"""One to four chunks of 80 characters or so: rollouts of different numbers of conversations."""


def trained(folder: Path, **settings: Any) -> Run:
    """A tiny policy, one token a character; the first attempt of each group is right, all drafts claim to be."""
    from datasets import Dataset

    model, tokenizer = tiny_llama(string.printable)
    letters = {tokenizer.decode([one]): one for one in range(len(tokenizer))}

    def script(prompt: Prompt) -> list[int]:
        last = "</article>" not in tokenizer.decode(list(prompt.ids))
        right = "\\boxed{lyon}" if prompt.attempt == 0 else "no\\boxed{rome}"
        return [letters[one] for one in (right if last else f"\\boxed{{lyon}}{'!' * prompt.attempt}")]

    objective = TextMemory(
        TokenCutter(tokenizer), settings=MemagentSettings(chunk_tokens=80, memory_tokens=24, answer_tokens=16)
    )
    parts = {
        "credit": OutcomeCredit(),
        "baseline": GroupMean(scale="none"),
        "engine": ScriptedEngine(script=script),
        "train_dataset": Dataset.from_list(QUESTIONS),
    }
    return ours(
        folder, script=None, objective=objective, model=(model, tokenizer), parts=parts, **{"loss_type": "dapo"} | settings
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One step on two questions, four attempts each. A rate of 1e-12 leaves the policy what it was."""
    return trained(tmp_path_factory.mktemp("one"), learning_rate=1e-12)


def groups_of(run: Run) -> list[list[Any]]:
    """The rollouts by visit."""
    found: dict[str, list[Any]] = {}
    for rollout in run.trainer.rollouts:
        found.setdefault(rollout.group_id, []).append(rollout)
    return list(found.values())


# -- the rule ---------------------------------------------------------------------------------------------------------


def test_6_2_one_rollout_is_several_conversations(run: Run) -> None:
    counts = {rollout.prompt_id: len(rollout.segments) for rollout in run.trainer.rollouts}
    assert len(set(counts.values())) > 1, "n_i differs from question to question"
    assert min(counts.values()) >= 2
    for rollout in run.trainer.rollouts:
        assert len(rollout.segments) == counts[rollout.prompt_id]
        assert len({tuple(segment.prompt_ids) for segment in rollout.segments}) == len(rollout.segments)
        assert all(segment.mask is None or all(segment.mask) for segment in rollout.segments)


def test_6_2_bookkeeping_says_which_rollout_and_which_is_the_answer(run: Run) -> None:
    rows = to_rows(
        groups_of(run), credit=OutcomeCredit(), baseline=GroupMean(scale="none"), priors=[None] * 2, weighting="rollout"
    )
    by_rollout: dict[str, list[str]] = {}
    for row in rows:
        by_rollout.setdefault(row.rollout_id, []).append(row.segment.role)
    assert by_rollout.keys() == {rollout.id for rollout in run.trainer.rollouts}
    assert all(roles == ["draft"] * (len(roles) - 1) + ["answer"] for roles in by_rollout.values())


def test_6_2_only_the_last_conversation_is_scored(run: Run) -> None:
    for group in groups_of(run):  # every draft says \boxed{lyon}
        assert [rollout.rewards for rollout in group] == [{"answer": 1.0}] + [{"answer": 0.0}] * (GROUP - 1)
        assert [rollout.answer for rollout in group] == ["lyon"] + ["rome"] * (GROUP - 1)
        assert [rollout.correct for rollout in group] == [True] + [False] * (GROUP - 1)


def test_6_2_the_advantage_is_reward_minus_mean_on_every_token_of_every_conversation(run: Run) -> None:
    for group in groups_of(run):
        assigned = OutcomeCredit().assign([group], baseline=GroupMean(scale="none"), priors=[None])[0]
        for place, (rollout, advantages) in enumerate(zip(group, assigned, strict=True)):
            wanted = 0.75 if place == 0 else -0.25  # not divided by the deviation
            assert [len(one) for one in advantages] == [len(segment.ids) for segment in rollout.segments]
            np.testing.assert_allclose(np.concatenate(advantages), wanted)


def test_6_2_equal_rewards_in_a_group_teach_nothing(run: Run) -> None:
    wrong = groups_of(run)[0][1:]
    assigned = OutcomeCredit().assign([wrong], baseline=GroupMean(scale="none"), priors=[None])[0]
    assert all(not one.any() for rollout in assigned for one in rollout)


def test_6_2_each_conversation_is_a_training_sequence_of_its_own(run: Run) -> None:
    batch = run.batches[0]
    spoken = sorted(
        (tuple(segment.prompt_ids), tuple(segment.ids)) for rollout in run.trainer.rollouts for segment in rollout.segments
    )
    prompts = [tuple(ids[mask.bool()].tolist()) for ids, mask in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)]
    said = [
        tuple(ids[mask.bool()].tolist()) for ids, mask in zip(batch["completion_ids"], batch["completion_mask"], strict=True)
    ]
    assert sorted(zip(prompts, said, strict=True)) == spoken


def test_6_2_the_loss_is_the_mean_over_all_tokens_of_all_conversations(run: Run) -> None:
    """Eq. 4 on-policy, by hand: the gradient of -1/N sum A log pi, each conversation alone and without padding."""
    model = run.trainer.accelerator.unwrap_model(run.trainer.model).eval()
    model.zero_grad()
    tokens = sum(len(segment.ids) for rollout in run.trainer.rollouts for segment in rollout.segments)
    for group in groups_of(run):
        mean = np.mean([rollout.rewards["answer"] for rollout in group])
        for rollout in group:
            for segment in rollout.segments:
                ids = torch.tensor([[*segment.prompt_ids, *segment.ids]])
                logits = model(input_ids=ids).logits[0, len(segment.prompt_ids) - 1 : -1]
                logps = logits.log_softmax(-1).gather(1, torch.tensor(segment.ids)[:, None])
                (-(rollout.rewards["answer"] - mean) * logps.sum() / tokens).backward()
    by_hand = torch.cat([one.grad.flatten() for one in model.parameters()])
    assert by_hand.abs().max() > 1e-3
    torch.testing.assert_close(run.gradients[0], by_hand, atol=1e-6, rtol=1e-4)


def test_6_2_batches_of_any_number_of_conversations_make_the_same_number_of_steps(tmp_path: Path) -> None:
    run = trained(
        tmp_path,
        per_device_train_batch_size=4,
        steps_per_generation=2,
        gradient_accumulation_steps=1,
        max_steps=4,
        learning_rate=0.01,
    )
    assert len(run.gradients) == 4
    assert len(run.batches) == 2, "two updates a batch"
    rows = [len(batch["prompt_ids"]) for batch in run.batches]
    spoken = [int((batch["advantages"] != 0).any(1).sum()) for batch in run.batches]
    for number, batch in enumerate(run.batches):
        assert rows[number] % 2 == 0, "both updates have equally many rows"
        assert rows[number] - spoken[number] <= 1, "at most one row fills up"
        filling = ~(batch["advantages"] != 0).any(1)
        if "tool_mask" in batch:
            assert not batch["tool_mask"][filling][:, 0].any(), "and it is masked"
    assert rows[0] != rows[1], "the batches differ in size"


# -- the table --------------------------------------------------------------------------------------------------------

RECIPES = {
    "7B": {},
    "14B": {"policy.path": "Qwen/Qwen2.5-14B-Instruct", "rollouts.prompts": 256},
}


@pytest.fixture(params=RECIPES)
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def recipe(size: str) -> Recipe:
    return load_recipe("memagent-7b", overrides=RECIPES[size])


def test_6_2_base(recipe: Recipe, size: str) -> None:
    policy = recipe.settings()["policy"]
    assert (policy["path"], policy["lora"], policy["vision"]) == (f"Qwen/Qwen2.5-{size}-Instruct", None, False)


def test_6_2_prompts_per_step_group_and_mini_batch(recipe: Recipe, size: str) -> None:
    prompts, per_mini_batch = (128, 8) if size == "7B" else (256, 16)
    assert (recipe.rollouts.prompts, recipe.rollouts.group_size) == (prompts, 16)
    assert recipe.rollouts.prompts // recipe.rollouts.updates == per_mini_batch


def test_6_2_rate_warm_up_kl_entropy_and_clip(recipe: Recipe, tmp_path: Path) -> None:
    assert recipe.optimizer.learning_rate == 1e-6
    assert recipe.optimizer.warmup_steps == 20 * recipe.rollouts.updates
    args = recipe.config(tmp_path, world=8)
    assert (args.beta, args.entropy_coef) == (1e-3, 0)
    assert (args.epsilon, args.epsilon_high, args.delta) == (0.2, 0.2, None)
    assert (args.loss_type, args.lr_scheduler_type) == ("dapo", "constant_with_warmup")
    assert (recipe.baseline.name, recipe.baseline.scale, recipe.credit.name) == ("group_mean", "none", "outcome")


def test_6_2_sampling(recipe: Recipe) -> None:
    assert (recipe.rollouts.temperature, recipe.rollouts.top_p) == (1.0, 1.0)


@pytest.mark.parametrize(("size", "world"), [("7B", 32), ("14B", 128)], indirect=["size"])
def test_6_2_hardware(recipe: Recipe, world: int, tmp_path: Path) -> None:
    """4 x 8 and 16 x 8 GPUs: the rows of a batch can be shared out to them."""
    cuts = {} if world == 32 else {"rollouts.micro_batches": 2}
    fitting = recipe if not cuts else load_recipe("memagent-7b", overrides=RECIPES["14B"] | cuts)
    args = fitting.config(tmp_path, world=world)
    assert args.per_device_train_batch_size * world * args.steps_per_generation == recipe.rollouts.prompts * 16
    assert args.max_completion_length == 1024
    assert recipe.rollouts.token_budget is not None
    assert recipe.rollouts.token_budget >= args.vllm_max_model_length, "the longest row must fit alone"
    assert args.use_vllm
    assert not args.vllm_importance_sampling_correction


# -- the reward -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "golds", "share"),
    [
        (r"\boxed{7, 12 and 30}", ["7", "12", "30"], 1.0),
        (r"\boxed{7, 12}", ["7", "12", "30", "41"], 0.5),
        (r"\boxed{12}", ["1", "2"], 0.0),
        (r"\boxed{New York; PARIS}", ["paris", "new york"], 1.0),
        (r"\boxed{Paris}", ["Paris", "Paris"], 1.0),
        (r"Paris, Lyon \boxed{Paris}", ["Paris", "Lyon"], 0.5),
        ("Paris", ["Paris"], 0.0),
        (r"\boxed{Paris}" + "x" * 400, ["Paris"], 1.0),
    ],
)
def test_6_2_where_all_golds_must_appear_the_share_of_golds_found(response: str, golds: list[str], share: float) -> None:
    assert golds_found(response, golds) == share


def test_6_2_no_gold_to_find_is_refused() -> None:
    with pytest.raises(InputError, match="one gold answer or more"):
        golds_found(r"\boxed{7}", [])


def test_6_2_the_reward_is_chosen_by_the_recipe() -> None:
    from memagent.models.base import Reply

    def earned(**settings: Any) -> float:
        loop = TextMemory(TokenCutter(character_tokenizer(string.printable)), settings=MemagentSettings(**settings)).episode(
            {"id": "q", "question": "which?", "context": "", "answers": ["7", "12"]}, seed=0
        )
        next(loop)
        try:
            loop.send(Reply(text=r"\boxed{7}"))
        except StopIteration as end:
            return float(end.value.rewards["answer"])
        raise AssertionError("one turn was to be asked")

    assert (earned(), earned(all_golds=True)) == (1.0, 0.5)
    assert load_recipe("memagent-7b", overrides={"objective.memagent.all_golds": True}).objective.memagent.all_golds
