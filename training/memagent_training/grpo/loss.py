"""The policy loss: a clipped surrogate a token, an optional pull towards a reference, one of three ways to add up.

With rho = exp(logp - old_logp), a token's term is min(rho A, clip(rho, 1 - low, 1 + high) A) - beta KL, where
KL = exp(d) - d - 1 and d = ref_logp - logp (the k3 estimate). The clip holds a token that has become much likelier from
being pushed further up (and the other way round); `high` > `low` is DAPO's clip-higher. A token of negative advantage
that became likelier has no bound in it: `dual_clip` c keeps its surrogate at c A or above, without gradient beyond.

How tokens are added up decides what splitting a rollout into rows does:

    dapo     sum over tokens / `num_items`                  every token counts the same, however rows are cut
    grpo     mean over rows of the mean over their tokens   a row counts the same, short or long
    dr_grpo  sum over tokens / (rows x `max_completion_length`)

Values and gradients are those of TRL 1.16's `_compute_loss` before its division by accumulation steps (`dual_clip` is its
`delta`). The clamps are options of the papers that TRL lacks. This is the only module of the core that needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.validate import check_choice

LossType = Literal["dapo", "grpo", "dr_grpo"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PolicyLoss:
    """The loss and what happened to its tokens; shares and means are over trained tokens, 0 when there are none."""

    loss: Tensor
    """() with gradient."""
    clip_low: Tensor
    """() share of tokens with A < 0 and rho below the clip: pushed down no further."""
    clip_high: Tensor
    """() share of tokens with A > 0 and rho above the clip: pushed up no further."""
    clip_dual: Tensor
    """() share of tokens held by the dual clip; 0 without it."""
    kl: Tensor | None
    """() mean KL to the reference; None without one."""


def policy_loss(
    logps: Tensor,
    old_logps: Tensor | None,
    advantages: Tensor,
    mask: Tensor,
    *,
    loss_type: LossType = "dapo",
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.2,
    dual_clip: float | None = None,
    ref_logps: Tensor | None = None,
    beta: float = 0.0,
    num_items: float | Tensor | None = None,
    max_completion_length: int | None = None,
    log_ratio_clamp: float | None = None,
    kl_clamp: float | None = None,
) -> PolicyLoss:
    """The loss of one micro-batch of B rows and T tokens.

    `logps` (B, T) carries the gradient; `old_logps` (B, T) is the policy that sampled, None: the same (rho = 1).
    `advantages` is (B,) or (B, T); `mask` (B, T), 1 = trained. What stands at masked places does not matter.
    `num_items` is dapo's divisor, the trained tokens of the whole batch (None: those of `mask`).
    `log_ratio_clamp` bounds log rho and d, `kl_clamp` the KL of a token, both on either side; the papers use 20 and 10.
    Source: TRL; GRPO, DeepSeekMath (arXiv 2402.03300, equation 3); DAPO (arXiv 2503.14476, equation 8); Dr. GRPO (arXiv
    2503.20783); dual clip (arXiv 1912.09729).
    Raises `ConfigError` for settings out of range, `InputError` for shapes that do not fit.
    """
    _check_settings(loss_type, epsilon_low, epsilon_high, dual_clip, beta, max_completion_length, log_ratio_clamp, kl_clamp)
    _check_shapes(logps, old_logps, advantages, mask, ref_logps, beta)
    trained = mask.to(logps.dtype)  # (B, T)
    ignored = mask == 0
    advantage = advantages.to(logps.dtype)
    advantage = (advantage.unsqueeze(1) if advantage.dim() == 1 else advantage).expand_as(logps).masked_fill(ignored, 0.0)
    log_ratio = _difference(logps, logps.detach() if old_logps is None else old_logps, ignored, log_ratio_clamp)
    ratio = log_ratio.exp()
    surrogate = torch.min(ratio * advantage, ratio.clamp(1 - epsilon_low, 1 + epsilon_high) * advantage)
    held = torch.zeros_like(ignored)
    if dual_clip is not None:
        held = (advantage < 0) & (ratio > dual_clip)
        surrogate = torch.where(held, dual_clip * advantage, surrogate)
    token_loss, kl = -surrogate, None
    if ref_logps is not None:
        difference = _difference(ref_logps, logps, ignored, log_ratio_clamp)
        kl = difference.exp() - difference - 1
        kl = kl if kl_clamp is None else kl.clamp(-kl_clamp, kl_clamp)
        if beta:
            token_loss = token_loss + beta * kl
    return PolicyLoss(
        loss=_aggregate(token_loss, trained, loss_type, num_items, max_completion_length),
        clip_low=_mean((ratio < 1 - epsilon_low) & (advantage < 0), trained),
        clip_high=_mean((ratio > 1 + epsilon_high) & (advantage > 0), trained),
        clip_dual=_mean(held, trained),
        kl=None if kl is None else _mean(kl, trained),
    )


def _difference(first: Tensor, second: Tensor, ignored: Tensor, clamp: float | None) -> Tensor:
    """(B, T) first - second, 0 where ignored, so that no exp overflows there and no gradient becomes NaN."""
    difference = (first - second).masked_fill(ignored, 0.0)
    return difference if clamp is None else difference.clamp(-clamp, clamp)


def _aggregate(
    token_loss: Tensor, trained: Tensor, loss_type: LossType, num_items: float | Tensor | None, max_length: int | None
) -> Tensor:
    total = token_loss * trained
    if loss_type == "grpo":
        return (total.sum(-1) / trained.sum(-1).clamp(min=1.0)).mean()
    if loss_type == "dr_grpo" and max_length is not None:
        return total.sum() / (total.size(0) * max_length)
    items = trained.sum() if num_items is None else torch.as_tensor(num_items, dtype=total.dtype, device=total.device)
    return total.sum() / items.clamp(min=1.0)


def _mean(values: Tensor, trained: Tensor) -> Tensor:
    return ((values.detach() * trained).sum() / trained.sum().clamp(min=1.0)).detach()


def _check_settings(
    loss_type: str,
    low: float,
    high: float,
    dual_clip: float | None,
    beta: float,
    max_length: int | None,
    log_ratio_clamp: float | None,
    kl_clamp: float | None,
) -> None:
    check_choice("loss_type", loss_type, LossType, error=ConfigError)
    if not (low >= 0 and high >= 0 and beta >= 0):
        raise ConfigError(f"`epsilon_low`, `epsilon_high`, `beta` are {low}, {high}, {beta}; none may be negative")
    if dual_clip is not None and not dual_clip > 1 + high:
        raise ConfigError(f"`dual_clip` is {dual_clip}; it must be above 1 + `epsilon_high` = {1 + high}, or None")
    if loss_type == "dr_grpo" and not (max_length and max_length > 0):
        raise ConfigError(
            f"dr_grpo divides by `max_completion_length`, which is {max_length}; give a positive number of tokens"
        )
    for name, clamp in (("log_ratio_clamp", log_ratio_clamp), ("kl_clamp", kl_clamp)):
        if clamp is not None and not clamp > 0:
            raise ConfigError(f"`{name}` is {clamp}; give a positive bound, or None for none")


def _check_shapes(
    logps: Tensor, old_logps: Tensor | None, advantages: Tensor, mask: Tensor, ref_logps: Tensor | None, beta: float
) -> None:
    if logps.dim() != 2 or not len(logps):
        raise InputError(f"`logps` has shape {tuple(logps.shape)}; give at least one row, (B, T)")
    for name, value in (("old_logps", old_logps), ("mask", mask), ("ref_logps", ref_logps)):
        if value is not None and value.shape != logps.shape:
            raise InputError(f"`{name}` has shape {tuple(value.shape)}; it must be {tuple(logps.shape)} as `logps`")
    if advantages.shape not in (logps.shape, logps.shape[:1]):
        raise InputError(f"`advantages` has shape {tuple(advantages.shape)}; give (B,) or (B, T) of {tuple(logps.shape)}")
    if beta and ref_logps is None:
        raise InputError(f"`beta` is {beta} but there are no `ref_logps`; give the reference's log-probabilities")
