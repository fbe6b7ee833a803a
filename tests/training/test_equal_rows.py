"""Rows in parts within a token budget, fillers, and rows left out train as whole micro-batches of all rows do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted_runs import ALL_ROWS, TRL_MEAN, Graded, Run, Sizes, mixture_of_experts, ours, policy, rows, same

from memagent.memory.memocr.loops import Loop
from memagent_training.objectives.base import EpisodeResult, Roll, Task

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")


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
