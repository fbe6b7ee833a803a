from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

pytest.importorskip("trl", reason="the loss is compared with TRL's")

import torch
from torch import Tensor
from trl import GRPOTrainer

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.loss import PolicyLoss, policy_loss

ROWS, TOKENS, LONGEST = 5, 7, 9


class Batch:
    """Random tokens, some far from the sampler so that every clip bites; the last row is padding."""

    def __init__(self, *, seed: int = 0, per_token: bool = False) -> None:
        draw = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        self.old = -normal(ROWS, TOKENS).abs()
        self.logps = self.old + 0.8 * normal(ROWS, TOKENS)
        self.ref = self.old + 0.3 * normal(ROWS, TOKENS)
        self.advantages = normal(ROWS, TOKENS) if per_token else normal(ROWS)
        lengths = torch.tensor([7, 5, 1, 6, 0])
        self.mask = (torch.arange(TOKENS) < lengths[:, None]).long()
        self.mask[1, 2] = 0  # said by somebody else

    def ours(self, **options: Any) -> tuple[PolicyLoss, Tensor]:
        logps = self.logps.clone().requires_grad_()
        result = policy_loss(logps, self.old, self.advantages, self.mask, **options)
        result.loss.backward()
        assert logps.grad is not None
        return result, logps.grad

    def trl(self, *, loss_type: str, low: float, high: float, delta: float | None, beta: float) -> tuple[Any, Tensor, Any]:
        logps = self.logps.clone().requires_grad_()
        trainer = SimpleNamespace(
            _get_per_token_logps_and_entropies=lambda *_, **__: (logps, torch.zeros_like(logps), None),
            aux_loss_enabled=False,
            top_entropy_quantile=1.0,
            off_policy_mask_threshold=None,
            importance_sampling_level="token",
            beta=beta,
            args=SimpleNamespace(use_bias_correction_kl=False, delta=delta, steps_per_generation=1),
            loss_type=loss_type,
            epsilon_low=low,
            epsilon_high=high,
            use_vllm=False,
            model=SimpleNamespace(training=True),
            current_gradient_accumulation_steps=1,
            max_completion_length=LONGEST,
            accelerator=SimpleNamespace(
                num_processes=1, sync_gradients=True, gather=lambda one: one, reduce=lambda one, reduction: one
            ),
            _entropy_bonus_enabled=False,
            entropy_coef=0.0,
            _metrics={"train": Metrics()},
        )
        completion_mask = self.mask.clone()
        completion_mask[1, 2] = 1
        inputs = {
            "prompt_ids": torch.ones(ROWS, 2, dtype=torch.long),
            "prompt_mask": torch.ones(ROWS, 2, dtype=torch.long),
            "completion_ids": torch.ones(ROWS, TOKENS, dtype=torch.long),
            "completion_mask": completion_mask,
            "tool_mask": self.mask,
            "advantages": self.advantages,
            "old_per_token_logps": self.old,
            "ref_per_token_logps": self.ref,
            "num_items_in_batch": torch.tensor(31.0, dtype=torch.float64),
        }
        loss = GRPOTrainer._compute_loss(trainer, None, inputs)
        loss.backward()
        assert logps.grad is not None
        return loss, logps.grad, trainer._metrics["train"]


class Metrics(dict[str, list[float]]):
    def __missing__(self, key: str) -> list[float]:
        return self.setdefault(key, [])


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo"])
@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize(("dual", "beta", "high"), [(None, 0.0, 0.2), (None, 0.04, 0.28), (1.5, 0.0, 0.28), (3.0, 0.1, 0.2)])
def test_values_and_gradients_are_those_of_trl(
    loss_type: Any, per_token: bool, dual: float | None, beta: float, high: float
) -> None:
    batch = Batch(per_token=per_token)
    theirs, their_gradient, metrics = batch.trl(loss_type=loss_type, low=0.2, high=high, delta=dual, beta=beta)
    ours, gradient = batch.ours(
        loss_type=loss_type,
        epsilon_high=high,
        dual_clip=dual,
        ref_logps=batch.ref if beta else None,
        beta=beta,
        num_items=31.0,
        max_completion_length=LONGEST,
    )

    torch.testing.assert_close(ours.loss, theirs, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, their_gradient, rtol=0, atol=1e-12)
    assert ours.clip_low.item() == pytest.approx(metrics["clip_ratio/low_mean"][0], abs=1e-6)
    assert ours.clip_high.item() == pytest.approx(metrics["clip_ratio/high_mean"][0], abs=1e-6)
    assert (ours.kl is None) == (not beta)
    if ours.kl is not None:
        assert ours.kl.item() == pytest.approx(metrics["kl"][0], abs=1e-6)
    assert dual is None or ours.clip_dual > 0 or dual == 3.0


def one(ratio: float, advantage: float, **options: Any) -> tuple[float, float]:
    """Loss and gradient of a single token of this ratio."""
    logps = torch.tensor([[ratio]], dtype=torch.float64).log().requires_grad_()
    result = policy_loss(logps, torch.zeros(1, 1), torch.tensor([advantage]), torch.ones(1, 1), **options)
    result.loss.backward()
    assert logps.grad is not None
    return result.loss.item(), logps.grad.item()


def test_one_token_by_hand() -> None:
    assert one(1.1, 2.0) == pytest.approx((-2.2, -2.2))
    assert one(1.5, 2.0) == pytest.approx((-2.4, 0.0))  # clipped at 1.2
    assert one(1.5, 2.0, epsilon_high=0.28) == pytest.approx((-2.56, 0.0))
    assert one(0.5, -2.0) == pytest.approx((1.6, 0.0))  # clipped at 0.8
    assert one(5.0, -2.0) == pytest.approx((10.0, 10.0))  # unbounded
    assert one(5.0, -2.0, dual_clip=3.0) == pytest.approx((6.0, 0.0))
    assert one(5.0, 2.0, dual_clip=3.0) == pytest.approx((-2.4, 0.0))  # no say in gains


def test_the_three_ways_to_add_up_by_hand() -> None:
    logps = torch.zeros(2, 3)
    advantages = torch.tensor([1.0, -2.0])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])

    def loss(**options: Any) -> float:
        return policy_loss(logps, None, advantages, mask, **options).loss.item()

    assert loss() == pytest.approx((-3 + 2) / 4)
    assert loss(num_items=8) == pytest.approx((-3 + 2) / 8)
    assert loss(loss_type="grpo") == pytest.approx((-1 + 2) / 2)
    assert loss(loss_type="dr_grpo", max_completion_length=5) == pytest.approx((-3 + 2) / 10)


def test_splitting_rows_leaves_dapo_alone_and_changes_grpo() -> None:
    whole, split = torch.zeros(1, 4), torch.zeros(2, 2)
    turns = torch.tensor([[1.0, 1.0, 1.0, -1.0]])
    mask = torch.tensor([[1, 1, 0, 1]])

    def both(loss_type: Any) -> tuple[float, float]:
        first = policy_loss(whole, None, turns, mask, loss_type=loss_type).loss
        second = policy_loss(split, None, turns.view(2, 2), mask.view(2, 2), loss_type=loss_type).loss
        return first.item(), second.item()

    assert both("dapo") == pytest.approx((-1 / 3, -1 / 3))
    assert both("grpo") == pytest.approx((-1 / 3, 0.0))


def test_clamps_hold_log_ratios_and_kl() -> None:
    logps = torch.tensor([[50.0, -50.0]], dtype=torch.float64, requires_grad=True)
    old = torch.zeros(1, 2, dtype=torch.float64)

    result = policy_loss(
        logps, old, torch.tensor([-1.0]), torch.ones(1, 2), ref_logps=old, beta=1e-3, log_ratio_clamp=20.0, kl_clamp=10.0
    )

    assert result.kl is not None
    d = 20.0
    kl = (torch.exp(torch.tensor(-d)).item() + d - 1, torch.exp(torch.tensor(d)).item() - d - 1)
    assert result.kl.item() == pytest.approx((min(kl[0], 10) + min(kl[1], 10)) / 2)
    assert result.loss.item() == pytest.approx((torch.tensor(d, dtype=torch.float64).exp().item() + 0.8) / 2 + 1e-3 * 10)
    result.loss.backward()
    assert logps.grad is not None
    assert logps.grad.tolist() == [[0.0, 0.0]]  # nothing moves beyond the clamps


def test_clamps_that_do_not_bite_change_nothing() -> None:
    batch = Batch()
    options: dict[str, Any] = {"ref_logps": batch.ref, "beta": 0.1}
    plain, gradient = batch.ours(**options)
    clamped, clamped_gradient = batch.ours(**options, log_ratio_clamp=20.0, kl_clamp=50.0)

    assert torch.equal(plain.loss, clamped.loss)
    assert torch.equal(gradient, clamped_gradient)


def test_masked_places_count_for_nothing_whatever_stands_there() -> None:
    batch = Batch()
    clean, gradient = batch.ours(ref_logps=batch.ref, beta=0.1)
    batch.old = batch.old.masked_fill(batch.mask == 0, -1e9)
    batch.ref = batch.ref.masked_fill(batch.mask == 0, float("nan"))
    dirty, dirty_gradient = batch.ours(ref_logps=batch.ref, beta=0.1)

    assert torch.equal(clean.loss, dirty.loss)
    assert torch.equal(gradient, dirty_gradient)
    assert torch.all(gradient[batch.mask == 0] == 0)


def test_padding_rows_have_no_loss_and_no_gradient() -> None:
    logps = torch.zeros(2, 3, requires_grad=True)
    result = policy_loss(logps, None, torch.ones(2), torch.zeros(2, 3))
    result.loss.backward()

    assert result.loss.item() == 0
    assert logps.grad is not None
    assert logps.grad.abs().sum() == 0
    assert [one.item() for one in (result.clip_low, result.clip_high, result.clip_dual)] == [0, 0, 0]


def test_a_reference_without_beta_is_measured_and_not_trained_on() -> None:
    batch = Batch()
    plain, _ = batch.ours()
    measured, _ = batch.ours(ref_logps=batch.ref)

    assert torch.equal(plain.loss, measured.loss)
    assert measured.kl is not None
    assert measured.kl > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss_type": "bnpo"}, "dapo, grpo, dr_grpo"),
        ({"epsilon_low": -0.1}, "none may be negative"),
        ({"beta": float("nan")}, "none may be negative"),
        ({"dual_clip": 1.2}, "above 1"),
        ({"loss_type": "dr_grpo"}, "max_completion_length"),
        ({"log_ratio_clamp": 0.0}, "log_ratio_clamp"),
        ({"kl_clamp": -1.0}, "kl_clamp"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        policy_loss(torch.zeros(1, 1), None, torch.zeros(1), torch.ones(1, 1), **options)


def test_shapes_that_do_not_fit_are_refused() -> None:
    logps, ok = torch.zeros(2, 3), torch.ones(2, 3)
    with pytest.raises(InputError, match="`logps` has shape"):
        policy_loss(torch.zeros(0, 3), None, torch.zeros(0), torch.zeros(0, 3))
    with pytest.raises(InputError, match="`mask` has shape"):
        policy_loss(logps, None, torch.zeros(2), torch.ones(2, 4))
    with pytest.raises(InputError, match="`old_logps` has shape"):
        policy_loss(logps, torch.zeros(3, 2), torch.zeros(2), ok)
    with pytest.raises(InputError, match="`advantages` has shape"):
        policy_loss(logps, None, torch.zeros(3), ok)
    with pytest.raises(InputError, match="no `ref_logps`"):
        policy_loss(logps, None, torch.zeros(2), ok, beta=0.1)
