"""Our trainer against TRL's own, and against itself where two settings must mean the same thing."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from scripted_runs import ALL_ROWS, TRL_MEAN, Graded, Run, Sizes, Talk, grade, ours, plan, policy, rows, said, stock

from memagent.memory.memocr.loops import Loop
from memagent_training.grpo.allocators import CobaAllocator, UniformAllocator
from memagent_training.grpo.credit import HianCredit, OutcomeCredit
from memagent_training.objectives import SelfVerify, SingleTurn
from memagent_training.objectives.base import EpisodeResult, Roll, Task
from memagent_training.rollouts.driver import seed_of
from memagent_training.tasks import Cipher

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

SETTINGS: dict[str, dict[str, Any]] = {
    "one micro-batch": {},
    "accumulation": {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4},
    "two updates a batch": {"steps_per_generation": 2, "per_device_train_batch_size": 4, "max_steps": 2},
    "two updates of two": {
        "steps_per_generation": 4,
        "gradient_accumulation_steps": 2,
        "per_device_train_batch_size": 2,
        "max_steps": 2,
    },
    "two epochs": {"num_iterations": 2, "max_steps": 2},
    "kl": {"beta": 0.3, "num_iterations": 2, "max_steps": 2},
    "dual clip": {"delta": 1.05, "epsilon": 0.02, "epsilon_high": 0.03, "num_iterations": 3, "max_steps": 3},
    "several batches": {"max_steps": 4},
}


@pytest.fixture(autouse=True, scope="module")
def _frozen() -> Iterator[None]:
    """accelerate collects garbage whenever a run starts, which takes longer than the run unless the libraries are left out."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def same(left: Run, right: Run, *, tolerance: float) -> None:
    """Losses, gradients of every window and final parameters agree."""
    assert len(left.losses) == len(right.losses)
    assert left.losses == pytest.approx(right.losses, abs=tolerance, rel=tolerance)
    assert len(left.gradients) == len(right.gradients)
    for one, other in zip(left.gradients, right.gradients, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(left.parameters, right.parameters, atol=tolerance, rtol=tolerance)


def identical(left: Run, right: Run) -> None:
    """They agree in every bit."""
    assert left.losses == right.losses
    assert len(left.gradients) == len(right.gradients)
    assert all(torch.equal(one, other) for one, other in zip(left.gradients, right.gradients, strict=True))
    assert torch.equal(left.parameters, right.parameters)
    assert all(
        torch.equal(one["advantages"], other["advantages"]) for one, other in zip(left.batches, right.batches, strict=True)
    )


# -- TRL ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo"])
def test_loss_and_gradients_are_those_of_stock_trl(tmp_path: Path, loss: str, setting: str) -> None:
    settings = {**SETTINGS[setting], "loss_type": loss}

    def model() -> Any:
        return policy(tmp_path / "policy") if "beta" in settings else policy()

    mine = ours(tmp_path / "ours", model=model(), **settings)
    cut = {"steps_per_generation", "gradient_accumulation_steps"} & set(settings)
    order = plan(mine) if cut else None  # TRL draws lots for who shares a micro-batch; here they fall as we plan it
    theirs = stock(tmp_path / "stock", model=model(), order=order, **settings)

    same(mine, theirs, tolerance=1e-5)
    assert mine.gradients[0].abs().max() > 1e-2
    assert mine.logs[0]["entropy"] == pytest.approx(theirs.logs[0]["entropy"], rel=1e-5)
    assert mine.logs[0]["reward"] == pytest.approx(theirs.logs[0]["reward"], rel=1e-5)
    if "beta" in settings:
        assert mine.logs[1]["kl"] == pytest.approx(theirs.logs[1]["kl"], rel=1e-4)
        assert mine.logs[1]["kl"] > 0
    if "delta" in settings:
        assert mine.logs[2]["clip_ratio/region_mean"] == pytest.approx(theirs.logs[2]["clip_ratio/region_mean"])
        assert mine.logs[2]["clip_ratio/region_mean"] > 0


def test_keys_of_a_plain_batch_are_those_of_stock_trl(tmp_path: Path) -> None:
    mine, theirs = ours(tmp_path / "ours"), stock(tmp_path / "stock")

    assert list(mine.batches[0]) == list(theirs.batches[0])
    for key, value in theirs.batches[0].items():
        found = mine.batches[0][key]
        assert found.dtype == value.dtype, key
        if key not in ("advantages", "num_items_in_batch"):
            order = plan(mine)
            assert torch.equal(found, value[order]), key


def test_training_on_what_the_policy_samples_is_that_of_stock_trl(tmp_path: Path) -> None:
    mine = ours(tmp_path / "ours", script=None, max_steps=6)

    from trl import GRPOTrainer

    generate = GRPOTrainer._generate_single_turn

    def seeded(self: Any, *arguments: Any, **options: Any) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(seed_of(self.args.seed, self.state.global_step, 0, 0), 0))
            return generate(self, *arguments, **options)

    with patch.object(GRPOTrainer, "_generate_single_turn", seeded):
        theirs = stock(tmp_path / "stock", script=None, max_steps=6)

    assert [log["reward"] for log in mine.logs[:6]] == pytest.approx([log["reward"] for log in theirs.logs[:6]], rel=1e-6)
    assert len({log["reward"] for log in mine.logs[:6]}) > 3
    same(mine, theirs, tolerance=1e-5)


# -- parts that must not matter ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["released", "paper"])
def test_coba_allocation_forced_uniform_is_the_plain_trainer_bit_for_bit(tmp_path: Path, mode: Any) -> None:
    settings = {"max_steps": 3, "loss_type": "dapo"}
    plain = ours(tmp_path / "plain", parts={"allocator": UniformAllocator()}, **settings)
    forced = ours(tmp_path / "forced", parts={"allocator": CobaAllocator(low=4, high=4, mode=mode)}, **settings)

    assert forced.trainer.history.failure is not None
    identical(plain, forced)


def test_hian_session_mode_is_plain_grpo_bit_for_bit(tmp_path: Path) -> None:
    settings = {"max_steps": 3, "loss_type": "dapo", "objective": Talk(), "script": talking}
    plain = ours(tmp_path / "plain", parts={"credit": OutcomeCredit()}, **settings)
    session = ours(tmp_path / "session", parts={"credit": HianCredit(w_turn=0.0)}, **settings)
    turns = ours(tmp_path / "turns", parts={"credit": HianCredit(w_turn=1.0)}, **settings)

    identical(plain, session)
    assert not torch.allclose(plain.gradients[0], turns.gradients[0])


def test_self_verify_generate_mode_is_plain_grpo_bit_for_bit(tmp_path: Path) -> None:
    family = Cipher(n_ops=4, min_length=1, max_length=1, test_share=0.0)
    plain = ours(tmp_path / "plain", script=None, objective=SingleTurn(family), **family_run(family))
    wrapped = SelfVerify(SingleTurn(family), strategy="generate", n=4, seed=0, prompts=family)
    verify = ours(tmp_path / "verify", script=None, objective=wrapped, **family_run(family))

    identical(plain, verify)
    assert plain.gradients[0].abs().max() > 0


def family_run(family: Cipher) -> dict[str, Any]:
    from datasets import Dataset

    from memagent_training.policy import TinyPolicy, build_policy

    model = build_policy(TinyPolicy(width=16, layers=1, heads=2), alphabet=family.alphabet, seed=1)[:2]
    data = Dataset.from_list(list({row["id"]: row for row in family.tasks(40, seed=0)}.values()))
    return {"model": model, "parts": {"train_dataset": data}, "max_steps": 3, "per_device_train_batch_size": 32}


# -- rows -----------------------------------------------------------------------------------------------------------------


def talking(ids: Sequence[int], attempt: int) -> list[int]:
    return said(ids, attempt, longest=3, even=True)


def test_a_rollout_in_one_segment_and_in_three_has_the_same_dapo_gradient(tmp_path: Path) -> None:
    settings = {"loss_type": "dapo", "max_steps": 2, "script": talking}
    joined = ours(tmp_path / "one", objective=Talk(), **settings)
    apart = ours(tmp_path / "three", objective=Talk(roles=("turn", "answer", "turn")), **settings)

    assert {len(rollout.segments) for rollout in joined.trainer.rollouts} == {1}
    assert {len(rollout.segments) for rollout in apart.trainer.rollouts} == {3}
    assert apart.batches[0]["num_items_in_batch"] == joined.batches[0]["num_items_in_batch"] == 8 * 9
    same(joined, apart, tolerance=1e-6)
    assert joined.gradients[0].abs().max() > 1e-2


@pytest.mark.parametrize("turns", [1, 3])
def test_token_mean_over_conversations_and_steps_whatever_the_turns(tmp_path: Path, turns: int) -> None:
    talk = Talk(roles=("turn", "answer", "turn"), turns=lambda task: turns)
    settings = {"steps_per_generation": 2, "per_device_train_batch_size": 4, "max_steps": 4} | ALL_ROWS
    run = ours(tmp_path, objective=talk, script=talking, loss_type="dapo", **settings)

    assert len(run.gradients) == 4
    assert len(run.batches) == 2  # 8 rollouts in updates of 4: two optimizer steps a batch
    for batch in run.batches:
        assert len(batch["prompt_ids"]) == 8 * turns
        assert batch["num_items_in_batch"] == 8 * turns * 3
    # before the policy moves the ratio is 1: the loss is minus the mean over tokens, each update's scaled to half of them
    mask = run.batches[0].get("tool_mask", run.batches[0]["completion_mask"])
    half = (run.batches[0]["advantages"] * mask)[: 4 * turns].sum() / (4 * turns * 3)
    assert run.losses[0] == pytest.approx(-float(half), abs=1e-6)


def test_groups_filled_in_two_rounds_to_equal_sizes_are_fixed_groups_bit_for_bit(tmp_path: Path) -> None:
    settings = {"loss_type": "dapo", "max_steps": 3}
    fixed = ours(tmp_path / "fixed", **settings)
    grown = ours(tmp_path / "grown", parts={"allocator": Sizes(sizes=(1, 3), then=(3, 1))}, **settings)

    assert [rollout.id for rollout in fixed.trainer.rollouts] == [rollout.id for rollout in grown.trainer.rollouts]
    identical(fixed, grown)


def told_alike(left: Run, right: Run) -> None:
    """TRL's metrics are those of whole micro-batches."""
    for one, other in zip(left.logs, right.logs, strict=True):
        names = [name for name in one if name.startswith(("clip_ratio", "entropy", "policy_loss", "kl"))]
        assert len(names) >= 6 or "train_loss" in one
        for name in names:
            assert one[name] == pytest.approx(other[name], abs=1e-5), name


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("budget", [11, 24])
def test_parts_within_a_token_budget_add_up_to_the_gradient_of_whole_micro_batches(
    tmp_path: Path, budget: int, accumulation: int
) -> None:
    settings = {
        "loss_type": "dapo",
        "gradient_accumulation_steps": accumulation,
        "per_device_train_batch_size": 8 // accumulation,
        "num_iterations": 2,
        "max_steps": 2,
    }
    sizes = {"allocator": Sizes(sizes=(5, 2))}
    whole = ours(tmp_path / "whole", parts=sizes, **settings)
    cut = ours(tmp_path / "cut", parts=sizes | {"token_budget": budget}, **settings)

    parts = [len(one) for one in cut.trainer._sizes]
    assert min(parts) > 1
    assert max(log["rows/max_tokens"] for log in cut.logs if "rows/max_tokens" in log) <= budget
    same(whole, cut, tolerance=1e-6)
    told_alike(whole, cut)


@pytest.mark.parametrize("budget", [26, 14, 11])
def test_an_entropy_bonus_weighs_as_much_in_parts_as_in_whole_micro_batches(tmp_path: Path, budget: int) -> None:
    settings = {"loss_type": "dapo", "entropy_coef": 0.05, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}
    sizes = {"allocator": Sizes(sizes=(5, 2))}
    whole = ours(tmp_path / "whole", parts=sizes, **settings)
    cut = ours(tmp_path / "cut", parts=sizes | {"token_budget": budget}, **settings)

    assert max(len(one) for one in cut.trainer._sizes) > 1
    torch.testing.assert_close(cut.gradients[0], whole.gradients[0], atol=1e-6, rtol=1e-5)
    assert cut.logs[0]["loss"] == pytest.approx(whole.logs[0]["loss"], abs=1e-6)
    assert cut.logs[0]["entropy_coef"] == pytest.approx(0.05)
    told_alike(whole, cut)
    plain = ours(tmp_path / "plain", parts=sizes, **settings | {"entropy_coef": 0.0})
    assert (whole.gradients[0] - plain.gradients[0]).abs().max() > 1e-4  # the bonus is felt


def mixture_of_experts() -> tuple[Any, Any]:
    """A tiny policy of two layers with four experts each, of which every token goes to two."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    _, tokenizer = policy()
    torch.manual_seed(1)
    config = Qwen3MoeConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        moe_intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=96,
        router_aux_loss_coef=0.5,
        output_router_logits=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return Qwen3MoeForCausalLM(config), tokenizer


@pytest.mark.parametrize(("budget", "accumulation"), [(40, 1), (26, 2), (14, 2)])
def test_the_balance_of_experts_weighs_as_much_in_parts_as_in_whole_micro_batches(
    tmp_path: Path, budget: int, accumulation: int
) -> None:
    settings = {
        "loss_type": "dapo",
        "entropy_coef": 0.05,
        "gradient_accumulation_steps": accumulation,
        "per_device_train_batch_size": 8 // accumulation,
    }
    sizes = {"allocator": Sizes(sizes=(5, 3))}
    whole = ours(tmp_path / "whole", model=mixture_of_experts(), parts=sizes, **settings)
    cut = ours(tmp_path / "cut", model=mixture_of_experts(), parts=sizes | {"token_budget": budget}, **settings)

    assert max(len(one) for one in cut.trainer._sizes) > 1
    torch.testing.assert_close(cut.gradients[0], whole.gradients[0], atol=1e-6, rtol=1e-5)
    for name in ("loss", "aux_loss"):
        assert cut.logs[0][name] == pytest.approx(whole.logs[0][name], abs=1e-6)
    plain = ours(tmp_path / "plain", model=mixture_of_experts(), parts=sizes, router_aux_loss_coef=0.0, **settings)
    assert (whole.gradients[0] - plain.gradients[0]).abs().max() > 1e-4  # the balance is felt


@pytest.mark.parametrize("sizes", [(4, 3), (1, 4), (2, 1), (0, 5)])
def test_rows_that_fill_micro_batches_up_change_nothing(tmp_path: Path, sizes: tuple[int, int]) -> None:
    parts = {"allocator": Sizes(sizes=sizes)}
    settings = {"loss_type": "dapo", "max_steps": 2, "parts": parts}
    whole = ours(tmp_path / "whole", **settings)
    filled = ours(tmp_path / "filled", gradient_accumulation_steps=4, per_device_train_batch_size=2, **settings)

    assert len(whole.batches[0]["prompt_ids"]) == sum(sizes)
    assert len(filled.batches[0]["prompt_ids"]) == max(4, sum(sizes))  # a filler where a micro-batch is without a row
    assert filled.logs[0]["rows/fillers"] == max(0, 4 - sum(sizes))
    torch.testing.assert_close(filled.gradients[0], whole.gradients[0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(filled.parameters, whole.parameters, atol=1e-6, rtol=1e-5)


class HalfDead(Graded):
    """Every attempt at the first task that is tried earns the same; with `alive` False at all tasks."""

    def __init__(self, *, alive: bool = True) -> None:
        self.alive, self.first = alive, ""

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        self.first = self.first or str(task["id"])
        result = yield from super().episode(task, seed=seed)
        return replace(result, rewards={"answer": 0.5}) if task["id"] == self.first or not self.alive else result


def passes(output: Path, objective: Graded, **settings: Any) -> tuple[Run, list[int]]:
    """A run of two epochs, and the rows of each forward pass."""
    model, tokenizer = policy(output / "policy")
    taken: list[int] = []
    hook = model.model.register_forward_pre_hook(
        lambda module, arguments, options: taken.append(len(options["input_ids"])), with_kwargs=True
    )
    options = {"num_iterations": 2, "max_steps": 2, "loss_type": "dapo"} | settings
    run = ours(output / "run", objective=objective, model=(model, tokenizer), **options)
    hook.remove()
    return run, taken


def test_rows_of_advantage_0_go_through_no_pass_and_stay_in_the_divisor(tmp_path: Path) -> None:
    left_out, taken = passes(tmp_path / "left out", HalfDead())
    whole, all_taken = passes(tmp_path / "whole", HalfDead(), **ALL_ROWS)

    assert all_taken == [8, 8, 8]  # before the update, and in both epochs
    assert taken == [4, 4, 4]
    for one, other in zip(left_out.gradients, whole.gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-8, rtol=1e-5)
        assert other.abs().max() > 1e-2
    assert left_out.losses == pytest.approx(whole.losses, abs=1e-7)
    assert [log["rows/without_pass"] for log in (left_out.logs[0], whole.logs[0])] == [4, 0]
    assert [log["rows/total"] for log in (left_out.logs[0], whole.logs[0])] == [8, 8]
    assert len(passes(tmp_path / "kl", HalfDead(), beta=0.1)[0].batches[0]["prompt_ids"]) == 8


def test_a_batch_of_advantage_0_alone_steps_the_optimizer_without_a_gradient(tmp_path: Path) -> None:
    run, taken = passes(tmp_path, HalfDead(alive=False))

    assert taken == [1, 1, 1]  # a filler
    assert not any(one.any() for one in run.gradients)
    assert not run.trainer.skip_update


def test_the_dapo_gradient_is_the_formula_written_out(tmp_path: Path) -> None:
    sizes = (5, 2)
    accumulated = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}
    run = ours(tmp_path, parts={"allocator": Sizes(sizes=sizes)}, loss_type="dapo", **accumulated)
    model, tokenizer = policy()

    groups: dict[str, list[Any]] = {}
    for rollout in run.trainer.rollouts:
        groups.setdefault(rollout.group_id, []).append(rollout.segments[0])
    tokens = sum(len(segment.ids) for group in groups.values() for segment in group)
    total = torch.zeros(())
    for group in groups.values():
        rewards = torch.tensor([grade(tokenizer.decode(list(segment.ids), skip_special_tokens=True)) for segment in group])
        advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
        for segment, advantage in zip(group, advantages, strict=True):
            ids = torch.tensor([*segment.prompt_ids, *segment.ids])
            logps = model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
            total = total - advantage * logps[len(segment.prompt_ids) - 1 :].sum() / tokens
    total.backward()

    assert sorted(map(len, groups.values())) == sorted(sizes)
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    torch.testing.assert_close(run.gradients[0], expected, atol=1e-6, rtol=1e-4)


def test_losses_that_average_over_rows_refuse_ragged_groups_and_several_segments(tmp_path: Path) -> None:
    from memagent.errors import ConfigError

    with pytest.raises(ConfigError, match=r'needs \[loss\] type = "dapo"'):
        ours(tmp_path, parts={"allocator": CobaAllocator()}, loss_type="grpo")
    with pytest.raises(ConfigError, match="24 rows of 8 rollouts"):
        ours(tmp_path, objective=Talk(roles=("turn", "answer", "turn")), script=talking, loss_type="grpo")


# -- evaluation ----------------------------------------------------------------------------------------------------------


def test_an_evaluation_in_parts_has_the_loss_of_a_whole_one_and_no_gradient(tmp_path: Path) -> None:
    from datasets import Dataset

    data = {"eval_dataset": Dataset.from_list(rows(4)), "baseline": TRL_MEAN}
    settings = {"loss_type": "dapo", "per_device_eval_batch_size": 8, "num_generations_eval": 4, "num_iterations": 2}
    whole = ours(tmp_path / "whole", parts=dict(data), **settings).trainer
    cut = ours(tmp_path / "cut", parts=data | {"token_budget": 24}, **settings).trainer
    losses = []
    for trainer in (whole, cut):
        trainer.model.zero_grad()
        losses.append(trainer.evaluate()["eval_loss"])
        assert all(one.grad is None or not one.grad.any() for one in trainer.model.parameters())

    assert [len(trainer._sizes) for trainer in (whole, cut)] == [1, 1]
    assert len(whole._sizes[0]) == 1 < len(cut._sizes[0])
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)


# -- nothing to train on ---------------------------------------------------------------------------------------------------


class Skipping(Graded):
    """Nothing to train on in every second batch."""

    def batch(self, drawn: Sequence[Task], *, step: int, roll: Roll) -> Sequence[Task]:
        return [] if step % 2 else drawn


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_batch_with_nothing_to_train_on_moves_neither_parameters_nor_optimizer(tmp_path: Path, accumulation: int) -> None:
    from transformers import TrainerCallback

    seen: list[tuple[Any, Any]] = []

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, model: Any = None, optimizer: Any = None, **__: Any) -> None:
            states = [value.clone() for state in optimizer.state_dict()["state"].values() for value in state.values()]
            seen.append(([one.detach().clone() for one in model.parameters()], states))

    run = ours(
        tmp_path,
        objective=Skipping(),
        parts={"callbacks": [Watch()]},
        max_steps=4,
        optim="adamw_torch",
        weight_decay=0.5,
        learning_rate=1e-2,
        beta=0.0,
        gradient_accumulation_steps=accumulation,
        per_device_train_batch_size=8 // accumulation,
    )

    def alike(one: Any, other: Any) -> bool:
        return all(torch.equal(a, b) for a, b in zip([*one[0], *one[1]], [*other[0], *other[1]], strict=True))

    assert alike(seen[1], seen[0])
    assert not alike(seen[2], seen[1])
    assert alike(seen[3], seen[2])
    assert [log["rollouts/total"] for log in run.logs[:4]] == [8.0, 0.0, 8.0, 0.0]
    assert [log["rows/total"] for log in run.logs[:4]] == [8.0, 0.0, 8.0, 0.0]
    assert run.trainer.history.step == 2
