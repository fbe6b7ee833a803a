"""Our trainer against TRL's own, and against itself where two settings must mean the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from scripted_runs import (
    ALL_ROWS,
    Sizes,
    Talk,
    grade,
    identical,
    ours,
    plan,
    policy,
    said,
    same,
    stock,
)

from memagent_training.grpo.allocators import CobaAllocator, UniformAllocator
from memagent_training.grpo.credit import HianCredit, OutcomeCredit
from memagent_training.objectives import SelfVerify, SingleTurn
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
