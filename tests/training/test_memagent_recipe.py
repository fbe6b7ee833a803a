"""MemAgent's recipe (arXiv 2507.02259): its settings, and what a tiny policy is trained on by it."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memagent.errors import ConfigError
from memagent.text.token_chunks import TokenCutter

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("trl", reason="trl is not installed")
pytest.importorskip("peft", reason="peft is not installed")

import torch
from helpers.checkpoints import character_tokenizer, saved_qwen2, saved_qwen_vl, tiny_llama
from helpers.episodes import played
from helpers.training_runs import TINY_RUN, run_recipe
from scripted_runs import Run, ours

from memagent_training.engines import ScriptedEngine
from memagent_training.engines.base import Prompt
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.credit import OutcomeCredit
from memagent_training.grpo.judge import Judge
from memagent_training.objectives.memagent import MemagentSettings, TextMemory
from memagent_training.policy import Lora, PretrainedPolicy
from memagent_training.recipe import Recipe, load_recipe
from memagent_training.rows.batch import to_rows
from memagent_training.run import build_trainer, train
from memagent_training.runs.callbacks import read_metrics
from memagent_training.trainer import MemGRPOTrainer

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


def test_one_rollout_is_several_conversations(run: Run) -> None:
    counts = {rollout.prompt_id: len(rollout.segments) for rollout in run.trainer.rollouts}
    assert len(set(counts.values())) > 1, "n_i differs from question to question"
    assert min(counts.values()) >= 2
    for rollout in run.trainer.rollouts:
        assert len(rollout.segments) == counts[rollout.prompt_id]
        assert len({tuple(segment.prompt_ids) for segment in rollout.segments}) == len(rollout.segments)
        assert all(segment.mask is None or all(segment.mask) for segment in rollout.segments)


def test_bookkeeping_says_which_rollout_and_which_is_the_answer(run: Run) -> None:
    judge = Judge(GroupMean(scale="none"))
    rows = to_rows(groups_of(run), credit=OutcomeCredit(), judge=judge, weighting="rollout")
    by_rollout: dict[str, list[str]] = {}
    for row in rows:
        by_rollout.setdefault(row.rollout_id, []).append(row.segment.role)
    assert by_rollout.keys() == {rollout.id for rollout in run.trainer.rollouts}
    assert all(roles == ["draft"] * (len(roles) - 1) + ["answer"] for roles in by_rollout.values())


def test_only_the_last_conversation_is_scored(run: Run) -> None:
    for group in groups_of(run):  # every draft says \boxed{lyon}
        assert [rollout.rewards for rollout in group] == [{"answer": 1.0}] + [{"answer": 0.0}] * (GROUP - 1)
        assert [rollout.answer for rollout in group] == ["lyon"] + ["rome"] * (GROUP - 1)
        assert [rollout.correct for rollout in group] == [True] + [False] * (GROUP - 1)


def test_the_advantage_is_reward_minus_mean_on_every_token_of_every_conversation(run: Run) -> None:
    for group in groups_of(run):
        assigned = OutcomeCredit().assign([group], judge=Judge(GroupMean(scale="none")))[0]
        for place, (rollout, advantages) in enumerate(zip(group, assigned, strict=True)):
            wanted = 0.75 if place == 0 else -0.25  # not divided by the deviation
            assert [len(one) for one in advantages] == [len(segment.ids) for segment in rollout.segments]
            np.testing.assert_allclose(np.concatenate(advantages), wanted)


def test_equal_rewards_in_a_group_teach_nothing(run: Run) -> None:
    wrong = groups_of(run)[0][1:]
    assigned = OutcomeCredit().assign([wrong], judge=Judge(GroupMean(scale="none")))[0]
    assert all(not one.any() for rollout in assigned for one in rollout)


def test_each_conversation_is_a_training_sequence_of_its_own(run: Run) -> None:
    batch = run.batches[0]
    spoken = sorted(
        (tuple(segment.prompt_ids), tuple(segment.ids)) for rollout in run.trainer.rollouts for segment in rollout.segments
    )
    prompts = [tuple(ids[mask.bool()].tolist()) for ids, mask in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)]
    said = [
        tuple(ids[mask.bool()].tolist()) for ids, mask in zip(batch["completion_ids"], batch["completion_mask"], strict=True)
    ]
    assert sorted(zip(prompts, said, strict=True)) == spoken


def test_the_loss_is_the_mean_over_all_tokens_of_all_conversations(run: Run) -> None:
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


@pytest.mark.slow
def test_batches_of_any_number_of_conversations_make_the_same_number_of_steps(tmp_path: Path) -> None:
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


def test_base(recipe: Recipe, size: str) -> None:
    policy = recipe.settings()["policy"]
    assert (policy["path"], policy["lora"], policy["vision"]) == (f"Qwen/Qwen2.5-{size}-Instruct", None, False)


def test_prompts_per_step_group_and_mini_batch(recipe: Recipe, size: str) -> None:
    prompts, per_mini_batch = (128, 8) if size == "7B" else (256, 16)
    assert (recipe.rollouts.prompts, recipe.rollouts.group_size) == (prompts, 16)
    assert recipe.rollouts.prompts // recipe.rollouts.updates == per_mini_batch


def test_rate_warm_up_kl_entropy_and_clip(recipe: Recipe, tmp_path: Path) -> None:
    assert recipe.optimizer.learning_rate == 1e-6
    assert recipe.optimizer.warmup_steps == 20 * recipe.rollouts.updates
    args = recipe.config(tmp_path, world=8)
    assert (args.beta, args.entropy_coef) == (1e-3, 0)
    assert (args.epsilon, args.epsilon_high, args.delta) == (0.2, 0.2, None)
    assert (args.loss_type, args.lr_scheduler_type) == ("dapo", "constant_with_warmup")
    assert (recipe.baseline.name, recipe.baseline.scale, recipe.credit.name) == ("group_mean", "none", "outcome")


def test_sampling(recipe: Recipe) -> None:
    assert (recipe.rollouts.temperature, recipe.rollouts.top_p) == (1.0, 1.0)


@pytest.mark.parametrize(("size", "world"), [("7B", 32), ("14B", 128)], indirect=["size"])
def test_hardware(recipe: Recipe, world: int, tmp_path: Path) -> None:
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


def test_the_reward_is_chosen_by_the_recipe() -> None:
    def earned(**settings: Any) -> float:
        loop = TextMemory(TokenCutter(character_tokenizer(string.printable)), settings=MemagentSettings(**settings)).episode(
            {"id": "q", "question": "which?", "context": "", "answers": ["7", "12"]}, seed=0
        )
        return played(loop, lambda _: r"\boxed{7}")[1].rewards["answer"]

    assert (earned(), earned(all_golds=True)) == (1.0, 0.5)
    assert load_recipe("memagent-7b", overrides={"objective.all_golds": True}).objective.all_golds


ROOT = Path(__file__).parents[2]


WORLDS = {"kind": "long_qa", "facts": 3, "hops": [1], "joined": 2}


SMALL: dict[str, object] = TINY_RUN | {"trl": {}, "task": WORLDS}


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_the_recipe_trains_a_tiny_qwen2_for_three_steps(processes: int, tmp_path: Path) -> None:
    start = saved_qwen2(tmp_path / "start")

    plain = {place: value for place, value in SMALL.items() if place not in ("trl", "task")} | {"policy.path": str(start)}
    run_recipe(
        "memagent-7b",
        tmp_path / "out",
        plain,
        tables={"trl": "{}", "task": '{kind = "long_qa", facts = 3, hops = [1], joined = 2}'},
        processes=processes,
    )

    steps = [row for row in read_metrics(tmp_path / "out" / "metrics.jsonl") if "loss" in row]
    assert [row["step"] for row in steps] == [1, 2, 3]
    assert all("rewards/answer" in row and "kl" in row for row in steps)
    rollouts = [
        json.loads(line) for path in (tmp_path / "out").glob("*rollouts*") for line in path.read_text("utf-8").splitlines()
    ]
    assert len([line for line in rollouts if "id" in line]) == 3 * 4
    assert (tmp_path / "out" / "checkpoint-3").is_dir()


def test_a_tiny_qwen2_takes_one_step_of_the_recipe(tmp_path: Path) -> None:
    start = saved_qwen2(tmp_path / "start")
    changed = SMALL | {"policy.path": str(start), "optimizer.steps": 1, "save_every": 1, "optimizer.learning_rate": 0.1}
    trainer = build_trainer(load_recipe("memagent-7b", overrides=changed), tmp_path / "out", quiet=True)

    train(trainer)

    roles = [[segment.role for segment in rollout.segments] for rollout in trainer.rollouts]
    assert all(one[-1] == "answer" and set(one[:-1]) == {"draft"} for one in roles)
    assert min(map(len, roles)) >= 4, "joined worlds span several chunks"
    assert max(len(segment.ids) for rollout in trainer.rollouts for segment in rollout.segments) <= 12


def adapters() -> Lora:
    """Of the small recipe."""
    policy = load_recipe("memocr-qwen3-vl-2b-lora").policy
    assert isinstance(policy, PretrainedPolicy)
    assert policy.lora is not None
    return policy.lora


def half_right(trainer: MemGRPOTrainer) -> Callable[[Prompt], list[int]]:
    """The first attempt of each group reads the answer off its picture, the others read nothing."""
    answers = {str(row["question"]): str(row["answers"][0]) for row in trainer.train_dataset}
    tokenizer = trainer.policy_tokenizer._tokenizer

    def script(prompt: Prompt) -> list[int]:
        asked = tokenizer.decode(list(prompt.ids))
        gold = next((answer for question, answer in answers.items() if question in asked), "")
        read = f"\\boxed{{{gold}}}" if gold and prompt.attempt == 0 else "no"
        return list(tokenizer(read if prompt.images else "# words", add_special_tokens=False)["input_ids"])

    return script


@pytest.mark.slow
def test_adapters_of_the_small_recipe_are_float32_on_a_bfloat16_language_part_and_learn(tmp_path: Path) -> None:
    start = saved_qwen_vl(tmp_path / "start", "3", alphabet=string.printable)
    changed = {
        **{place: value for place, value in SMALL.items() if "memagent" not in place},
        "policy.path": str(start),
        "objective.budget": 64,
        "objective.chunk_tokens": 300,
        "objective.memory_tokens": 24,
        "objective.answer_tokens": 24,
        "loss.old": "trainer",  # the engine of SMALL is the policy itself
        "optimizer.steps": 1,
        "save_every": 1,
    }
    trainer = build_trainer(load_recipe("memocr-qwen3-vl-2b-lora", overrides=changed), tmp_path / "out", quiet=True)
    weights = dict(trainer.model.named_parameters())
    trained = {name: one for name, one in weights.items() if one.requires_grad}
    assert trained
    assert all("lora" in name and "language_model" in name for name in trained)
    assert {one.dtype for one in trained.values()} == {torch.float32}
    assert {one.dtype for one in weights.values() if not one.requires_grad} == {torch.bfloat16}
    targets = adapters().target_modules
    assert all(any(f".{target}.lora_" in name for name in trained) for target in targets), "every target is there"
    start_model = {name: one.detach().clone() for name, one in weights.items()}
    trainer.engine = ScriptedEngine(script=half_right(trainer))

    train(trainer)

    assert trainer.ref_model is None, "the start model is the policy without its adapters"
    moved = {name for name, one in weights.items() if not torch.equal(one, start_model[name])}
    assert moved
    assert moved <= set(trained)
    assert (tmp_path / "out" / "checkpoint-1" / "adapter_model.safetensors").is_file()


def test_the_small_recipe_says_what_it_is_for(tmp_path: Path) -> None:
    recipe = load_recipe("memocr-qwen3-vl-2b-lora")
    args = recipe.config(tmp_path, world=1)
    longest = recipe.objective.chunk_tokens + recipe.objective.memory_tokens * 2 + 1024
    assert longest < args.vllm_max_model_length <= recipe.rollouts.token_budget
    assert (recipe.policy.kind, adapters().r) == ("pretrained", 32)
    assert (args.bf16, args.activation_checkpointing, args.vllm_enable_sleep_mode) == (True, True, True)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"task.kind": "cipher"},
            'objective "memagent" does not go with task "cipher"; it is for amemgym_questions, long_qa',
        ),
        ({"policy.kind": "tiny"}, 'objective "memagent" needs a chat template: take a pretrained policy'),
        ({"objective.max_chunks": 0}, "are 1 or more"),
        ({"credit.kind": "memocr"}, 'credit "memocr" spreads the rewards'),
    ],
)
def test_recipes_that_memagent_cannot_run_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_recipe("memagent-7b", overrides=changed)
